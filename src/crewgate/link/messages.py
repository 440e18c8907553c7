"""What is said over the agent's sockets: tagged structs, and which of them each side may say.

Knows neither frames nor sockets. Two doors (`agent.sock` for the group, `owner.sock` for the
owner) have their own unions, so a message of the owner's door is garbage at the group's. Times are
CLOCK_MONOTONIC nanoseconds, amounts micro-credits, keys 16 bytes. `id` pairs an answer with its
question; whoever asks chooses it, and it means nothing to the other side.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.core.claims import MicroCredits
from crewgate.core.grant import Grant
from crewgate.errors import LinkError
from crewgate.link.frames import frame

VERSION = 1

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Nanoseconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]
# 64 random bits; msgspec has no bounds above int64, and the table compares it as a whole.
Nonce = Annotated[int, Meta(ge=0)]
Key = Annotated[bytes, Meta(min_length=16, max_length=16)]
Note = Annotated[str, Meta(max_length=limits.link_note_chars_max)]

DrawStatus = Literal["granted", "exhausted", "contended", "full", "share", "closed", "mismatch"]


# The group's door: attach and draw.


class Attach(msgspec.Struct, frozen=True, tag="attach"):
    """The first message at the group's door.

    `worker` is the index of a gateway worker, -1 for an embedder. `answers_cuts` promises a `Cut`
    for every `Revoked`; without it no receipt waits for this attachment. After the agent was
    restarted, `previous`, `nonce` and `life` (as `Attached` gave them) ask for the number that
    this process still holds in the table of that life, so that its calls in flight go on.
    """

    version: int
    worker: Annotated[int, Meta(ge=-1, lt=limits.table_attachments_max)] = -1
    answers_cuts: bool = False
    previous: Annotated[int, Meta(ge=-1, lt=limits.table_attachments_max)] = -1
    nonce: Nonce = 0
    life: bytes = b""


class Accepting(msgspec.Struct, frozen=True, tag="accepting"):
    """A worker's listeners are open (or closed) and it has loaded this policy generation."""

    accepting: bool
    policy_generation: Count


class Draw(msgspec.Struct, frozen=True, tag="draw"):
    """Credit is missing: open the branch of `grant` if it is new, and lease at least `need`."""

    id: Id
    grant: Grant
    need: MicroCredits


class Cut(msgspec.Struct, frozen=True, tag="cut"):
    """The answer to `Revoked`: `count` calls were cut, the last at `last_cut_ns` (0 if none)."""

    id: Id
    last_cut_ns: Nanoseconds
    count: Count


class Attached(msgspec.Struct, frozen=True, tag="attached"):
    """The answer to `Attach`; the table's descriptor travels beside its first byte."""

    number: int
    nonce: int
    life: bytes
    policy_generation: int


class Drawn(msgspec.Struct, frozen=True, tag="drawn"):
    """How a draw ended; the table already says so when this arrives.

    granted: the credit is available. exhausted: the account `level` (branch UUID or crew name) has
    `used` of `quota`. contended: the credit is held by calls in flight; try again. full, share: no
    room for another branch, in the table or in the crew's share. closed: the branch is dead.
    mismatch: it was seen before under another path.
    """

    id: Id
    status: DrawStatus
    level: str = ""
    used: int = 0
    quota: int = 0


class Revoked(msgspec.Struct, frozen=True, tag="revoked"):
    """The table has revoked `keys`; cut every call of theirs and below."""

    id: Id
    keys: list[Key]


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """Load the configuration again; it is policy `generation` now."""

    generation: Count


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The question `id` (0: the connection itself) was understood and is refused: what, mend."""

    id: Id
    message: Note


# The owner's door: revoke, tree, status, reload.


class Revoke(msgspec.Struct, frozen=True, tag="revoke"):
    """End `branch` and all below it; `crew` is needed where it is not plain whose branch it is."""

    id: Id
    branch: Annotated[str, Meta(max_length=limits.claim_chars_max)]
    crew: Annotated[str, Meta(max_length=limits.claim_chars_max)] = ""


class AskTree(msgspec.Struct, frozen=True, tag="ask-tree"):
    """Who is on this machine? Answered by `TreePage`s."""

    id: Id


class AskStatus(msgspec.Struct, frozen=True, tag="ask-status"):
    """Is this machine ready?"""

    id: Id


class AskReload(msgspec.Struct, frozen=True, tag="ask-reload"):
    """Read the configuration and the crews' keys again, now."""

    id: Id


class Receipt(msgspec.Struct, frozen=True, tag="receipt"):
    """What a revocation did.

    `read_ns` is when the agent had read the request, `last_cut_ns` when the last call was cut (0:
    none was), `cut_ms` the time between; `attachments` were told, `missing` of them gave no answer
    within the wait: the table binds them all the same. `coarsened`: the crew's share of
    revocations was used up, so all its tokens issued before now are revoked.
    """

    id: Id
    branch: str
    crew: str
    read_ns: Nanoseconds
    last_cut_ns: Nanoseconds
    cut_ms: float
    streams_cut: Count
    attachments: Count
    missing: Count
    coarsened: bool = False


BranchState = Literal["live", "exhausted", "expired", "revoked", "closed"]


class TreeRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One branch of the auth graph, or a crew (`branch` empty).

    `spent`, `burned` count the branch and all below it; `left` is what it may still spend, the
    least over its path; -1 where the table no longer knows.
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


class Status(msgspec.Struct, frozen=True, tag="status"):
    """Is this machine ready, and if not, why; `waiting_for` is empty when `ready`."""

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


class Reloaded(msgspec.Struct, frozen=True, tag="reloaded"):
    """The policy in force after `AskReload`; `changed` tells whether it is a new one."""

    id: Id
    generation: int
    changed: bool


GroupAsks = Attach | Accepting | Draw | Cut
GroupAnswers = Attached | Drawn | Revoked | Reload | Failed
OwnerAsks = Revoke | AskTree | AskStatus | AskReload
OwnerAnswers = Receipt | TreePage | Status | Reloaded | Failed
Message = GroupAsks | GroupAnswers | OwnerAsks | OwnerAnswers

M = TypeVar("M")

_encode = msgspec.msgpack.Encoder().encode
group_asks = msgspec.msgpack.Decoder(GroupAsks)
group_answers = msgspec.msgpack.Decoder(GroupAnswers)
owner_asks = msgspec.msgpack.Decoder(OwnerAsks)
owner_answers = msgspec.msgpack.Decoder(OwnerAnswers)


def pack(message: Message) -> bytes:
    """The frame of `message`; LinkError if it is over the bound."""
    return frame(_encode(message))


def unpack(decoder: msgspec.msgpack.Decoder[M], body: bytes) -> M:
    """The message in `body`; LinkError for whatever the decoder's side may not say."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise LinkError(f"not a message of this door: {error}") from error
