"""What is said over the agent's sockets: tagged structs, and which of them each side may say.

Knows neither frames nor sockets. Two doors (`agent.sock` for the group, `owner.sock` for the
owner, see `ipc/admin_messages`) have their own unions, so a message of one is garbage at the
other. Times are CLOCK_MONOTONIC nanoseconds, amounts micro-credits, keys 16 bytes. `id` pairs an
answer with its question; whoever asks chooses it, and it means nothing to the other side.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.core.health import HealthFact
from crewgate.core.tokens.claims import MicroCredits
from crewgate.core.tokens.grant import Grant
from crewgate.errors import LinkError
from crewgate.ipc.frames import frame

VERSION = 2

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Nanoseconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]
# 64 random bits; msgspec has no bounds above int64, and the table compares it as a whole.
Nonce = Annotated[int, Meta(ge=0)]
TableKey = Annotated[bytes, Meta(min_length=16, max_length=16)]
LogNote = Annotated[str, Meta(max_length=limits.link_note_chars_max)]

Facts = Annotated[list[HealthFact], Meta(max_length=limits.health_facts_max)]

DrawStatus = Literal[
    "granted", "exhausted", "contended", "full", "share", "held", "closed", "mismatch"
]


# The group's door: attach and draw.


class Attach(msgspec.Struct, frozen=True, tag="attach"):
    """The first message at the group's door.

    `worker` is the index of a gateway worker, -1 for an embedder. `answers_cuts` promises a
    `CutReport` for every `KeysRevoked`; without it no receipt waits for this attachment. After the
    agent was restarted, `previous`, `nonce` and `life` (as `Attached` gave them) ask for the number
    that this process still holds in the table of that life, so that its calls in flight go on.
    """

    version: int
    worker: Annotated[int, Meta(ge=-1, lt=limits.table_attachments_max)] = -1
    answers_cuts: bool = False
    previous: Annotated[int, Meta(ge=-1, lt=limits.table_attachments_max)] = -1
    nonce: Nonce = 0
    life: bytes = b""


class WorkerAccepting(msgspec.Struct, frozen=True, tag="accepting"):
    """A worker's listeners are open (or closed) and it has loaded this policy generation."""

    accepting: bool
    policy_generation: Count


class WorkerHealthReport(msgspec.Struct, frozen=True, tag="health"):
    """The facts of a worker's health, once a second; its silence is a fact too."""

    facts: Facts


class DrawCredit(msgspec.Struct, frozen=True, tag="draw"):
    """Credit is missing: open the branch of `grant` if it is new, and lease at least `need`."""

    id: Id
    grant: Grant
    need: MicroCredits


class ReportOverrun(msgspec.Struct, frozen=True, tag="overran"):
    """A tool's answer stated `amount` more than was reserved for its call: the branch is to end.

    `id` is the call's, which is never another's: it is said again until it was `OverrunNoted`.
    """

    id: TableKey
    grant: Grant
    amount: MicroCredits


class CutReport(msgspec.Struct, frozen=True, tag="cut"):
    """The answer to `KeysRevoked`: what was ended; the last at `last_cut_ns` (0: nothing was)."""

    id: Id
    last_cut_ns: Nanoseconds
    count: Count
    connections: Count = 0


class Attached(msgspec.Struct, frozen=True, tag="attached"):
    """The answer to `Attach`; the table's descriptor travels beside its first byte."""

    number: int
    nonce: int
    life: bytes
    policy_generation: int


class CreditDrawn(msgspec.Struct, frozen=True, tag="drawn"):
    """How a draw ended; the table already says so when this arrives.

    granted: the credit is available. exhausted: the account `level` (branch UUID or crew name) has
    `used` of `quota`, in its hour or day `window` if that is not 0. contended: the credit is held
    by calls in flight; try again. full, share: no room for another branch, in the table or in the
    share of the crew. held: its orchestrator is throttled or quarantined. closed: the branch is
    dead. mismatch: it was seen before under another path.
    """

    id: Id
    status: DrawStatus
    level: str = ""
    used: int = 0
    quota: int = 0
    window: int = 0


class OverrunNoted(msgspec.Struct, frozen=True, tag="noted"):
    """The answer to `ReportOverrun`: the branch has ended, whatever becomes of the agent."""

    id: TableKey


class KeysRevoked(msgspec.Struct, frozen=True, tag="revoked"):
    """The table has revoked `keys`; cut every call of theirs and below, close every connection."""

    id: Id
    keys: list[TableKey]


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """Load the configuration again; it is policy `generation` now."""

    generation: Count


class RequestFailed(msgspec.Struct, frozen=True, tag="failed"):
    """The question `id` (0: the connection itself) was understood and is refused: what, mend."""

    id: Id
    message: LogNote


AttachRequest = (
    Attach | WorkerAccepting | WorkerHealthReport | DrawCredit | ReportOverrun | CutReport
)
AttachResponse = Attached | CreditDrawn | OverrunNoted | KeysRevoked | Reload | RequestFailed

M = TypeVar("M")

_encode = msgspec.msgpack.Encoder().encode
group_asks = msgspec.msgpack.Decoder(AttachRequest)
group_answers = msgspec.msgpack.Decoder(AttachResponse)


def pack(message: msgspec.Struct) -> bytes:
    """The frame of `message`; LinkError if it is over the bound."""
    return frame(_encode(message))


def unpack(decoder: msgspec.msgpack.Decoder[M], body: bytes) -> M:
    """The message in `body`; LinkError for whatever the decoder's side may not say."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise LinkError(f"not a message of this door: {error}") from error
