"""What is said at the owner's door: revoke, watch, tree, status, reload. As `ipc/attach_messages`.

Of the other machines see `cluster_messages`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.core.health import HealthCondition, HealthState
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.tokens.claims import Claims
from crewgate.ipc.attach_messages import Count, Facts, Id, Nanoseconds, RequestFailed
from crewgate.ipc.cluster_messages import ClusterRequest, ClusterResponse, SyncState

# By whom a revocation is to be on disk before it is answered; "" is a majority, where there is one.
Until = Literal["", "local", "quorum", "all"]


class Revoke(msgspec.Struct, frozen=True, tag="revoke"):
    """Revoke all `targets` in one step. Answer: `RevocationReceipt`."""

    id: Id
    targets: Annotated[
        list[RevocationTarget], Meta(min_length=1, max_length=limits.link_targets_max)
    ]
    until: Until = ""


class Quarantine(msgspec.Struct, frozen=True, tag="quarantine"):
    """Admit no new grants of an orchestrator (a `client_id`), or lift that: `QuarantineState`.

    For `seconds`; 0: as long as its crew's quarantines are. Set once more, its end moves.
    """

    id: Id
    crew: Annotated[str, Meta(max_length=limits.claim_chars_max)]
    orchestrator: Annotated[str, Meta(max_length=limits.claim_chars_max)]
    lift: bool = False
    seconds: Annotated[int, Meta(ge=0, le=limits.quarantine_seconds_max)] = 0


class ForgiveBurned(msgspec.Struct, frozen=True, tag="forgive"):
    """Give back what was burned of one branch's leases. Answer: `BurnedForgiven`."""

    id: Id
    branch: Annotated[str, Meta(max_length=limits.claim_chars_max)]
    crew: Annotated[str, Meta(max_length=limits.claim_chars_max)] = ""


class BurnedForgiven(msgspec.Struct, frozen=True, tag="forgiven"):
    """How many micro-credits returned to the branch and every level above it."""

    id: Id
    branch: str
    crew: str
    amount: Count


class CheckMint(msgspec.Struct, frozen=True, tag="ask-mint"):
    """May a grant with these claims be handed out? It counts as minted. Answer: `MintDecision`.

    `crew` and `kid` are those of the key that signs it. Its first use counts no more.
    """

    id: Id
    crew: Annotated[str, Meta(max_length=limits.claim_chars_max)]
    kid: Annotated[str, Meta(max_length=limits.claim_chars_max)]
    claims: Claims


class GetTree(msgspec.Struct, frozen=True, tag="ask-tree"):
    """Who is on this machine? Answered by `TreePage`s."""

    id: Id


class GetStatus(msgspec.Struct, frozen=True, tag="ask-status"):
    """Is this machine ready?"""

    id: Id


# Who reports its health at the owner's door.
ReportSource = Literal["control", "supervisor"]


class ReportHealth(msgspec.Struct, frozen=True, tag="report"):
    """The facts of a process's health, which hold until the next or its connection's end.

    Has no answer.
    """

    id: Id
    source: ReportSource
    facts: Facts


class ReloadConfig(msgspec.Struct, frozen=True, tag="ask-reload"):
    """Read the configuration and the crews' keys again, now."""

    id: Id


# On no machine at all, or not on this one and those that have answered.
NeverSeen = Literal["", "everywhere", "here"]


class QuorumResult(msgspec.Struct, frozen=True):
    """How many machines of all have a revocation in force and on disk, and who has not said so.

    `ms` is from reading the request to the last of them; `enough` whether `until` was reached.
    """

    until: Until = "local"
    applied_on: Count = 1
    of: Count = 1
    ms: float = 0.0
    missing: list[str] = []
    enough: bool = True


class RevocationReceipt(msgspec.Struct, frozen=True, tag="receipt"):
    """What the revocation of `targets` did; each has its crew, also if the request left it out.

    `read_ns` is when the agent had read the request, `last_cut_ns` when this machine cut the last
    call or closed the last connection (0: none was open), `cut_ms` the time between. The agent
    told `attachments` processes; `unresponsive` of them gave no answer within the wait: the table
    binds them all the same. `coarsened`: the crew's share of revocations was used up, so all its
    tokens issued before now are revoked. The table had no room for `unlisted` targets: CRL and OCSP
    refuse their certificates, and what was open is closed all the same. `never_seen` says that
    nobody knows what was named; it is revoked all the same.
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
    never_seen_on: Count = 0  # machines that say so
    reach: QuorumResult = QuorumResult()


# `token-revoked`: its newest grant is dead; of its branch a later one would be admitted.
BranchState = Literal["live", "exhausted", "expired", "token-revoked", "revoked", "closed"]


class TreeRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One branch of the auth graph, or a crew (`branch` empty).

    `spent`, `burned` count the branch and all below it; `left` is what it may still spend, the
    least over its path; -1 where the table no longer knows. Of what is spent on no machine yet
    `leased` is held by machines, `leased_on` the names of those that hold most. `overrun` is what
    answers stated on this machine beyond what was to be had, for which the branch was ended.
    """

    crew: str
    branch: str
    state: BranchState
    parent: str = ""
    orchestrator: str = ""
    role: str = ""
    process: str = ""
    grant: str = ""
    quota: int = 0
    spent: int = 0
    reserved: int = 0
    burned: int = 0
    left: int = -1
    leased: int = 0
    leased_on: dict[str, int] = {}
    overrun: int = 0


class TreePage(msgspec.Struct, frozen=True, tag="tree-page"):
    """Some rows, parents before children; `last` ends the answer."""

    id: Id
    rows: list[TreeRow]
    last: bool


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker that the configuration asks for."""

    index: int
    attached: bool
    accepting: bool
    policy_generation: int


class MintingWatchRow(msgspec.Struct, frozen=True):
    """At which level the minting watch has an orchestrator (`core/anomaly/enforcement`).

    `in_force` is what is done about it; `by` is `watch` or `owner`. `until` is when a quarantine
    lapses, in whole seconds since 1970, and else 0.
    """

    crew: str
    orchestrator: str
    level: str
    in_force: str
    by: str
    until: int = 0


class QuarantineState(msgspec.Struct, frozen=True, tag="watched"):
    """The answer to `Quarantine`: where the orchestrator stands now; it is on disk."""

    id: Id
    row: MintingWatchRow
    never_seen: NeverSeen = ""
    never_seen_on: Count = 0
    machines: Count = 1


class MintDecision(msgspec.Struct, frozen=True, tag="minted"):
    """The answer to `CheckMint`: whether gateways of this machine would admit the grant."""

    id: Id
    admitted: bool


class CoarsenedCrew(msgspec.Struct, frozen=True):
    """A crew that has used up its share of this machine's table of revocations.

    Each of its last `count` revocations ended all tokens of it that were issued until then; the
    newest `at`, in whole seconds since 1970.
    """

    crew: str
    at: int
    count: Count


class AgentStatus(msgspec.Struct, frozen=True, tag="status"):
    """Is this machine ready, and if not, why; `waiting_for` is empty when `ready`.

    `health` has each component, the worst first, with `since` in seconds since 1970; `health_more`
    are not shown. `state` is failed if the machine is not ready, degraded if any is not ok.

    `ledger` is where budgets are kept; of `lent_max` micro-credits that the machine may lend itself
    while that is away, `lent` are. `watched` are orchestrators above `observe`, and `watched_more`
    how many are not told. `in_touch` is None where there are no other machines.
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
    in_touch: SyncState | None = None
    machine: str = ""  # its name, as the ledger has it
    state: HealthState = HealthState.OK
    health: list[HealthCondition] = []
    health_more: Count = 0
    coarsened: list[CoarsenedCrew] = []


class ReloadResult(msgspec.Struct, frozen=True, tag="reloaded"):
    """The policy in force after `ReloadConfig`; `changed` tells whether it is a new one."""

    id: Id
    generation: int
    changed: bool


AdminRequest = (
    Revoke | Quarantine | ForgiveBurned | CheckMint | GetTree | GetStatus | ReloadConfig
    | ReportHealth | ClusterRequest
)  # fmt: skip
AdminResponse = (
    RevocationReceipt | QuarantineState | BurnedForgiven | MintDecision | TreePage | AgentStatus
    | ReloadResult | RequestFailed | ClusterResponse
)  # fmt: skip

owner_asks = msgspec.msgpack.Decoder(AdminRequest)
owner_answers = msgspec.msgpack.Decoder(AdminResponse)
