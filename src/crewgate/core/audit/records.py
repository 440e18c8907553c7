"""The records of the audit log: each is one line.

No record has a field for a token, a header, a path or a query, so no secret can reach the log by
mistake. A line leaves out a field that has its default. Amounts are in micro-credits; times are UTC
(RFC 3339 with microseconds). `json_line` writes the lines.
"""

import enum
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CallOutcome(enum.StrEnum):
    """How a call ended.

    A stream is `EXHAUSTED` if the credits do not cover its next step, `UNFUNDED` if it was not
    known in time whether they do, and `UNVOUCHED` if it was not known in time whether its token is
    revoked.
    """

    DONE = "done"
    REFUSED = "refused"
    UPSTREAM_ERROR = "upstream-error"
    CLIENT_GONE = "client-gone"
    REVOKED = "revoked"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    EXHAUSTED = "exhausted"
    UNFUNDED = "unfunded"
    UNVOUCHED = "unvouched"


class CallInfo(msgspec.Struct, frozen=True, gc=False):
    """The facts of a call that are known before its verdict.

    `time_ns` is the wall time of its arrival. `id` has 16 bytes, or none. `peer` is a network, as
    `peer_network` writes it. `tool` is a configured name, or empty if no route matched.
    `certificate` is the serial of the client certificate, if there is one. `trace` is the text of
    its `core.trace_context.TraceContext`, if it has one. `arrived_ns` is the time of its arrival on
    the monotonic clock. `metric_tool` is the tool's name in the metrics, if that is not `tool`.
    """

    time_ns: int
    id: bytes
    listener: str
    peer: str
    tool: str
    method: str
    certificate: str = ""
    trace: str = ""
    arrived_ns: int = 0
    metric_tool: str = ""


class CallEnd(msgspec.Struct, frozen=True, gc=False):
    """How a permitted call ended; each field is one of its `CallRecord`.

    `status` is the upstream's, or 0 without a response. `bytes_in` counts the request's body from
    the client, and `bytes_out` the response's body to the client. `call_digest` is a
    text of `digest_texts.call_text`, and `answer_digest` one of `digest_text`.
    """

    outcome: CallOutcome
    cost_micro: int
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    duration_us: int = 0
    overrun_micro: int = 0
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    call_digest: str = ""
    answer_digest: str = ""
    retry_seconds: int = 0
    failed: bool = False


class BaseRecord(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", gc=False):
    """The base of all records.

    `machine` is the name of the machine that wrote the record; the writer sets it in every line.
    """

    machine: str = ""


class AttributedRecord(BaseRecord, frozen=True, kw_only=True):
    """The thread of execution that a record is about, from the claims of its grant.

    `ancestry` has the branch ids of the ancestors, root first. `grant` is the `jti`.
    `process_proven`: the kernel has named the process to the orchestrator.
    """

    crew: str
    orchestrator: str
    process: str
    role: str
    branch: str
    ancestry: tuple[str, ...] = ()
    grant: str = ""
    subject: str = ""
    process_proven: bool = False


class BaseRequestRecord(AttributedRecord, frozen=True, kw_only=True):
    """The facts of a request that arrived at `time`, in the records that are about one."""

    time: datetime
    request: str
    listener: str
    peer: str
    tool: str
    method: str


class CallRecord(BaseRequestRecord, frozen=True, kw_only=True, tag="call"):
    """A call whose token has a good signature, written when the call has ended.

    - `remaining_micro`: what this machine has left of its lease for the branch
    - `reason`: the problem type of a refusal
    - `would`: in observe mode, the problem type that the call would have been refused with
    - `overrun_micro`: what the response stated beyond the reservation; nobody is charged for it
    - `model`: the language model that the request named, and `tokens_in`, `tokens_out`: its usage
    - `level`: for `credits-exhausted` and `allowance-exhausted`, the empty account; with what it
      has used, and its quota
    - `call_limit`: for `rate-limited` and `too-many-concurrent-calls`, the name of the limit
    - `certificate`: serial of the client certificate (upper-case hexadecimal)
    - `call_digest`, `answer_digest`: the digests by which the rules on branches compare calls and
      answers, in hexadecimal; of a refused call, only if a rule refused it. `call_digest` is
      "exempt" if the call may be repeated
    - `retry_seconds`: after how long the answer asks to call again, and `failed`: its message says
      that the call failed; only if a rule compares the call
    - `trace`: for a call of a trace (W3C Trace Context), four ids in hexadecimal with dashes
      between them: the trace, the client's span or zeros, the gateway's span, and the flags
    """

    verdict: Literal["permit", "deny"]
    outcome: CallOutcome
    cost_micro: int
    quota_micro: int
    duration_us: int
    remaining_micro: int | None = None
    reason: str = ""
    would: str = ""
    overrun_micro: int = 0
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    level: str = ""
    level_used_micro: int = 0
    level_quota_micro: int = 0
    call_limit: str = ""
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    certificate: str = ""
    trace: str = ""
    call_digest: str = ""
    answer_digest: str = ""
    retry_seconds: int = 0
    failed: bool = False


class StreamOpened(BaseRequestRecord, frozen=True, kw_only=True, tag="open"):
    """A stream that has begun; when it ends, a `CallRecord` has the same request id."""

    price_micro: int
    would: str = ""
    status: int = 0
    certificate: str = ""
    trace: str = ""


class GrantRecord(AttributedRecord, frozen=True, kw_only=True, tag="grant"):
    """A grant that this machine admitted for the first time, before the record of its first call.

    - `account`: the crew that pays, if that is not `crew`; see `Grant.crew`
    - `kid`: the key that signed the token
    - `tools`: names and patterns that the token allows
    - `quota_micro`: what the branch may spend in all, within its ceilings; `path_quota_micro` has
      the quotas of the branches of `ancestry` as the token states them
    - `issued`, `expires`: `iat` and `exp` of the token
    - `jkt`, `x5t`: the keys that its presenter must have (`core.tokens.claims.Confirmation`)

    If processes of the machine are killed, or after a new table, a grant may have a second record.
    """

    time: datetime
    kid: str
    tools: tuple[str, ...]
    quota_micro: int
    issued: datetime
    expires: datetime
    account: str = ""
    path_quota_micro: tuple[int, ...] = ()
    jkt: str = ""
    x5t: str = ""


class BurnedReservationRecord(AttributedRecord, frozen=True, kw_only=True, tag="burned"):
    """A reservation that the agent burned, because its owner died or its deadline passed.

    `time` is when the agent burned it, and `started` when it was made. The identity is empty if the
    registry has no branch with `branch_key` (32 hexadecimal digits). `owner` is the number of the
    attached process. `intent`: it is unknown whether the credit had been taken. `certificate` is
    set for a call without a token; for other calls, `StreamOpened` has it.
    """

    time: datetime
    started: datetime
    request: str
    tool: str
    cost_micro: int
    cause: Literal["owner-died", "deadline"]
    branch_key: str
    grant_key: str
    owner: int
    intent: bool = False
    certificate: str = ""


class RevocationRecord(AttributedRecord, frozen=True, kw_only=True, tag="revocation"):
    """A revocation: its target, who ordered it, and its effect on this machine.

    `time` is when the agent read the request. `target` is the kind of the target (`branch`,
    `grant`, `orchestrator`, …), and `id` its name. The kind `account` is a branch that was closed
    only in the ledger, because the table had no room. The identity is empty unless the target is
    one known branch. `by` is a client of the control API (`operator/ada`), a person at the live
    page (`person/ada`), the gateway from which this machine has the revocation (`gateway/gw-2`),
    `overrun`, `rule/NAME`, or `owner` for a person on this machine. `reason` is the text that it
    was ordered with; a record of another machine's revocation has none. `cuts` calls and streams
    were cancelled; the last one after `cut_us` microseconds (None: some process has not answered).
    `workers` attached processes answered.
    """

    time: datetime
    target: str
    id: str
    by: str
    reason: str = ""
    cut_us: int | None = None
    cuts: int = 0
    workers: int = 0


class RuleStepRecord(AttributedRecord, frozen=True, kw_only=True, tag="rule"):
    """A step that a rule on branches took, or would take in observe mode.

    The identity is that of the branch whose calls were counted; of a branch above the caller's, no
    process and no role are known. It is written once for a branch, a rule and a step, until the
    count is lower again.

    - `rule_kind`, `step`, `mode`: a `RuleKind`, a `RuleStep` and a `RuleMode` of `core.rules.rule`
    - `count` had reached `limit`; for credits a minute, both are in micro-credits
    - `tool`, `request`: of the call that did it, and `caller`: its branch, if that is another one
    """

    time: datetime
    rule: str
    rule_kind: str
    step: str
    mode: str
    count: int
    limit: int
    tool: str = ""
    request: str = ""
    caller: str = ""


class RefusalsRecord(BaseRecord, frozen=True, kw_only=True, tag="refusals"):
    """A count of refusals before a good signature; a `peer` of `*` sums up all other networks."""

    time: datetime
    listener: str
    reason: str
    peer: str
    count: int
    first: datetime
    last: datetime


class ConnectionRecord(BaseRecord, frozen=True, kw_only=True, tag="connection"):
    """A connection that was refused, closed or admitted in doubt because of its certificate.

    Nothing of HTTP was read. `serial` and `subject` are what the certificate says; only if `proven`
    is set has a handshake proved them, and are crew and orchestrator known, and the `branch` if the
    certificate is one of a branch. `reason` is a
    `ConnectionRefusalReason`. If there are too many, `RefusalsRecord` sums them up with the same
    reasons. For verdict `admitted`, `doubt` is the `UndeterminedReason` for which OCSP gave no
    status, and the listener does not require one; these are never summed up.
    """

    time: datetime
    listener: str
    peer: str
    verdict: Literal["refused", "expelled", "admitted"]
    reason: str
    doubt: str = ""
    proven: bool = False
    crew: str = ""
    orchestrator: str = ""
    branch: str = ""
    serial: str = ""
    subject: str = ""


class WatchRecord(BaseRecord, frozen=True, kw_only=True, tag="watch"):
    """A strike of the minting watch against an orchestrator, or a change of its level.

    `step` is a `TransitionCause`; `was`, `level` and `in_force` are each an `EnforcementLevel`.
    `in_force` is at most the crew's `mode`, unless a person has set the level. A strike has a
    finding: `value` of `measure` was above `limit`, which comes from the `usual` value, or is a
    configured ceiling if that is missing; a grant of `branch` caused it. The orchestrator `CREW/*`
    stands for a crew's newcomers. `by` is "watch", "owner" (a person on this
    machine), `person/ada` at the live page, or the gateway of another machine where that was.
    """

    time: datetime
    crew: str
    orchestrator: str
    step: str
    was: str
    level: str
    in_force: str
    by: str = ""
    branch: str = ""
    measure: str = ""
    value: int = 0
    limit: int = 0
    usual: int | None = None


class ToolPinRecord(BaseRecord, frozen=True, kw_only=True, tag="mcp-pin"):
    """An event of a pinned MCP tool, or of the instructions of a server (then `tool` is empty).

    `event` is a `PinEvent` of core/mcp/pins/endpoint_pins.py: the server listed another definition,
    or a person approved it. `was` and `now` are digests. `by` is `owner` for a person on this
    machine; it is empty if the server caused the event. `unrecorded` earlier changes of the
    endpoint have no record, because the server changed its tools too often.
    """

    time: datetime
    endpoint: str
    tool: str
    event: str
    was: str = ""
    now: str = ""
    by: str = ""
    unrecorded: int = 0


class ServiceEvent(BaseRecord, frozen=True, kw_only=True, tag="event"):
    """An event of the service itself: start, stop, reload, degraded, recovered."""

    time: datetime
    event: str
    detail: str = ""
    count: int = 0


Record = (
    CallRecord
    | StreamOpened
    | GrantRecord
    | BurnedReservationRecord
    | RevocationRecord
    | RuleStepRecord
    | RefusalsRecord
    | ConnectionRecord
    | WatchRecord
    | ToolPinRecord
    | ServiceEvent
)


def when(time_ns: int) -> datetime:
    """Return a wall time in nanoseconds as a UTC time, in whole microseconds."""
    return EPOCH + timedelta(microseconds=time_ns // 1000)


def microseconds(moment: datetime) -> int:
    """Return a UTC time in microseconds since 1970."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def request_text(identifier: bytes) -> str:
    """Return the UUID text of a 16-byte request id; empty for no bytes, or all zeros.

    It formats by hand, because `str(UUID(...))` costs as much as the rest of a record.
    """
    if not any(identifier):
        return ""
    digits = identifier.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
