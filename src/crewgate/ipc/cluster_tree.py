"""Merges the branch trees of several machines into one: a branch is one row, wherever it calls.

Machines with one ledger see the same sums, each with its own newest amounts, so the row with the
most is taken and nothing is added. Machines with ledgers of their own spend separately, so their
amounts are added.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from crewgate import limits
from crewgate.core.rules.rule import step_rank
from crewgate.ipc.admin_messages import BranchState, TreeRow

# The state of a branch that machines see differently is the first of these. `expired` and
# `token-revoked` are about the newest token that a machine has seen, so they say the least.
_STATES: tuple[BranchState, ...] = (
    "revoked", "closed", "live", "exhausted", "token-revoked", "expired",
)  # fmt: skip


class MachineShare(msgspec.Struct, frozen=True):
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


class ClusterTreeRow(TreeRow, frozen=True, omit_defaults=True):
    """A row of the merged tree: the amounts of all `machines` that answered, and their shares.

    `quotas` is how many times the quota can be spent: once for each ledger.
    """

    machines: tuple[MachineShare, ...] = ()
    quotas: int = 1


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
    found: dict[tuple[str, str], list[tuple[MachineTree, TreeRow]]] = {}
    for tree in sorted(trees, key=lambda each: each.machine):
        for row in tree.rows:
            found.setdefault((row.crew, row.branch), []).append((tree, row))
    rows = {name: _merged(seen) for name, seen in found.items()}
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


def _merged(seen: Sequence[tuple[MachineTree, TreeRow]]) -> ClusterTreeRow:
    by_ledger = sorted(seen, key=lambda each: each[0].ledger)
    groups = [list(group) for _, group in groupby(by_ledger, key=lambda each: each[0].ledger)]
    sums = [_newest([row for _, row in group]) for group in groups]
    known = _best_known([row for _, row in seen])
    fields = msgspec.structs.asdict(known) | {
        name: sum(getattr(row, name) for row in sums)
        for name in ("spent", "reserved", "burned", "leased")
    }
    for name in ("left", "left_hour", "left_day"):
        amounts = [getattr(row, name) for row in sums]
        fields[name] = -1 if min(amounts) < 0 else sum(amounts)
    states = {row.state for _, row in seen}
    state = next(each for each in _STATES if each in states)
    held: dict[str, int] = {}
    for row in sums:
        held |= row.leased_on
    return ClusterTreeRow(
        **fields
        | {
            "state": state,
            "left": 0 if state in {"revoked", "closed"} and known.branch else fields["left"],
            "quota": max(row.quota for row in sums),
            "leased_on": held,
            "overrun": sum(row.overrun for _, row in seen),
            "calls": _calls([row for _, row in seen]),
            **_strongest_step([row for _, row in seen]),
        },
        machines=tuple(_share(tree, row) for tree, row in seen),
        quotas=len(groups),
    )


def _newest(rows: Sequence[TreeRow]) -> TreeRow:
    """Return the row with the newest amounts of one ledger: what was spent never gets less.

    What is left is the least that a machine sees.
    """
    newest = max(rows, key=lambda row: (row.spent + row.burned, row.reserved))
    lefts = {
        name: min(getattr(row, name) for row in rows) for name in ("left", "left_hour", "left_day")
    }
    return msgspec.structs.replace(newest, **lefts)


def _calls(rows: Sequence[TreeRow]) -> int:
    """Return the calls that machines have counted; -1 if none has."""
    counted = [row.calls for row in rows if row.calls >= 0]
    return sum(counted) if counted else -1


def _strongest_step(rows: Sequence[TreeRow]) -> dict[str, Any]:
    """Return the fields about the rule that has gone furthest on some machine."""
    row = max(rows, key=lambda row: step_rank(row.rule_step, row.rule_mode))
    return {"rule": row.rule, "rule_step": row.rule_step, "rule_mode": row.rule_mode}


def _best_known(rows: Sequence[TreeRow]) -> TreeRow:
    """Return the row of the newest token; a machine may know a branch only as an ancestor."""
    return max(rows, key=lambda row: (row.issued, bool(row.role), bool(row.grant)))


def _share(tree: MachineTree, row: TreeRow) -> MachineShare:
    return MachineShare(
        machine=tree.machine,
        state=row.state,
        spent=row.spent_here if tree.shares_ledger else row.spent,
        reserved=row.reserved_here if tree.shares_ledger else row.reserved,
        leased=row.leased_here,
        calls=row.calls,
    )
