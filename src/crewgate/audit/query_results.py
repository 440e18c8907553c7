"""The rows of the answers to queries of the audit."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from crewgate.core.rules.rule import Rule, RuleKind, RuleMode, RuleStep, StepFinding

# With a time zone: a time without one, from another machine, could not be compared.
Moment = Annotated[datetime, Meta(tz=True)]


class CallRow(msgspec.Struct, frozen=True):
    """A call, an open stream, or a burned reservation.

    - `machine`: the machine that recorded it; empty if it has no name
    - `outcome`: the outcome of a call, or `open`, or `burned`
    - `reason`: the slug of a refusal, or the cause of a burned reservation
    - `certificate`: the serial of the client certificate; empty without one
    - `overrun_micro`: the part of the stated cost that no branch paid
    - `trace`: the ids of the call in its trace, as `core.audit.records` has them; else empty
    - `call_digest`, `answer_digest`: the digests by which rules on branches compare calls; else
      empty
    """

    time: Moment
    machine: str
    request: str
    crew: str
    orchestrator: str
    process: str
    role: str
    branch: str
    ancestry: list[str]
    grant: str
    subject: str
    listener: str
    peer: str
    tool: str
    method: str
    verdict: str
    outcome: str
    reason: str
    would: str
    level: str
    cost_micro: int
    remaining_micro: int | None
    quota_micro: int | None
    status: int
    bytes_in: int
    bytes_out: int
    duration_us: int | None
    certificate: str
    overrun_micro: int = 0
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    trace: str = ""
    process_proven: bool = False
    call_limit: str = ""
    call_digest: str = ""
    answer_digest: str = ""
    retry_seconds: int = 0
    failed: bool = False


class GrantRow(msgspec.Struct, frozen=True):
    """The grant of a branch, as this machine admitted it; see `GrantRecord`."""

    time: Moment
    machine: str
    crew: str
    account: str
    orchestrator: str
    process: str
    role: str
    branch: str
    ancestry: list[str]
    grant: str
    subject: str
    kid: str
    tools: list[str]
    quota_micro: int
    path_quota_micro: list[int]
    issued: Moment
    expires: Moment
    jkt: str
    x5t: str
    process_proven: bool = False


class CallGroup(msgspec.Struct, frozen=True):
    """Sums over calls of the branch, crew, role, tool, day or minute `key` ("" for no group).

    Settled calls cost `cost_micro`, and burned reservations `burned_micro`; together they are
    spent. `overrun_micro` is the part of the stated costs that no branch paid. `crew`, `role`
    and `parent` are empty unless all rows have the same value.
    """

    key: str
    crew: str
    role: str
    parent: str
    calls: int
    permitted: int
    denied: int
    would_deny: int
    open: int
    burned: int
    cost_micro: int
    burned_micro: int
    overrun_micro: int
    quota_micro: int | None
    first: Moment | None
    last: Moment | None


class RejectedConnection(msgspec.Struct, frozen=True):
    """A connection that was refused or closed because of its certificate, before any HTTP.

    The certificate states `serial` and `subject`; only if `proven` is set has a handshake proved
    them. Otherwise crew and orchestrator are empty. `branch` is that of a branch's certificate.
    `machine` is as in `CallRow`.
    """

    time: Moment
    listener: str
    peer: str
    verdict: str
    reason: str
    proven: bool
    crew: str
    orchestrator: str
    branch: str
    serial: str
    subject: str
    machine: str = ""


class UnauthenticatedRefusals(msgspec.Struct, frozen=True):
    """A number of refusals before a good signature, by listener, reason and peer network."""

    listener: str
    reason: str
    peer: str
    count: int
    first: Moment
    last: Moment


class MintingWatchEvent(msgspec.Struct, frozen=True):
    """A strike or transition of the minting watch; see `WatchRecord` of `core.audit.records`.

    `usual` is None if the limit is a configured ceiling. `measure` is empty if the transition had
    no finding. `machine` is as in `CallRow`.
    """

    time: Moment
    crew: str
    orchestrator: str
    step: str
    was: str
    level: str
    in_force: str
    by: str
    branch: str
    measure: str
    value: int
    limit: int
    usual: int | None
    machine: str = ""


class RecordedRuleStep(msgspec.Struct, frozen=True):
    """A step that a rule on branches took, or would take; see `RuleStepRecord`.

    For credits a minute, `count` and `limit` are in micro-credits. `caller` is the branch of the
    call that did it, if that is not `branch`.
    """

    time: Moment
    machine: str
    crew: str
    orchestrator: str
    process: str
    role: str
    branch: str
    ancestry: list[str]
    grant: str
    subject: str
    rule: str
    rule_kind: RuleKind
    step: RuleStep
    mode: RuleMode
    count: int
    limit: int
    tool: str
    request: str
    caller: str
    process_proven: bool = False

    @property
    def finding(self) -> StepFinding:
        """What the gate found, as far as the record says; the level is 0 or 1."""
        rule = Rule(self.rule, self.rule_kind, self.mode)
        rule = msgspec.structs.replace(rule, **{self.step.value: self.limit})
        return StepFinding(rule, self.step, self.count, self.limit, int(bool(self.caller)))


class RevocationEvent(msgspec.Struct, frozen=True):
    """A revocation as one machine recorded it; see `RevocationRecord` of `core.audit.records`.

    Of another machine's revocation, a machine knows the origin (`gateway/NAME` in `by`), and not
    always the name in `id`.
    """

    time: Moment
    machine: str
    target: str
    id: str
    crew: str
    role: str
    branch: str
    by: str
    reason: str
    cut_us: int | None
    cuts: int
    workers: int


class AuditGaps(msgspec.Struct, frozen=True):
    """The gaps of the audit: records lost to a full disk, and lines that are no records."""

    files: int
    bytes: int
    lost_records: int
    unreadable_lines: int
