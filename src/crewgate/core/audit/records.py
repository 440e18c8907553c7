"""The audit's nouns: what one line of the log says.

Knows neither files nor clocks, nor how a line is written (`json_line`). A record has no field that
could hold a token, a header, a path or a query, so no secret can reach the log by mistake. A field
with a default is absent from the line when it has that default; amounts are micro-credits; times
are UTC (RFC 3339 with microseconds).
"""

import enum
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CallOutcome(enum.StrEnum):
    """How a call ended, whoever ended it."""

    DONE = "done"
    REFUSED = "refused"
    UPSTREAM_ERROR = "upstream-error"
    CLIENT_GONE = "client-gone"
    REVOKED = "revoked"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    EXHAUSTED = "exhausted"  # a stream whose next step the credits did not pay for,
    UNFUNDED = "unfunded"  # or for which nobody said in time whether they do,
    UNVOUCHED = "unvouched"  # or of which nobody could say in time that it is not revoked


class CallInfo(msgspec.Struct, frozen=True, gc=False):
    """What is known of a call before it is judged.

    `time_ns` is the wall clock when it arrived, `id` 16 bytes or empty, `peer` a network as
    `peer_network` writes it, `tool` a configured name or empty for a route that does not exist;
    `certificate` is the serial of the connection's, if it has one.
    """

    time_ns: int
    id: bytes
    listener: str
    peer: str
    tool: str
    method: str
    certificate: str = ""


class CallEnd(msgspec.Struct, frozen=True, gc=False):
    """How a permitted call ended; `status` is the upstream's, 0 if it never answered."""

    outcome: CallOutcome
    cost_micro: int
    status: int = 0
    bytes_in: int = 0  # of the request's body, from the client
    bytes_out: int = 0  # of the response's body, to the client
    duration_us: int = 0
    overrun_micro: int = 0
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0


class AuditRecord(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", gc=False):
    """What all records share. Its subclasses are the kinds of records.

    `machine` is the one that wrote it, by its name; the writer puts it into every line.
    """

    machine: str = ""


class ThreadRecord(AuditRecord, frozen=True, kw_only=True):
    """The thread of execution that a record is about, as its grant named it."""

    crew: str
    orchestrator: str
    process: str
    role: str
    branch: str
    ancestry: tuple[str, ...] = ()  # branch ids, root first
    grant: str = ""  # the jti
    subject: str = ""


class CallRecord(ThreadRecord, frozen=True, kw_only=True, tag="call"):
    """One verdict after a good signature, written when the call has ended."""

    time: datetime  # when the request arrived
    request: str
    listener: str
    peer: str
    tool: str
    method: str
    verdict: Literal["permit", "deny"]
    outcome: CallOutcome
    cost_micro: int
    quota_micro: int
    duration_us: int
    remaining_micro: int | None = None  # of what this machine has leased for the branch
    reason: str = ""  # slug of a refusal
    would: str = ""  # observe mode: the slug that it would have been refused with
    overrun_micro: int = 0  # what the answer stated beyond what was reserved: charged to nobody
    model: str = ""  # that a language model's server was asked for, and the tokens it stated
    tokens_in: int = 0
    tokens_out: int = 0
    level: str = ""  # credits-exhausted: the empty account, what it used, of how much
    level_used_micro: int = 0
    level_quota_micro: int = 0
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    certificate: str = ""  # serial of the connection's, upper-case hexadecimal


class StreamOpened(ThreadRecord, frozen=True, kw_only=True, tag="open"):
    """A stream has begun; its `CallRecord` with the same request id follows when it ends."""

    time: datetime
    request: str
    listener: str
    peer: str
    tool: str
    method: str
    price_micro: int
    would: str = ""
    status: int = 0
    certificate: str = ""


class BurnRecord(ThreadRecord, frozen=True, kw_only=True, tag="burned"):
    """A reservation that the agent ended, because its owner died or its deadline passed.

    Identity texts are empty where the registry knows no branch of this key. `certificate` is known
    of a call that was judged by it alone; of others the stream's `StreamOpened` has it.
    """

    time: datetime  # when it was burned
    started: datetime
    request: str
    tool: str
    cost_micro: int
    cause: Literal["owner-died", "deadline"]
    branch_key: str  # 32 hexadecimal digits
    grant_key: str
    owner: int  # attachment number
    intent: bool = False  # it is not known whether the credit had been taken
    certificate: str = ""


class RevocationRecord(ThreadRecord, frozen=True, kw_only=True, tag="revocation"):
    """Who was revoked, by whom, and what the receipt said.

    `target` is the kind of thing named (`branch`, `grant`, `orchestrator`, …), `id` its name; the
    identity's texts are empty where the target is not one known branch. An `account` is a branch
    that was closed in the ledger alone, where the table had no room to revoke it.
    """

    time: datetime  # when the agent read the request
    target: str
    id: str
    by: str
    cut_us: int | None = None  # from reading the request to the last cut; None: not all answered
    cuts: int = 0  # calls and streams that were cancelled
    workers: int = 0  # attachments that answered


class RefusalsRecord(AuditRecord, frozen=True, kw_only=True, tag="refusals"):
    """A summary of refusals before a good signature; a `peer` of `*` counts all others."""

    time: datetime
    listener: str
    reason: str
    peer: str
    count: int
    first: datetime
    last: datetime


class ConnectionRecord(AuditRecord, frozen=True, kw_only=True, tag="connection"):
    """A connection that was refused, or ended, for its certificate; nothing of HTTP was read.

    `serial` and `subject` are the certificate's own words, proven by a handshake only where
    `proven`; crew and orchestrator are known only then. More than a log can take are summed up in
    `RefusalsRecord` with the same reasons. One that was `admitted` was so in `doubt`: its issuer
    did not say that it is good, and the listener does not insist; none of those is summed up.
    """

    time: datetime
    listener: str
    peer: str
    verdict: Literal["refused", "expelled", "admitted"]
    reason: str  # slug, `core.verdict.PeerReason`
    doubt: str = ""  # `core.certificate_status.UndeterminedReason`: why OCSP did not settle it
    proven: bool = False
    crew: str = ""
    orchestrator: str = ""
    serial: str = ""
    subject: str = ""


class WatchRecord(AuditRecord, frozen=True, kw_only=True, tag="watch"):
    """The minting watch struck an orchestrator, or moved it to another level.

    `step` is a `TransitionCause`; `was`, `level` and `in_force` are each an `EnforcementLevel`, and
    what is in force is less than `level` where the crew's `mode` is. A strike has its finding:
    `value` of `measure` was above `limit`, which was made from `usual`, or was a ceiling where
    there is none; `branch` is the one whose grant brought it out. An orchestrator `CREW/*` stands
    for a crew's strangers.
    """

    time: datetime
    crew: str
    orchestrator: str
    step: str
    was: str
    level: str
    in_force: str
    by: str = ""  # watch or owner, or the gateway whose watch or owner it was
    branch: str = ""
    measure: str = ""
    value: int = 0
    limit: int = 0
    usual: int | None = None


class ServiceEvent(AuditRecord, frozen=True, kw_only=True, tag="event"):
    """Something that the service says of itself: start, stop, reload, degraded, recovered."""

    time: datetime
    event: str
    detail: str = ""
    count: int = 0


Record = (
    CallRecord
    | StreamOpened
    | BurnRecord
    | RevocationRecord
    | RefusalsRecord
    | ConnectionRecord
    | WatchRecord
    | ServiceEvent
)


def when(time_ns: int) -> datetime:
    """A wall clock in nanoseconds as a UTC time, exact to the microsecond."""
    return EPOCH + timedelta(microseconds=time_ns // 1000)


def request_text(identifier: bytes) -> str:
    """UUID text of a 16-byte request id; empty for none (no bytes, or all zero).

    Written out, because `str(UUID(...))` costs as much as the rest of a record.
    """
    if not any(identifier):
        return ""
    digits = identifier.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
