"""Makes the branch tree of this machine, and keeps it from reading to reading.

It is pure. With the first reading, the tree makes all rows. With each further one, it makes anew
only the rows that may have changed, and says which have changed.
"""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate.agent.branch_tree.inputs import TreeInputs
from crewgate.agent.branch_tree.remote_usage import NOTHING, RemoteUsage
from crewgate.agent.branch_tree.row_maker import RowMaker, TreeNode
from crewgate.agent.recent_activity import NO_ACTIVITY
from crewgate.ipc.admin_messages import TreeRow

RowName = tuple[str, str]  # crew and branch


class TreeChanges(NamedTuple):
    """The rows that are new or other, parents before children, and the names that are `gone`."""

    rows: list[TreeRow]
    gone: list[RowName]


class BranchTree:
    """The rows of the newest reading; `reading` counts the readings."""

    def __init__(self) -> None:
        self.reading = 0
        self._nodes: dict[int, TreeNode] = {}  # by record number
        self._numbers: dict[RowName, int] = {}
        self._gone: deque[tuple[int, RowName]] = deque()  # with the reading, the oldest first
        self._gone_since = 0  # the last reading of which `_gone` may have lost names
        self._last: TreeInputs | None = None

    def __len__(self) -> int:
        return len(self._nodes)

    def take(self, found: TreeInputs) -> None:
        """Take a reading."""
        last, self._last = self._last, found
        self.reading += 1
        # A branch that got another record while records were copied has two: the later one counts.
        records = {record.key: record for record in found.records}.values()
        due = self._take_records({record.number: record for record in records})
        due |= self._take_facts(found)
        due |= {number for number, node in self._nodes.items() if not node.record.parents}
        if last is None or found.others is not last.others:
            for node in self._nodes.values():
                node.others = found.others.get(node.record.key, NOTHING)
                node.total_then = node.total
        # The identity of `others`: with each look at the ledger, all rows are made anew. So a row
        # also follows what nothing announces, such as the end of a revocation. Time alone has the
        # same effect, since the ledger may not answer for hours.
        if last is None or _whole_inputs(found) != _whole_inputs(last):
            due = {*self._nodes}
        self._make_rows(due, RowMaker(found))

    def rows(self) -> list[TreeRow]:
        """Return the rows of each crew after the other, and each branch after its parent."""
        tops = [node for node in self._nodes.values() if not node.record.parents]
        found: list[TreeRow] = []
        # Depth first without recursion: the tree is at most limits.depth_max deep, but wide.
        waiting = sorted(tops, key=lambda node: node.row.crew if node.row else "", reverse=True)
        while waiting:
            node = waiting.pop()
            if node.row is not None:
                found.append(node.row)
            waiting += [self._nodes[number] for number in sorted(node.children, reverse=True)]
        return found

    def changes(self, since: int) -> TreeChanges | None:
        """Return what has changed since a reading; None if that is not known any more."""
        if not self._gone_since <= since <= self.reading:
            return None
        nodes = [node for node in self._nodes.values() if node.changed > since]
        nodes.sort(key=lambda node: len(node.record.parents))
        # A name that is gone may be there again, in another record.
        gone = {name for reading, name in self._gone if reading > since} - self._numbers.keys()
        return TreeChanges([node.row for node in nodes if node.row is not None], [*gone])

    def _take_records(self, records: Mapping[int, BranchRecord]) -> set[int]:
        """Return the nodes whose amounts have changed, and those above them."""
        due: set[int] = set()
        other: list[int] = []
        for number, node in self._nodes.items():
            record = records.get(number)
            if record == node.record:
                continue
            if record is None or _identity(record) != _identity(node.record):
                other.append(number)
            else:
                due.update(self._count(node.record, -1), self._count(record))
                node.record = record
        for number in other:
            due |= self._remove(number)
        new = [record for number, record in records.items() if number not in self._nodes]
        for record in sorted(new, key=lambda record: len(record.parents)):
            # A record that came while others were copied is there at the next reading.
            if all(number in self._nodes for number in record.parents):
                node = TreeNode(record, self._others(record.key))
                node.total_then = node.total
                self._nodes[record.number] = node
                for above in record.parents[-1:]:
                    self._nodes[above].children.add(record.number)
                due |= self._count(record)
        return due & self._nodes.keys()

    def _count(self, record: BranchRecord, times: int = 1) -> set[int]:
        """Add the amounts of a record to its node and those above; return their numbers."""
        levels = {record.number, *record.parents}
        for number in levels:
            self._nodes[number].add(record, times)
        return levels

    def _remove(self, number: int) -> set[int]:
        """Remove a node with all below it; return those above."""
        node = self._nodes.get(number)
        if node is None:
            return set()
        for child in (*node.children,):
            self._remove(child)
        record = node.record
        self._count(record, -1)
        del self._nodes[number]
        if record.parents:
            self._nodes[record.parents[-1]].children.discard(number)
        for above in record.parents:
            # What was consumed is in the ledger, which may be read a little later.
            self._nodes[above].others = self._nodes[above].others.and_consumed(record)
        self._forget_name(number, node.row)
        return {*record.parents}

    def _others(self, key: bytes) -> RemoteUsage:
        return self._last.others.get(key, NOTHING) if self._last is not None else NOTHING

    def _take_facts(self, found: TreeInputs) -> set[int]:
        """Take what is known of branches besides amounts, and whether their tokens are over."""
        due = set()
        entries, activities, overruns, now = (
            found.entries, found.activities, found.overruns, found.now,
        )  # fmt: skip
        for number, node in self._nodes.items():
            key, row = node.record.key, node.row
            entry, overrun = entries.get(key), overruns.get(key, 0)
            activity = activities.get(number, NO_ACTIVITY)
            expires = entry.exp if entry is not None else 0
            is_over = 0 < expires < now and row is not None and row.state == "live"
            if is_over or (entry, activity, overrun) != (node.entry, node.activity, node.overrun):
                node.entry, node.activity, node.overrun = entry, activity, overrun
                due.add(number)
        return due

    def _make_rows(self, due: set[int], maker: RowMaker) -> None:
        """Make these rows, and those below rows on which they depend."""
        levels: list[set[int]] = [set()]
        for number in due:
            depth = len(self._nodes[number].record.parents)
            levels += [set() for _ in range(depth + 1 - len(levels))]
            levels[depth].add(number)
        for depth, level in enumerate(levels):
            for number in level:
                if self._make_row(number, maker) and self._nodes[number].children:
                    if depth + 1 == len(levels):
                        levels.append(set())
                    levels[depth + 1] |= self._nodes[number].children

    def _make_row(self, number: int, maker: RowMaker) -> bool:
        """Return whether the rows below have to be made too."""
        node = self._nodes[number]
        parents = node.record.parents
        above = self._nodes[parents[-1]].row if parents else None
        row = maker.crew(node) if above is None else maker.branch(node, above)
        before = node.row
        if row == before:
            return False
        name = row.crew, row.branch
        if before is not None and name != (before.crew, before.branch):
            self._forget_name(number, before)
        self._numbers[name] = number
        node.row, node.changed = row, self.reading
        return before is None or _passed_on(row) != _passed_on(before)

    def _forget_name(self, number: int, row: TreeRow | None) -> None:
        if row is None or self._numbers.get((row.crew, row.branch)) != number:
            return
        name = row.crew, row.branch
        del self._numbers[name]
        self._gone.append((self.reading, name))
        if len(self._gone) > limits.tree_gone_max:
            self._gone_since, _ = self._gone.popleft()


def _whole_inputs(found: TreeInputs) -> tuple[object, ...]:
    """Return what any row may depend on."""
    period = found.now // int(limits.tree_ledger_seconds_max)
    return id(found.others), found.crews, found.revocations, found.machine, period


def _identity(record: BranchRecord) -> tuple[int, bytes, tuple[int, ...]]:
    return record.generation, record.key, record.parents


def _passed_on(row: TreeRow) -> tuple[str, str, str, int]:
    """Return what the rows of children depend on."""
    return row.crew, row.branch, row.state, row.left
