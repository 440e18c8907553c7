"""The messages of the admin socket (`owner.sock`), between clients and the agent.

Clients are commands, the control process, the supervisor and orchestrators of the service's user,
each through an `AdminClient`. The agent answers every request in turn, except
`ProcessHealthReport`, or refuses it with `RequestFailed`. The conventions are those of
`attach_messages`; `cluster_messages` has the requests about other machines.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.core.health import HealthCondition, HealthState
from crewgate.core.mcp.pins.worker_pins import PinMode
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.core.tokens.claims import Claims
from crewgate.ipc.attach_messages import Count, Facts, Id, Nanoseconds, RequestFailed
from crewgate.ipc.cluster_messages import ClusterRequest, ClusterResponse, QuorumSyncState
from crewgate.ipc.machine_messages import AskMachines, MachineAnswer
from crewgate.ipc.pin_messages import PinRequest, PinResponse
from crewgate.ipc.revocation_messages import GetRevocations, RevocationsPage

# Who orders something: a client of the control API, such as `operator/ada`, or a person at the live
# page, such as `person/ada`. It is empty for a person or a program on this machine.
By = Annotated[str, Meta(max_length=limits.by_chars_max)]

# Which machines must have a revocation on disk before the agent answers; "" is a majority in a
# cluster, and otherwise this machine.
Until = Literal["", "local", "quorum", "all"]


class Revoke(msgspec.Struct, frozen=True, tag="revoke"):
    """A client revokes all `targets` in one step. Answer: `RevocationReceipt`.

    The agent answers when this machine has ended the open calls and the machines of `until` have
    the revocation on disk; the wait for each is bounded. `by` ordered it. `reason` is a text for
    the audit and for `crewgate revocations`.
    """

    id: Id
    targets: Annotated[
        list[RevocationTarget], Meta(min_length=1, max_length=limits.ipc_targets_max)
    ]
    until: Until = ""
    by: By = ""
    reason: Annotated[str, Meta(max_length=limits.reason_chars_max)] = ""


class Quarantine(msgspec.Struct, frozen=True, tag="quarantine"):
    """An operator quarantines an orchestrator (a `client_id`), or lifts that.

    Gateways admit no new grants of it for `seconds`; 0: for its crew's usual time. A second
    request moves the end. `by` ordered it. Answer: `QuarantineResult`.
    """

    id: Id
    crew: Annotated[str, Meta(max_length=limits.claim_chars_max)]
    orchestrator: Annotated[str, Meta(max_length=limits.claim_chars_max)]
    lift: bool = False
    seconds: Annotated[int, Meta(ge=0, le=limits.quarantine_seconds_max)] = 0
    by: By = ""


class ForgiveBurnedCredit(msgspec.Struct, frozen=True, tag="forgive"):
    """An operator returns burned credit of a branch. `by` ordered it.

    Answer: `BurnedCreditForgiven`.
    """

    id: Id
    branch: Annotated[str, Meta(max_length=limits.claim_chars_max)]
    crew: Annotated[str, Meta(max_length=limits.claim_chars_max)] = ""
    by: By = ""


class BurnedCreditForgiven(msgspec.Struct, frozen=True, tag="forgiven"):
    """The agent answers `ForgiveBurnedCredit`: `amount` micro-credits returned to all levels."""

    id: Id
    branch: str
    crew: str
    amount: Count


class CheckMint(msgspec.Struct, frozen=True, tag="ask-mint"):
    """The token endpoint asks whether it may issue a grant with these claims.

    `crew` and `kid` are those of the signing key. The minting watch counts the grant now, and not
    again at its first use. Answer: `MintDecision`.
    """

    id: Id
    crew: Annotated[str, Meta(max_length=limits.claim_chars_max)]
    kid: Annotated[str, Meta(max_length=limits.claim_chars_max)]
    claims: Claims


class GetTree(msgspec.Struct, frozen=True, tag="ask-tree"):
    """A client asks for the branches of this machine. Answer: `TreePage`s.

    With `find`, only for the branches that this reference may mean (`core.branch_reference`); with
    `crew`, only for those of a crew. With `spent_percent`, only for the crews, and for the branches
    that have spent this much of their quota.
    """

    id: Id
    find: Annotated[str, Meta(max_length=limits.claim_chars_max)] = ""
    crew: Annotated[str, Meta(max_length=limits.claim_chars_max)] = ""
    spent_percent: Annotated[int, Meta(ge=0, le=100)] = 0


class GetStatus(msgspec.Struct, frozen=True, tag="ask-status"):
    """A client asks whether this machine is ready. Answer: `AgentStatus`."""

    id: Id


# The processes that report their health at the admin socket.
ReportSource = Literal["alerts", "control", "export", "supervisor", "ui"]


class ProcessHealthReport(msgspec.Struct, frozen=True, tag="report"):
    """A process reports the facts of its health; there is no answer.

    They hold until its next report, or until its connection ends.
    """

    id: Id
    source: ReportSource
    facts: Facts


class ReloadConfig(msgspec.Struct, frozen=True, tag="ask-reload"):
    """A client makes the agent read the configuration and the crews' keys again, now.

    Answer: `ReloadResult`, or `RequestFailed` for a bad file; then the old ones stay in force.
    """

    id: Id


# Where a name was never seen: on no machine at all ("everywhere"), or not on this machine and those
# that answered ("here"). It is empty if the name was seen, or if nobody can say.
NeverSeen = Literal["", "everywhere", "here"]


class QuorumResult(msgspec.Struct, frozen=True):
    """How many of all machines have a revocation in force and on disk.

    `missing` names machines that have not confirmed it; `missing_more` counts the others.
    `ms` is the time from reading the request to the last confirmation. `enough` says whether
    `until` was reached.
    """

    until: Until = "local"
    applied_on: Count = 1
    of: Count = 1
    ms: float = 0.0
    missing: list[str] = []
    enough: bool = True
    missing_more: Count = 0


class RevocationReceipt(msgspec.Struct, frozen=True, tag="receipt"):
    """The agent answers `Revoke` and `EvictMember` with what the revocation did.

    - `targets` have their crew, even if the request left it out.
    - `read_ns` is when the agent had read the request, `last_cut_ns` when this machine ended the
      last call or closed the last connection (0: none was open), `cut_ms` the time between.
    - The agent informed `attachments` processes. `unresponsive` of them did not answer within the
      wait. They refuse the targets all the same, because they read the table.
    - `coarsened`: the crew's share of revocations was used up, so all its tokens issued before now
      are revoked.
    - The table had no room for `unlisted` targets: CRL and OCSP refuse their certificates, and
      their connections are closed all the same.
    - `never_seen` says where the target is unknown, on `never_seen_on` machines. The target is
      revoked all the same.
    - `runs_ended` live runs of a subject have ended, of those that the machines have seen.
      `runs_unasked` machines did not say in time which they have seen.
    """

    id: Id = 0
    targets: list[RevocationTarget] = []
    read_ns: Nanoseconds = 0
    last_cut_ns: Nanoseconds = 0
    cut_ms: float = 0.0
    calls_cut: Count = 0
    connections_closed: Count = 0
    attachments: Count = 0
    unresponsive: Count = 0
    unlisted: Count = 0
    coarsened: bool = False
    never_seen: NeverSeen = ""
    never_seen_on: Count = 0
    runs_ended: Count = 0
    runs_unasked: Count = 0
    reach: QuorumResult = QuorumResult()


# `token-revoked`: its newest grant is revoked; gateways would admit a later one of its branch.
BranchState = Literal["live", "exhausted", "expired", "token-revoked", "revoked", "closed"]


class TreeRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One branch of the branch tree, or a crew (`branch` is empty); amounts are micro-credits.

    `spent` and `burned` count the branch and all below it. `left` of a branch is what its own quota
    and those of the branches above it still allow. `left_hour` and `left_day` of a crew are what
    its hour and its day still allow, -1 without a limit, and `left` is the smaller. `exhausted`:
    `left` is 0. `leased` is idle credit in the leases of machines, and `leased_on` has the machines
    that hold most of it. `overrun` is the cost that tools stated on this machine beyond the
    reservations, for which the agent ended the branch. `spent_here`, `reserved_here` and
    `leased_here` are what the table of this machine has of these amounts. `issued` is when the
    newest token was issued, in seconds since 1970; 0 if this machine has seen none.

    `calls` of the branch and all below it were answered in this minute of the machine's clock
    (`TreePart.minute`); -1 if no rule counts them. `rule` has taken the step `rule_step` since the
    branch last made progress, or would have in the mode `observe`; the
    three are empty or None if none has.
    """

    crew: str
    branch: str
    state: BranchState
    parent: str = ""
    orchestrator: str = ""
    role: str = ""
    process: str = ""
    grant: str = ""
    subject: str = ""
    quota: int = 0
    spent: int = 0
    reserved: int = 0
    burned: int = 0
    left: int = -1
    leased: int = 0
    leased_on: dict[str, int] = {}
    overrun: int = 0
    left_hour: int = -1
    left_day: int = -1
    spent_here: int = 0
    reserved_here: int = 0
    leased_here: int = 0
    issued: int = 0
    calls: int = -1
    rule: str = ""
    rule_step: RuleStep | None = None
    rule_mode: RuleMode | None = None

    def has_spent(self, percent: int) -> bool:
        """Return whether a branch has spent this much of its quota, burned credit included."""
        return 100 * (self.spent + self.burned) >= percent * self.quota


class TreePage(msgspec.Struct, frozen=True, tag="tree-page"):
    """The agent answers `GetTree` with such pages, parents before children; `last` is the end."""

    id: Id
    rows: list[TreeRow]
    last: bool


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker of the configured number: whether it is attached and accepts connections."""

    index: int
    attached: bool
    accepting: bool
    policy_generation: int


class MintingWatchRow(msgspec.Struct, frozen=True):
    """The level of an orchestrator in the minting watch (`core/anomaly/enforcement`).

    `in_force` is the level that gateways enforce. `by` is `watch`, or `owner` if an operator set
    it. `until` is when a quarantine lapses, in whole seconds since 1970; otherwise 0.
    """

    crew: str
    orchestrator: str
    level: str
    in_force: str
    by: str
    until: int = 0


class QuarantineResult(msgspec.Struct, frozen=True, tag="watched"):
    """The agent answers `Quarantine` with the present level, once it is on disk.

    `never_seen` and `never_seen_on` are as in `RevocationReceipt`; `machines` is the number of
    machines in the cluster.
    """

    id: Id
    row: MintingWatchRow
    never_seen: NeverSeen = ""
    never_seen_on: Count = 0
    machines: Count = 1


class MintDecision(msgspec.Struct, frozen=True, tag="minted"):
    """The agent answers `CheckMint`: whether gateways of this machine would admit the grant."""

    id: Id
    admitted: bool


class OverQuotaCrewStatus(msgspec.Struct, frozen=True):
    """A crew that has used up its share of this machine's table of revocations.

    Each of its last `count` revocations ended all its tokens issued until then. `at` is the time
    of the newest one, in whole seconds since 1970.
    """

    crew: str
    at: int
    count: Count


class EndpointPinCounts(msgspec.Struct, frozen=True):
    """How many tools of an MCP endpoint are in which state, with the instructions as one more."""

    endpoint: str
    pins: PinMode
    pinned: Count
    new: Count
    changed: Count


class AgentStatus(msgspec.Struct, frozen=True, tag="status"):
    """The agent answers `GetStatus`: whether this machine is ready, and why not.

    - `waiting_for` says what it waits for; it is empty if the machine is `ready`.
    - `state` is failed if the machine is not ready, and degraded if a component is not ok.
    - `health` has the components, the worst first, with `since` in seconds since 1970;
      `health_more` further ones are left out.
    - `ledger` is where budgets are kept, and `machine` the name of this machine there.
    - `lent_max` micro-credits are what this machine may lend itself while the ledger is
      unavailable, and `lent` what it owes now.
    - `watched` are the orchestrators above `observe`; `watched_more` further ones are left out.
    - `in_touch` is None without other machines.
    """

    id: Id
    ready: bool
    waiting_for: list[str]
    pid: int
    life: str
    fresh: bool
    policy_generation: int
    revocation_generation: int
    workers: list[WorkerStatus]
    embedders: int
    counts: dict[str, int]
    configuration_error: str = ""
    ledger: str = ""
    lent: Count = 0
    lent_max: Count = 0
    watched: list[MintingWatchRow] = []
    watched_more: Count = 0
    in_touch: QuorumSyncState | None = None
    machine: str = ""
    state: HealthState = HealthState.OK
    health: list[HealthCondition] = []
    health_more: Count = 0
    coarsened: list[OverQuotaCrewStatus] = []
    pins: list[EndpointPinCounts] = []


class ReloadResult(msgspec.Struct, frozen=True, tag="reloaded"):
    """The agent answers `ReloadConfig` with the policy in force; `changed` if it is a new one."""

    id: Id
    generation: int
    changed: bool


AdminRequest = (
    Revoke | Quarantine | ForgiveBurnedCredit | CheckMint | GetTree | GetStatus | ReloadConfig
    | ProcessHealthReport | ClusterRequest | PinRequest | GetRevocations | AskMachines
)  # fmt: skip
AdminResponse = (
    RevocationReceipt | QuarantineResult | BurnedCreditForgiven | MintDecision | TreePage
    | AgentStatus | ReloadResult | RequestFailed | ClusterResponse | PinResponse
    | RevocationsPage | MachineAnswer
)  # fmt: skip

owner_asks = msgspec.msgpack.Decoder(AdminRequest)
owner_answers = msgspec.msgpack.Decoder(AdminResponse)
