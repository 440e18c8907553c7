"""Copies of the table's records, as tuples of integers and bytes, which its methods return."""

from typing import NamedTuple

from crewgate import limits


class TableCapacities(NamedTuple):
    """The capacities of a table, each a power of two; reservations are a multiple of 64.

    `proofs` are the places for DPoP proofs: a sixteenth of them for each 16 s of their two kinds.
    """

    branches: int
    revocations: int
    reservations: int
    attachments: int
    proofs: int = limits.table_proofs_min


class BranchRecord(NamedTuple):
    """A copy of one branch (or crew) record; amounts are micro-credits.

    - `parents`: record numbers of the crew, the root … the parent; none for a crew
    - `expires`: wall clock seconds
    - `loose`: the part of `reserved` that is only an upper bound of what calls will cost
    - `burned`: granted - given back - available - reserved - settled. It is exact while no call is
      open, and otherwise never more than is lost.
    - `retired`: what reclaimed descendants had consumed
    - `pending`: the need of a draw that was begun and not applied
    - `refused`: (need, level, used, quota) of the last refusal while it applies
    - `beyond`: what the ledger could still grant at its last grant
    - `window`: the crew's hour or day whose spending caused the refusal, or 0
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


class CountedActivity(NamedTuple):
    """What rules have counted of a branch, with all branches below it.

    `calls` were answered in this minute of CLOCK_BOOTTIME. `noted` has the rules whose steps were
    recorded since the branch last made progress: for each of warn, refuse and end, a bit for each
    rule of the policy.
    """

    calls: int
    noted: tuple[int, int, int]


class BurnedReservation(NamedTuple):
    """A reservation that the agent ended because its owner died or its deadline passed.

    `state` is 2 for intent (it is unknown whether the credit was taken), 3 for held, or 4 for
    settling (`cost` was being charged). `grant` is the 16-byte key of the grant, and `owner` the
    number of the attachment. `started_ns` is wall clock time.
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
    """A branch whose record was freed; `consumed` stays charged to its ancestors."""

    key: bytes
    consumed: int
