"""Follows the merged tree of all machines from answer to answer, and says what has changed.

A machine answers with what has changed since its last answer. One of an earlier version answers
with all rows: they are compared as they came, and those that differ are decoded. Only branches that
have changed are merged. So a reader of a large tree that asks each second pays for what changes,
and not for the whole tree.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.answer_parts import TreePart
from crewgate.ipc.cluster_tree import ClusterTreeRow, TreeSource, merged_row
from crewgate.ipc.cluster_view import SilentMachine, collect, ledger_of
from crewgate.ipc.machine_messages import MachineAnswer

_Few = Meta(max_length=limits.tree_page_rows_max)
_decode = msgspec.msgpack.Decoder(TreeRow).decode


class BranchName(NamedTuple):
    """The name of a row: a branch of a crew, or the crew itself if `branch` is empty."""

    crew: str
    branch: str


class UnreadTreePart(TreePart, frozen=True, omit_defaults=True):
    """A `TreePart` whose rows are not decoded yet.

    A row of one byte is an object too, so the rows of a page have a bound, beside its bytes.
    """

    rows: Annotated[list[msgspec.Raw], _Few]  # type: ignore[assignment]
    gone: Annotated[list[tuple[str, str]], _Few] = msgspec.field(default_factory=list)


class TreeChange(NamedTuple):
    """What differs from the tree before: rows that are new or other, and rows that are gone.

    The `machines` answered, `asked` is the one that was asked itself, and `left_out` branches did
    not fit into answers.
    """

    rows: dict[BranchName, ClusterTreeRow]
    gone: list[BranchName]
    machines: list[str]
    asked: str
    not_asked: list[SilentMachine]
    left_out: int


class _MachineRows:
    """The rows of one machine after its newest answer, whose `cursor` it is; empty for none."""

    def __init__(self) -> None:
        self.cursor = ""
        self.source = TreeSource("", "")
        self.by_name: dict[BranchName, TreeRow] = {}
        self._unread: Sequence[msgspec.Raw] = ()
        self._names: list[BranchName] = []

    def take(self, source: TreeSource, parts: Sequence[UnreadTreePart]) -> set[BranchName]:
        """Take an answer; return the names whose rows are new, other or gone.

        Raises msgspec.DecodeError, or ValueError for an answer that no machine makes. Then nothing
        is taken.
        """
        unread = [raw for part in parts for raw in part.rows]
        since, cursor = parts[0].since, parts[0].cursor
        if since and since != self.cursor:
            raise ValueError("it goes on from an answer that nobody had")
        if len(cursor) > limits.tree_cursor_chars_max:
            # The agent would refuse the next question, and so nobody would see any machine.
            raise ValueError(f"its cursor has {len(cursor)} characters")
        before = {*self.by_name} if source != self.source else set[BranchName]()
        if since:
            gone = [BranchName(*name) for part in parts for name in part.gone]
            changed = self._take_changes(unread, gone)
        else:
            changed = self._take_all(unread, may_come_again=not cursor)
        self.source, self.cursor = source, cursor
        return changed | (before & self.by_name.keys())

    def _take_changes(
        self, unread: Sequence[msgspec.Raw], gone: Sequence[BranchName]
    ) -> set[BranchName]:
        rows = {BranchName(row.crew, row.branch): row for row in map(_read, unread)}
        lost = {name for name in gone if name in self.by_name}
        new = sum(name not in self.by_name for name in rows)
        _require_room(len(self.by_name) + new)
        changed = {name for name, row in rows.items() if self.by_name.get(name) != row}
        for name in lost:
            del self.by_name[name]
        self.by_name |= rows
        return changed | lost

    def _take_all(self, unread: Sequence[msgspec.Raw], *, may_come_again: bool) -> set[BranchName]:
        """Take all rows; they are kept as they came if they `may_come_again`."""
        _require_room(len(unread))
        found: dict[BranchName, TreeRow] = {}
        names: list[BranchName] = []
        changed: set[BranchName] = set()
        known, before, old, place = self.by_name, self._names, self._unread, 0
        places: dict[BranchName, int] = {}
        for raw in unread:
            # Nearly all rows are those of before, in their order: they are compared as bytes.
            if place < len(old) and raw == old[place]:
                name = before[place]
                found[name] = known[name]
                place += 1
            else:
                row = _read(raw)
                name = BranchName(row.crew, row.branch)
                found[name] = row
                if known.get(name) != row:
                    changed.add(name)
                if place < len(old) and name == before[place]:
                    place += 1
                else:
                    # Rows came or went before this one.
                    places = places or {each: number for number, each in enumerate(before)}
                    place = places.get(name, place - 1) + 1
            names.append(name)
        changed |= known.keys() - found.keys()
        self.by_name = found
        self._unread, self._names = (unread, names) if may_come_again else ((), [])
        return changed


def _require_room(rows: int) -> None:
    if rows > limits.tree_changes_rows_max:
        raise ValueError(f"it has {rows} branches")


def _read(raw: msgspec.Raw) -> TreeRow:
    size = len(memoryview(raw))
    if size > limits.tree_row_bytes_max:
        raise ValueError(f"a branch has {size} bytes")
    row = _decode(raw)
    amounts = (
        row.quota, row.spent, row.reserved, row.burned, row.left, row.leased, row.overrun,
        row.left_hour, row.left_day, row.spent_here, row.reserved_here, row.leased_here,
        row.issued, row.calls,
    )  # fmt: skip
    if min(amounts) < -1 or max(amounts) > limits.tree_amount_max:
        raise ValueError("a branch has an amount that no branch can have")
    return row


class ClusterTreeChanges:
    """The merged tree of the newest answers: `rows` by name, in no order.

    The parent of a row is in the tree, or known to no machine; no row is above itself, and none is
    deeper than tokens allow. As `cluster_tree.merged`, it shows a branch below its crew if a
    machine lies about that.
    """

    def __init__(self) -> None:
        self.rows: dict[BranchName, ClusterTreeRow] = {}
        self._machines: dict[str, _MachineRows] = {}
        self._misplaced: dict[BranchName, str] = {}  # with the parent that machines name

    @property
    def cursors(self) -> dict[str, str]:
        """For the next question: the cursors of the machines that answered."""
        return {name: each.cursor for name, each in self._machines.items() if each.cursor}

    def take(self, answers: Iterable[MachineAnswer]) -> TreeChange:
        """Take the answers to a `TreeQuestion` with `since`; return what has changed."""
        found = collect(answers, UnreadTreePart, limits.tree_pages_max)
        not_asked = [*found.not_asked]
        changed: set[BranchName] = set()
        answered: list[str] = []
        left_out = 0
        for machine, parts in found.parts.items():
            known = self._machines.setdefault(machine, _MachineRows())
            source = TreeSource(machine, ledger_of(machine, parts[0]), parts[0].shares_ledger)
            try:
                changed |= known.take(source, parts)
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                not_asked.append(SilentMachine(machine, f"its answer cannot be read: {error}"))
                continue
            answered.append(machine)
            left_out += sum(part.left_out for part in parts)
        for machine in [each for each in self._machines if each not in answered]:
            changed |= self._machines.pop(machine).by_name.keys()
        not_asked.sort(key=lambda each: each.machine)
        rows, gone = self._merge(changed)
        return TreeChange(rows, gone, answered, found.asked, not_asked, left_out)

    def _merge(
        self, changed: Iterable[BranchName]
    ) -> tuple[dict[BranchName, ClusterTreeRow], list[BranchName]]:
        machines = [self._machines[name] for name in sorted(self._machines)]
        rows: dict[BranchName, ClusterTreeRow] = {}
        gone: list[BranchName] = []
        is_moved = False
        for name in changed:
            seen = [(each.source, each.by_name[name]) for each in machines if name in each.by_name]
            old = self.rows.get(name)
            if not seen:
                if old is not None:
                    gone.append(name)
                    del self.rows[name]
                    self._misplaced.pop(name, None)
                    is_moved = True
                continue
            row = merged_row(seen)
            if self._misplaced.get(name, row.parent) != row.parent:
                del self._misplaced[name]
                is_moved = True
            elif name in self._misplaced:
                row = msgspec.structs.replace(row, parent="")
            is_moved = is_moved or old is None or row.parent != old.parent
            if row != old:
                rows[name] = self.rows[name] = row
        if is_moved:
            rows |= self._replace()
        return rows, gone

    def _replace(self) -> dict[BranchName, ClusterTreeRow]:
        """Put each misplaced branch below its crew; return the rows whose place has changed."""
        misplaced = _misplaced(self.rows, self._misplaced)
        moved: dict[BranchName, ClusterTreeRow] = {}
        for name in misplaced.keys() ^ self._misplaced.keys():
            row = self.rows[name]
            parent = "" if name in misplaced else self._misplaced[name]
            moved[name] = self.rows[name] = msgspec.structs.replace(row, parent=parent)
        self._misplaced = misplaced
        return moved


def _misplaced(
    rows: Mapping[BranchName, ClusterTreeRow], known: Mapping[BranchName, str]
) -> dict[BranchName, str]:
    """Return the branches that are above themselves or too deep, with the parents that they name.

    `known` are those of before, whose rows name no parent any more.
    """
    levels: dict[BranchName, int] = {}
    found: dict[BranchName, str] = {}

    def above(name: BranchName) -> BranchName | None:
        parent = known.get(name) or rows[name].parent
        named = BranchName(name.crew, parent)
        return named if parent and named in rows else None

    for first in rows:
        path: list[BranchName] = []
        name: BranchName | None = first
        while name is not None and name not in levels:
            levels[name] = -1  # on the path
            path.append(name)
            name = above(name)
        # A loop begins where the path comes to itself: there it is cut.
        is_cut = name is not None and levels[name] < 0
        level = -1 if name is None or is_cut else levels[name]
        for each in reversed(path):
            level += 1
            if level > limits.depth_max or (is_cut and each is path[-1]):
                found[each] = known.get(each) or rows[each].parent
                level = 0
            levels[each] = level
    return found
