"""What `crewgate top` shows: the merged tree of the machines, and the rates of its rows."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from crewgate.cli.top.rates import CallsSinceStart, Counts, RateWindow
from crewgate.ipc.cluster_tree import ClusterTreeRow
from crewgate.ipc.cluster_view import ClusterTree

ENDED = frozenset({"revoked", "closed", "expired"})
_NOTHING = Counts()


class Node(NamedTuple):
    """The name of a row: a branch of a crew, or the crew itself if `branch` is empty."""

    crew: str
    branch: str


class LiveRow(NamedTuple):
    """A row of the tree with its rates; `counts_calls` is false if no rule counts its calls.

    `below` is how many branches there are below it, and `live_below` how many of them live.
    """

    row: ClusterTreeRow
    rate: Counts
    counts_calls: bool
    parent: Node | None
    below: int = 0
    live_below: int = 0

    @property
    def is_live(self) -> bool:
        """Whether the branch has not ended."""
        return self.row.state not in ENDED


class UsageRow(NamedTuple):
    """What calls of a crew to a tool have come to, and for each minute; the tool may be empty."""

    crew: str
    tool: str
    total: Counts = _NOTHING
    rate: Counts = _NOTHING

    def plus(self, total: Counts, rate: Counts) -> "UsageRow":
        """Return the row with more counts and rates."""
        return self._replace(total=self.total.plus(total), rate=self.rate.plus(rate))


class Reading(NamedTuple):
    """One reading of all machines; `seconds` is how long the time is that rates are about.

    `total` are the rates of all crews; its calls are those that the metrics count. There are
    `branches`, `live` of them live.
    """

    found: ClusterTree
    rows: dict[Node, LiveRow]
    tools: Sequence[UsageRow]
    crews: Sequence[UsageRow]
    seconds: float
    total: Counts
    branches: int
    live: int


class _Counted(NamedTuple):
    """What one machine counts: a branch or a crew of its tree, or the calls of a crew to a tool."""

    machine: str
    crew: str
    name: str
    is_tool: bool = False


class Readings:
    """Makes a `Reading` of each answer; it remembers the counts of those before."""

    def __init__(self) -> None:
        self._calls: CallsSinceStart[_Counted] = CallsSinceStart()
        self._window: RateWindow[_Counted] = RateWindow()

    def take(self, found: ClusterTree, at: float) -> Reading:
        """Return what is shown of an answer that came `at` a second of a clock without jumps."""
        shares = {
            _Counted(share.machine, row.crew, row.branch): share
            for row in found.rows
            for share in row.machines
        }
        calls = self._calls.add(
            {
                key: (found.minutes.get(key.machine, 0), share.calls)
                for key, share in shares.items()
                if share.calls >= 0
            }
        )
        counts = {key: Counts(share.spent, calls.get(key, 0)) for key, share in shares.items()}
        for machine, totals in found.totals.items():
            for each in totals:
                key = _Counted(machine, each.crew, each.tool, is_tool=True)
                counts[key] = Counts(each.spent, each.calls, each.refused)
        self._window.add(at, counts)
        rates = self._window.per_minute()
        tools = _tools(counts, rates)
        rows, crews = _rows(found, rates), _by_crew(tools)
        tops = [live for node, live in rows.items() if not node.branch]
        total = Counts(
            sum(each.rate.spent for each in tops),
            sum(each.rate.calls for each in crews),
            sum(each.rate.refused for each in crews),
        )
        branches = [live.is_live for node, live in rows.items() if node.branch]
        known = self._window.seconds, total, len(branches), sum(branches)
        return Reading(found, rows, tools, crews, *known)


def _tools(counts: Mapping[_Counted, Counts], rates: Mapping[_Counted, Counts]) -> list[UsageRow]:
    """Add up the machines."""
    found: dict[tuple[str, str], UsageRow] = {}
    for key in (each for each in counts if each.is_tool):
        known = found.get((key.crew, key.name), UsageRow(key.crew, key.name))
        found[key.crew, key.name] = known.plus(counts[key], rates[key])
    return [found[name] for name in sorted(found)]


def _by_crew(tools: Sequence[UsageRow]) -> list[UsageRow]:
    crews: dict[str, UsageRow] = {}
    for each in tools:
        crews[each.crew] = crews.get(each.crew, UsageRow(each.crew, "")).plus(each.total, each.rate)
    return list(crews.values())


def _rows(found: ClusterTree, rates: Mapping[_Counted, Counts]) -> dict[Node, LiveRow]:
    """Return the rows by name, parents before their children, with the sums of those below."""
    rows: dict[Node, LiveRow] = {}
    for row in found.rows:
        node, above = Node(row.crew, row.branch), Node(row.crew, row.parent)
        # A parent that no machine knows any more has no row: the branch is below its crew then.
        parent = above if above in rows else Node(row.crew, "")
        shares = [rates[_Counted(each.machine, row.crew, row.branch)] for each in row.machines]
        rate = reduce(Counts.plus, shares) if shares else _NOTHING
        rows[node] = LiveRow(row, rate, row.calls >= 0, parent if row.branch else None)
    for node in reversed(rows):
        live = rows[node]
        if live.parent in rows:
            rows[live.parent] = _with_child(rows[live.parent], live)
    return rows


def _with_child(above: LiveRow, live: LiveRow) -> LiveRow:
    found = above._replace(
        below=above.below + live.below + 1,
        live_below=above.live_below + live.live_below + live.is_live,
    )
    if above.row.branch or not live.counts_calls:
        return found
    # The table counts calls at branches, so those of a crew are those of its runs.
    rate = above.rate._replace(calls=above.rate.calls + live.rate.calls)
    return found._replace(rate=rate, counts_calls=True)
