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


class _LedgerAmounts(NamedTuple):
    """The newest amounts of one ledger: what was spent never gets less.

    What is left is the least that a machine sees.
    """

    newest: TreeRow
    left: int
    left_hour: int
    left_day: int

    @classmethod
    def of(cls, rows: Sequence[TreeRow]) -> "_LedgerAmounts":
        if len(rows) == 1:
            (row,) = rows
            return cls(row, row.left, row.left_hour, row.left_day)
        return cls(
            max(rows, key=lambda row: (row.spent + row.burned, row.reserved)),
            min(row.left for row in rows),
            min(row.left_hour for row in rows),
            min(row.left_day for row in rows),
        )


def merged_row(seen: Sequence[tuple[TreeSource, TreeRow]]) -> ClusterTreeRow:
    """Return one row of the rows of one crew or branch, in the order of the machines' names."""
    shares = tuple(_share(source, row) for source, row in seen)
    if len(seen) == 1:
        ((_, row),) = seen
        # mypy does not know how long the tuple is.
        alone = ClusterTreeRow(*astuple(row), machines=shares)  # type: ignore[misc]
        is_over = row.state in _ENDED and bool(row.branch) and row.left != 0
        return msgspec.structs.replace(alone, left=0) if is_over else alone
    rows = [row for _, row in seen]
    by_ledger: dict[str, list[TreeRow]] = {}
    for source, row in seen:
        by_ledger.setdefault(source.ledger, []).append(row)
    amounts = [_LedgerAmounts.of(by_ledger[ledger]) for ledger in sorted(by_ledger)]
    newest = [each.newest for each in amounts]
    # The newest token says who it is; a machine may know a branch only as an ancestor.
    known = max(rows, key=lambda row: (row.issued, bool(row.role), bool(row.grant)))
    states = {row.state for row in rows}
    state = next(each for each in _STATES if each in states)
    held: dict[str, int] = {}
    for row in newest:
        held |= row.leased_on
    calls = [row.calls for row in rows if row.calls >= 0]
    # The rule that has gone furthest on some machine.
    stepped = max(rows, key=lambda row: step_rank(row.rule_step, row.rule_mode))
    is_over = state in _ENDED and bool(known.branch)
    return ClusterTreeRow(
        crew=known.crew,
        branch=known.branch,
        state=state,
        parent=known.parent,
        orchestrator=known.orchestrator,
        role=known.role,
        process=known.process,
        grant=known.grant,
        subject=known.subject,
        quota=max(row.quota for row in newest),
        spent=sum(row.spent for row in newest),
        reserved=sum(row.reserved for row in newest),
        burned=sum(row.burned for row in newest),
        left=0 if is_over else _sum_of_limits([each.left for each in amounts]),
        leased=sum(row.leased for row in newest),
        leased_on=held,
        overrun=sum(row.overrun for row in rows),
        left_hour=_sum_of_limits([each.left_hour for each in amounts]),
        left_day=_sum_of_limits([each.left_day for each in amounts]),
        spent_here=known.spent_here,
        reserved_here=known.reserved_here,
        leased_here=known.leased_here,
        issued=known.issued,
        calls=sum(calls) if calls else -1,
        rule=stepped.rule,
        rule_step=stepped.rule_step,
        rule_mode=stepped.rule_mode,
        machines=shares,
        quotas=len(amounts),
    )


def _sum_of_limits(amounts: Sequence[int]) -> int:
    """Return what is left at all ledgers; -1 if there is no limit at one of them."""
    return -1 if min(amounts) < 0 else sum(amounts)


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
