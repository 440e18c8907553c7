"""What a person has chosen to see: which table, in which order, which rows, and the selected one.

It follows the selected row by its name, so that a row that moves stays selected: a key never acts
on another row than the marked one.
"""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from crewgate.cli.top.reading import LiveRow, Node, Reading, UsageRow
from crewgate.core.terminal_text import printable


class Table(enum.StrEnum):
    """The tables, in the order of the key Tab."""

    BRANCHES = "branches"
    TOOLS = "tools"
    CREWS = "crews"


class Order(enum.StrEnum):
    """What rows are sorted by, in the order of the key s; the largest first, names from A to Z."""

    CREDITS = "credits/min"
    CALLS = "calls/min"
    SPENT = "spent"
    NAME = "name"


class TreeLine(NamedTuple):
    """A line of the table of branches; `guides` says for each level whether more siblings follow.

    `folded` is how many branches below are hidden, because the person has folded the row.
    """

    node: Node
    live: LiveRow
    guides: tuple[bool, ...]
    folded: int = 0

    @property
    def has_branches(self) -> bool:
        """Whether it is a branch, or hides some; a crew above no branch is neither."""
        return bool(self.node.branch or self.folded)


class UsageLine(NamedTuple):
    """A line of the tables of tools and crews."""

    usage: UsageRow

    @property
    def node(self) -> Node:
        """The name of the line; a tool has no branch, so its name stands there."""
        return Node(self.usage.crew, self.usage.tool)


AnyLine = TreeLine | UsageLine
_CHILDREN = Mapping[Node | None, Sequence[Node]]


class View:
    """The choices, and the lines that come of them for the newest reading."""

    def __init__(self, order: Order = Order.CREDITS, pattern: str = "") -> None:
        self.table = Table.BRANCHES
        self.order = order
        self.pattern = pattern
        self.shows_ended = False
        self.lines: Sequence[AnyLine] = ()
        self.selected: Node | None = None
        self.first = 0  # of the lines on the screen
        self.reading: Reading | None = None
        self._places: dict[Node | None, int] = {}
        self._folded: set[Node] = set()
        self._was_live: set[Node] = set()

    def take(self, reading: Reading) -> None:
        """Show another reading. What has ended since the start stays."""
        self.reading = reading
        self._was_live &= reading.rows.keys()
        self._was_live |= {node for node, live in reading.rows.items() if live.is_live}
        self.arrange()

    def arrange(self) -> None:
        """Make the lines anew, after a choice has changed."""
        at = self.position
        if self.reading is None:
            return
        if self.table is Table.BRANCHES:
            self.lines = [*_tree_lines(self.reading.rows, self._shown(), self._folded, self.order)]
        else:
            rows = self.reading.tools if self.table is Table.TOOLS else self.reading.crews
            found = [row for row in rows if self._matches(row)]
            self.lines = [UsageLine(row) for row in sorted(found, key=_USAGE_KEYS[self.order])]
        self._places = {line.node: place for place, line in enumerate(self.lines)}
        if self.selected not in self._places:
            self.move_to(at)

    @property
    def position(self) -> int:
        """The place of the selected line; 0 if there is none."""
        return self._places.get(self.selected, 0)

    @property
    def selected_line(self) -> AnyLine | None:
        """The selected line; None if there are no lines."""
        return self.lines[self.position] if self.lines else None

    def move_to(self, position: int) -> None:
        """Select a line, or the nearest one."""
        if self.lines:
            self.selected = self.lines[min(max(0, position), len(self.lines) - 1)].node
        else:
            self.selected = None

    def on_screen(self, height: int) -> Sequence[AnyLine]:
        """Return the lines that are on a screen of `height` lines, with the selected one."""
        at = self.position
        self.first = max(0, min(self.first, at, len(self.lines) - height))
        self.first = max(self.first, at - max(height, 1) + 1)
        return self.lines[self.first : self.first + height]

    def turn_table(self, step: int = 1) -> None:
        """Show the next table."""
        tables = list(Table)
        self.table = tables[(tables.index(self.table) + step) % len(tables)]
        self.selected, self.first = None, 0
        self.arrange()

    def turn_order(self) -> None:
        """Sort by the next column."""
        orders = list(Order)
        self.order = orders[(orders.index(self.order) + 1) % len(orders)]
        self.arrange()

    def turn_ended(self) -> None:
        """Show or hide the branches that had ended before."""
        self.shows_ended = not self.shows_ended
        self.arrange()

    def filter_by(self, pattern: str) -> None:
        """Show only rows with this text, and those above them."""
        self.pattern = pattern
        self.arrange()

    def fold(self, *, unfold: bool) -> None:
        """Hide or show the branches below the selected row."""
        line = self.selected_line
        if not isinstance(line, TreeLine):
            return
        if unfold:
            self._folded.discard(line.node)
        elif line.live.below and line.node not in self._folded:
            self._folded.add(line.node)
        elif line.live.parent is not None:
            self.selected = line.live.parent
        self.arrange()

    def _matches(self, row: LiveRow | UsageRow) -> bool:
        if not self.pattern:
            return True
        text = f"{row.crew} {row.tool}" if isinstance(row, UsageRow) else _searched(row)
        return self.pattern.casefold() in text.casefold()

    def _shown(self) -> set[Node]:
        """Return the branches that match, and all above them."""
        if self.reading is None:
            raise AssertionError("there is nothing to show yet")
        rows, shown = self.reading.rows, set[Node]()
        for node in reversed(rows):
            live = rows[node]
            is_wanted = self.shows_ended or node in self._was_live
            if node in shown or (is_wanted and self._matches(live)):
                shown.add(node)
                if live.parent is not None:
                    shown.add(live.parent)
        return shown


def _searched(live: LiveRow) -> str:
    """Return the texts of a row as they are on the screen, where the filter looks."""
    row = live.row
    texts = (row.crew, row.branch, row.role, row.orchestrator, row.subject, row.state, row.rule)
    places = [share.machine for share in row.machines]
    return printable("\n".join([*texts, *places]).replace("\n", " "))


def _tree_lines(
    rows: Mapping[Node, LiveRow], shown: set[Node], folded: set[Node], order: Order
) -> Iterator[TreeLine]:
    children: dict[Node | None, list[Node]] = {}
    for node in rows:
        if node in shown:
            children.setdefault(rows[node].parent, []).append(node)
    key = _TREE_KEYS[order]
    for nodes in children.values():
        nodes.sort(key=lambda node: key(rows[node]))
    orphans = [node for parent in children if parent not in rows for node in children[parent]]
    tops = sorted(orphans, key=lambda node: key(rows[node]))
    waiting: list[tuple[Node, tuple[bool, ...]]] = [(node, ()) for node in reversed(tops)]
    while waiting:
        node, guides = waiting.pop()
        below = children.get(node, []) if node not in folded else []
        yield TreeLine(node, rows[node], guides, _below(node, children) if node in folded else 0)
        waiting += [(child, (*guides, number > 0)) for number, child in enumerate(reversed(below))]


def _below(node: Node, children: _CHILDREN) -> int:
    """Return how many branches stand below one that is not folded."""
    count, waiting = 0, [node]
    while waiting:
        found = children.get(waiting.pop(), ())
        count += len(found)
        waiting += found
    return count


_Key = tuple[float | str, ...]


def _name(live: LiveRow) -> _Key:
    return live.row.crew, live.row.role, live.row.branch


_TREE_KEYS: dict[Order, Callable[[LiveRow], _Key]] = {
    Order.CREDITS: lambda live: (-live.rate.spent, -live.rate.calls, *_name(live)),
    Order.CALLS: lambda live: (-live.rate.calls, -live.rate.spent, *_name(live)),
    Order.SPENT: lambda live: (-live.row.spent, *_name(live)),
    Order.NAME: _name,
}
_USAGE_KEYS: dict[Order, Callable[[UsageRow], _Key]] = {
    Order.CREDITS: lambda row: (-row.rate.spent, -row.rate.calls, row.crew, row.tool),
    Order.CALLS: lambda row: (-row.rate.calls, -row.rate.spent, row.crew, row.tool),
    Order.SPENT: lambda row: (-row.total.spent, row.crew, row.tool),
    Order.NAME: lambda row: (row.crew, row.tool),
}
