"""Merges the branch trees of several machines into one: a branch is one row, wherever it calls.

Machines with one ledger see the same sums, each with its own newest amounts, so the row with the
most is taken and nothing is added. Machines with ledgers of their own spend separately, so their
amounts are added.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import astuple

from crewgate import limits
from crewgate.core.rules.rule import step_rank
from crewgate.ipc.admin_messages import BranchState, TreeRow

# The state of a branch that machines see differently is the first of these. `expired` and
# `token-revoked` are about the newest token that a machine has seen, so they say the least.
_STATES: tuple[BranchState, ...] = (
    "revoked", "closed", "live", "exhausted", "token-revoked", "expired",
)  # fmt: skip


_STATE_RANKS = {state: rank for rank, state in enumerate(_STATES)}
_ENDED: frozenset[BranchState] = frozenset({"revoked", "closed"})


class MachineShare(msgspec.Struct, frozen=True, gc=False):
    """The amounts of one machine for a branch or a crew, in micro-credits.

    `spent` and `reserved` are those of this machine's calls: since its table was made, or ever if
    no other machine shares its ledger. `leased` is the idle credit that it holds. `calls` were
    answered in this minute of its clock; -1 if no rule counts them.
    """

    machine: str
    state: BranchState
    spent: int
    reserved: int
    leased: int
    calls: int = -1


class ClusterTreeRow(TreeRow, frozen=True, omit_defaults=True, gc=False):
    """A row of the merged tree: the amounts of all `machines` that answered, and their shares.

    `quotas` is how many times the quota can be spent: once for each ledger.
    """

    machines: tuple[MachineShare, ...] = ()
    quotas: int = 1


class TreeSource(NamedTuple):
    """A machine that answers with its tree, and the identity of its ledger.

    `shares_ledger`: the amounts of its rows are those of all machines with this ledger.
    """

    machine: str
    ledger: str
    shares_ledger: bool = False


class MachineTree(msgspec.Struct, frozen=True):
    """The tree of one machine, parents before children, and the identity of its ledger.

    `shares_ledger`: the amounts of the rows are those of all machines with this ledger.
    """

    machine: str
    ledger: str
    rows: Sequence[TreeRow]
    shares_ledger: bool = False


def merged(trees: Iterable[MachineTree]) -> list[ClusterTreeRow]:
    """Return one row for each crew and branch: crews by name, children by role and id.

    Parents come before their children. A branch whose parent no machine knows is below its crew.
    """
    found: dict[tuple[str, str], list[tuple[TreeSource, TreeRow]]] = {}
    for tree in sorted(trees, key=lambda each: each.machine):
        source = TreeSource(tree.machine, tree.ledger, tree.shares_ledger)
        for row in tree.rows:
            found.setdefault((row.crew, row.branch), []).append((source, row))
    rows = {name: merged_row(seen) for name, seen in found.items()}
    return list(_in_order(rows))


def _in_order(rows: Mapping[tuple[str, str], ClusterTreeRow]) -> Iterator[ClusterTreeRow]:
    below: dict[str, dict[str, list[ClusterTreeRow]]] = {}
    for (crew, branch), row in rows.items():
        if branch:
            parent = row.parent if (crew, row.parent) in rows else ""
            below.setdefault(crew, {}).setdefault(parent, []).append(row)
    for crew in sorted({crew for crew, _ in rows}):
        if (crew, "") in rows:
            yield rows[crew, ""]
        yield from _of_crew(below.get(crew, {}))


def _of_crew(below: dict[str, list[ClusterTreeRow]]) -> Iterator[ClusterTreeRow]:
    """Yield the rows of a crew, each once; `below` has them by the branch above.

    A machine that lies can name a branch as an ancestor of itself, or put it deeper than tokens
    allow. Such a branch is shown below its crew.
    """
    for children in below.values():
        children.sort(key=lambda row: (row.role, row.branch), reverse=True)
    waiting = [(row, 0) for row in below.pop("", [])]
    while waiting or below:
        if not waiting:
            misplaced = below.pop(next(iter(below)))
            waiting = [(msgspec.structs.replace(row, parent=""), 0) for row in misplaced]
        row, level = waiting.pop()
        yield row
        if level < limits.depth_max:
            waiting += [(each, level + 1) for each in below.pop(row.branch, [])]


class _LedgerAmounts:
    """The newest amounts of one ledger: what was spent never gets less.

    What is left is the least that a machine sees.
    """

    __slots__ = ("left", "left_day", "left_hour", "newest", "rank")

    def __init__(self, row: TreeRow) -> None:
        self.newest = row
        self.rank = row.spent + row.burned, row.reserved
        self.left, self.left_hour, self.left_day = row.left, row.left_hour, row.left_day

    def add(self, row: TreeRow) -> None:
        """Take the row of a further machine with this ledger."""
        rank = row.spent + row.burned, row.reserved
        if rank > self.rank:
            self.newest, self.rank = row, rank
        self.left = min(self.left, row.left)
        self.left_hour = min(self.left_hour, row.left_hour)
        self.left_day = min(self.left_day, row.left_day)


def merged_row(seen: Sequence[tuple[TreeSource, TreeRow]]) -> ClusterTreeRow:
    """Return one row of the rows of one crew or branch, in the order of the machines' names."""
    _, known = seen[0]
    if len(seen) == 1:
        shares = (_share(*seen[0]),)
        # mypy does not know how long the tuple is.
        alone = ClusterTreeRow(*astuple(known), machines=shares)  # type: ignore[misc]
        is_over = known.state in _ENDED and bool(known.branch) and known.left != 0
        return msgspec.structs.replace(alone, left=0) if is_over else alone
    by_ledger: dict[str, _LedgerAmounts] = {}
    identity = known.issued, bool(known.role), bool(known.grant)
    state, state_rank = known.state, len(_STATES)
    stepped, step = known, -1
    overrun, calls = 0, -1
    for source, row in seen:
        amounts = by_ledger.get(source.ledger)
        if amounts is None:
            by_ledger[source.ledger] = _LedgerAmounts(row)
        else:
            amounts.add(row)
        # The newest token says who it is; a machine may know a branch only as an ancestor.
        other = row.issued, bool(row.role), bool(row.grant)
        if other > identity:
            known, identity = row, other
        if _STATE_RANKS[row.state] < state_rank:
            state, state_rank = row.state, _STATE_RANKS[row.state]
        # The rule that has gone furthest on some machine.
        if (rank := step_rank(row.rule_step, row.rule_mode)) > step:
            stepped, step = row, rank
        overrun += row.overrun
        if row.calls >= 0:
            calls = max(calls, 0) + row.calls
    ledgers = [by_ledger[ledger] for ledger in sorted(by_ledger)]
    return _sum(
        known,
        ledgers,
        state=state,
        overrun=overrun,
        calls=calls,
        stepped=stepped,
        machines=tuple([_share(source, row) for source, row in seen]),
    )


def _sum(
    known: TreeRow,
    ledgers: Sequence[_LedgerAmounts],
    *,
    state: BranchState,
    overrun: int,
    calls: int,
    stepped: TreeRow,
    machines: tuple[MachineShare, ...],
) -> ClusterTreeRow:
    """Return the row of a branch: as `known` names it, with the sums of all ledgers."""
    quota = spent = reserved = burned = leased = left = left_hour = left_day = 0
    held: dict[str, int] = {}
    for each in ledgers:
        row = each.newest
        quota = max(quota, row.quota)
        spent += row.spent
        reserved += row.reserved
        burned += row.burned
        leased += row.leased
        held |= row.leased_on
        left = _with_limit(left, each.left)
        left_hour = _with_limit(left_hour, each.left_hour)
        left_day = _with_limit(left_day, each.left_day)
    return ClusterTreeRow(
        known.crew,
        known.branch,
        state,
        known.parent,
        known.orchestrator,
        known.role,
        known.process,
        known.grant,
        known.subject,
        quota,
        spent,
        reserved,
        burned,
        0 if state in _ENDED and known.branch else left,
        leased,
        held,
        overrun,
        left_hour,
        left_day,
        known.spent_here,
        known.reserved_here,
        known.leased_here,
        known.issued,
        calls,
        stepped.rule,
        stepped.rule_step,
        stepped.rule_mode,
        machines,
        len(ledgers),
    )


def _with_limit(left: int, more: int) -> int:
    """Return what is left at one more ledger; -1 if there is no limit at one of them."""
    return -1 if left < 0 or more < 0 else left + more


def _share(source: TreeSource, row: TreeRow) -> MachineShare:
    shares = source.shares_ledger
    return MachineShare(
        source.machine,
        row.state,
        row.spent_here if shares else row.spent,
        row.reserved_here if shares else row.reserved,
        row.leased_here,
        row.calls,
    )
