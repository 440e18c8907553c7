"""The messages of the attach socket (`agent.sock`), between the agent and attached processes.

An attached process is a gateway worker, or an embedder: a process with a `Verifier`. One connection
is one attachment; when it ends, the agent burns what the process still holds.

    process                          agent
      | -- Attach -------------------> |   first, once
      | <- Attached + descriptor ----- |   or RequestFailed
      | -- DrawCredit ---------------> |   when a lease lacks credit
      | <- CreditDrawn --------------- |
      | <- RevocationNotice ---------- |   at each revocation
      | -- RevocationAck ------------> |   if the process promised it
      | <- Reload -------------------- |   when there is another policy
      | -- ReportOverrun ------------> |   workers only
      | <- OverrunNoted -------------- |
      | -- EndBranch ----------------> |   workers only, no answer
      | <- PinsPushed ---------------- |   workers only: at first all, then each change
      | -- ReportDefinitions --------> |   workers only
      | <- DefinitionsNoted ---------- |
      | -- WorkerReadinessReport ----> |   workers only, no answer
      | -- WorkerHealthReport -------> |   workers only, no answer

Each side has a union of the messages that it may send; any other message ends the connection.
`admin_messages` has other unions for `owner.sock`. Times are CLOCK_MONOTONIC nanoseconds, amounts
micro-credits, keys 16 bytes. `id` pairs an answer with its request: the process chooses the `id` of
a request, and the agent that of a `RevocationNotice`.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.core.health import ComponentHealth
from crewgate.core.mcp.pins.tool_definitions import SeenDefinition
from crewgate.core.mcp.pins.worker_pins import PinnedEndpoint, PinStatus
from crewgate.core.tokens.claims import MicroCredits
from crewgate.core.tokens.grant import Grant
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.frames import frame

VERSION = 2

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Nanoseconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]
# 64 random bits; msgspec has no bounds above int64, and the table compares it as a whole.
Nonce = Annotated[int, Meta(ge=0)]
TableKey = Annotated[bytes, Meta(min_length=16, max_length=16)]
LogNote = Annotated[str, Meta(max_length=limits.ipc_reason_chars_max)]

Facts = Annotated[list[ComponentHealth], Meta(max_length=limits.health_facts_max)]

DrawStatus = Literal[
    "granted", "exhausted", "contended", "full", "share", "held", "closed", "mismatch"
]


class Attach(msgspec.Struct, frozen=True, tag="attach"):
    """A process sends this first, on each connection. Answer: `Attached`, or `RequestFailed`.

    `worker` is the index of a gateway worker, -1 for an embedder. `answers_cuts` promises a
    `RevocationAck` for every `RevocationNotice`; without it, no revocation receipt waits for this
    process. `takes_pins` promises that the process understands `PinsPushed`, which the agent sends
    to no other process. After the agent was restarted, the process sends `previous`, `nonce` and
    `life` as `Attached` gave them. It asks for the number that it still holds in the table of that
    life, so that its calls in flight continue.
    """

    version: int
    worker: Annotated[int, Meta(ge=-1, lt=limits.table_attachments_max)] = -1
    answers_cuts: bool = False
    previous: Annotated[int, Meta(ge=-1, lt=limits.table_attachments_max)] = -1
    nonce: Nonce = 0
    life: bytes = b""
    takes_pins: bool = False


class WorkerReadinessReport(msgspec.Struct, frozen=True, tag="accepting"):
    """A worker sends this when it opens or closes its listeners, or has loaded a policy.

    There is no answer. `crewgate status` waits for all workers.
    """

    accepting: bool
    policy_generation: Count


class WorkerHealthReport(msgspec.Struct, frozen=True, tag="health"):
    """A worker sends the facts of its health once a second.

    There is no answer. If no report comes, the agent reports the worker as stopped or stuck.
    """

    facts: Facts


class DrawCredit(msgspec.Struct, frozen=True, tag="draw"):
    """A process sends this when the lease of a branch lacks credit for a call.

    The agent opens the branch of `grant` if it is new, and brings its lease to at least `need`.
    Other calls of the process wait for this draw and need `behind` in all. The agent draws that
    too if it is free. Answer: `CreditDrawn`, after a bounded wait.
    """

    id: Id
    grant: Grant
    need: MicroCredits
    behind: MicroCredits = 0


class ReportOverrun(msgspec.Struct, frozen=True, tag="overran"):
    """A worker sends this when a tool stated `amount` more than its call had reserved.

    The agent ends the branch. `id` is that of the call, which no other call has: the worker sends
    the report again until the answer arrives. Answer: `OverrunNoted`.
    """

    id: TableKey
    grant: Grant
    amount: MicroCredits


class EndBranch(msgspec.Struct, frozen=True, tag="rule-end"):
    """A worker sends this when a rule on branches ends the branch `level` levels above a grant's.

    There is no answer. The worker sends it again with each further call that the rule refuses. The
    rule has counted `count`, and ends a branch at `limit`; `kind` says what it counts, and is empty
    if the worker is of an earlier version.
    """

    grant: Grant
    level: Annotated[int, Meta(ge=0, le=limits.depth_max)]
    rule: Annotated[str, Meta(max_length=limits.name_chars_max)]
    count: Count
    limit: Count
    kind: Annotated[str, Meta(max_length=limits.name_chars_max)] = ""


class ReportDefinitions(msgspec.Struct, frozen=True, tag="mcp-seen"):
    """A worker sends definitions of MCP tools that differ from the pins, in the order it saw them.

    The worker sends the report to the next agent if this one does not answer. Answer:
    `DefinitionsNoted`.
    """

    id: Id
    endpoint: Annotated[str, Meta(max_length=limits.name_chars_max)]
    seen: Annotated[list[SeenDefinition], Meta(max_length=limits.mcp_definitions_in_report)]


class RevocationAck(msgspec.Struct, frozen=True, tag="cut"):
    """A process answers `RevocationNotice` with this, if its `Attach` promised it.

    It ended `count` calls and `connections` connections, the last at `last_cut_ns` (0: none).
    """

    id: Id
    last_cut_ns: Nanoseconds
    count: Count
    connections: Count = 0


class Attached(msgspec.Struct, frozen=True, tag="attached"):
    """The agent answers `Attach`; the table's descriptor comes with the first byte.

    The process is attachment `number` of the table; `nonce` proves it at the next `Attach`. `life`
    is the boot of the table.
    """

    number: int
    nonce: int
    life: bytes
    policy_generation: int


class CreditDrawn(msgspec.Struct, frozen=True, tag="drawn"):
    """The agent answers `DrawCredit`; the table has the result before this arrives.

    - granted: the lease has the credit.
    - exhausted: account `level` (branch UUID or crew name) has used `used` of `quota`; `window` is
      the spent hour or day of a crew (`core.budget.ledger_protocol.window_of`), or 0.
    - contended: other leases or calls hold the credit; try again.
    - full, share: the table, or the crew's share of it, has no room for another branch.
    - held: the orchestrator of the branch is throttled or quarantined.
    - closed: the branch, or a level above it, is closed.
    - mismatch: a level of the branch is known under another path.
    """

    id: Id
    status: DrawStatus
    level: str = ""
    used: int = 0
    quota: int = 0
    window: int = 0


class OverrunNoted(msgspec.Struct, frozen=True, tag="noted"):
    """The agent answers `ReportOverrun`: the branch has ended, even if the agent dies now."""

    id: TableKey


class DefinitionsNoted(msgspec.Struct, frozen=True, tag="mcp-noted"):
    """The agent answers `ReportDefinitions`: its disk has the report, and it pushed the pins."""

    id: Id


class PinsPushed(msgspec.Struct, frozen=True, tag="mcp-pins"):
    """The agent sends pins of MCP tools: all of them after `Attached`, then those that change.

    With `begins`, all pins follow, in this message and the next ones, and replace what the worker
    has. `complete` has all endpoints if these are the last pins of a push, and is None otherwise.
    """

    begins: bool
    pins: list[PinStatus]
    complete: list[PinnedEndpoint] | None = None


class RevocationNotice(msgspec.Struct, frozen=True, tag="revoked"):
    """The agent sends this after each revocation; the table has revoked `keys` already.

    The process ends every call of these keys and of all below them, and closes their connections.
    Answer: `RevocationAck`, if the process promised it.
    """

    id: Id
    keys: list[TableKey]


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """The agent sends this when policy `generation` is in force; the process loads it.

    There is no answer; a worker sends `WorkerReadinessReport` after it has loaded the policy.
    """

    generation: Count


class RequestFailed(msgspec.Struct, frozen=True, tag="failed"):
    """The agent understood request `id` and refuses it; `message` says why and what to do.

    `id` 0 refuses the connection: at the attach socket, this is the refusal of an `Attach`.
    """

    id: Id
    message: LogNote


AttachRequest = (
    Attach | WorkerReadinessReport | WorkerHealthReport | DrawCredit | ReportOverrun | RevocationAck
    | ReportDefinitions | EndBranch
)  # fmt: skip
AttachResponse = (
    Attached | CreditDrawn | OverrunNoted | RevocationNotice | Reload | RequestFailed | PinsPushed
    | DefinitionsNoted
)  # fmt: skip

M = TypeVar("M")

_encode = msgspec.msgpack.Encoder().encode
group_asks = msgspec.msgpack.Decoder(AttachRequest)
group_answers = msgspec.msgpack.Decoder(AttachResponse)


def pack(message: msgspec.Struct) -> bytes:
    """Return the frame of `message`; raises ServiceConnectionError if it is over the bound."""
    return frame(_encode(message))


def unpack(decoder: msgspec.msgpack.Decoder[M], body: bytes) -> M:
    """Return the message in `body`.

    Raises ServiceConnectionError for a message that the sender may not send.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ServiceConnectionError(f"not a message of this socket: {error}") from error
