"""What the table's methods answer: copies of records, as plain tuples of integers and bytes."""

from typing import NamedTuple


class Geometry(NamedTuple):
    """Capacities, each a power of two; reservations a multiple of 64."""

    branches: int
    revocations: int
    reservations: int
    attachments: int


class BranchRecord(NamedTuple):
    """A copy of one branch (or crew) record; amounts are micro-credits.

    `parents` are record numbers: the crew, root … parent; a crew has none. `expires` is wall clock
    seconds. `burned` is what is missing once no owner is left: granted - given back - available -
    reserved - settled; exact once quiet, never more than is lost while calls go on. `retired` is
    what reclaimed descendants had consumed. `loose` is what of `reserved` only bounds what calls
    will cost, `beyond` what the ledger could still grant when it granted last. `pending` is the
    need of a draw that was begun and not applied. `refused` is (need, level, used, quota) of the
    last refusal while it holds, `window` the crew's hour or day that is spent by it, or 0.
    """

    number: int
    generation: int
    key: bytes
    parents: tuple[int, ...]
    path_digest: bytes
    quota: int
    quota_iat: int
    expires: int
    available: int
    reserved: int
    loose: int
    settled: int
    granted: int
    given_back: int
    burned: int
    retired: int
    sequence: int
    pending: int
    closed: bool
    refused: tuple[int, int, int, int] | None
    beyond: int = 0
    window: int = 0


class BurnedReservation(NamedTuple):
    """A reservation that the agent ended: its owner died, or its deadline passed.

    `state`: 2 intent (unknown whether the credit was taken), 3 held, 4 settling (`cost` was being
    charged). `grant` is the grant's 16-byte key, `owner` the attachment, `started_ns` wall clock.
    """

    branch_key: bytes
    amount: int
    state: int
    cost: int
    tool: int
    grant: bytes
    request: bytes
    started_ns: int
    owner: int


class ReclaimedBranch(NamedTuple):
    """A branch that was forgotten; `consumed` stays charged on its ancestors."""

    key: bytes
    consumed: int
