"""Reads the tree and the health of all machines through the agent of this one, for all watchers.

A thread calls it. Nothing that it gives away is changed afterwards.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.errors import CrewgateError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_tree import ClusterTreeRow
from crewgate.ipc.cluster_view import ClusterStatus, UnaskedMachine
from crewgate.ipc.machine_messages import TreeQuestion
from crewgate.ipc.tree_changes import BranchName, ClusterTreeChanges, TreeChange
from crewgate.runtime.durable_files import describe
from crewgate.ui.live.page_rows import PageRow, difference, page_row, whole
from crewgate.ui.live.spent_rates import SpentRates
from crewgate.ui.live.update import CrewChanges, TreeHead, TreeUpdate

_QUESTION = TreeQuestion(rows_max=limits.member_tree_rows_max)
# What the gateways of some machine do about an orchestrator, the strictest last.
_LEVELS = ("", "throttle", "quarantine")
Orchestrator = tuple[str, str]  # crew and name


class Reading(msgspec.Struct, frozen=True):
    """What one reading has found; `health` is None if it was not asked for, or nobody answered."""

    tree: TreeUpdate
    health: ClusterStatus | None = None


class LiveReader:
    """One connection to the agent whose state is in `folder`, and the tree that was read last.

    `machine` is the name of this one. `wall` and `now` are clocks in seconds.
    """

    def __init__(
        self,
        folder: Path,
        machine: str,
        wall: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._machine = folder, machine
        self._wall, self._now = wall, now
        self._agent: AdminClient | None = None
        self._tree = ClusterTreeChanges()
        self._rates = SpentRates()
        self._numbers: dict[BranchName, int] = {}
        self._last_number = 0
        self._rows: dict[str, dict[int, PageRow]] = {}
        self._levels: dict[Orchestrator, str] = {}
        self._health_at = -limits.ui_health_seconds

    @property
    def branches(self) -> Mapping[BranchName, ClusterTreeRow]:
        """The merged rows of the last reading."""
        return self._tree.rows

    def close(self) -> None:
        """Close the connection."""
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.close()

    def read(self) -> Reading:
        """Ask all machines once. If the agent does not answer, the tree is the one of before."""
        try:
            if self._agent is None:
                self._agent = AdminClient(self._folder)
            health = self._read_health(self._agent)
            change = self._tree.take(self._agent.ask_machines(_QUESTION))
        except (CrewgateError, OSError) as error:
            # After an error, nobody knows what the connection would answer next.
            self.close()
            why = describe(error) if isinstance(error, OSError) else str(error)
            missing = [UnaskedMachine(self._machine, why)]
            return Reading(TreeUpdate(TreeHead(self._at(), [], missing), {}, self._rows))
        return Reading(self._update(change, health), health)

    def _read_health(self, agent: AdminClient) -> ClusterStatus | None:
        now = self._now()
        if now - self._health_at < limits.ui_health_seconds:
            return None
        self._health_at = now
        return agent.cluster_status()

    def _at(self) -> int:
        return round(self._wall() * 1000)

    def _update(self, change: TreeChange, health: ClusterStatus | None) -> TreeUpdate:
        spent = {
            name: sum([share.spent for share in row.machines]) for name, row in change.rows.items()
        }
        rates = self._rates.take(self._now(), spent, change.gone)
        names = change.rows.keys() | self._new_levels(health)
        slower = {name: rate for name, rate in rates.items() if name not in names}
        changes: dict[str, CrewChanges] = {}
        touched = {name.crew for some in (names, slower, change.gone) for name in some}
        # Whoever has an earlier update reads the old ones.
        rows = self._rows | {crew: dict(self._rows.get(crew, {})) for crew in touched}
        for name in change.gone:
            number = self._numbers.pop(name)
            del rows[name.crew][number]
            changes.setdefault(name.crew, CrewChanges([], [])).gone.append(number)
        for name in names:
            text = self._put(rows[name.crew], name)
            if text:
                changes.setdefault(name.crew, CrewChanges([], [])).rows.append(text)
        for name, rate in slower.items():
            number = self._numbers[name]
            before = rows[name.crew][number]
            rows[name.crew][number] = msgspec.structs.replace(before, spent_rate=rate)
            text = b'{"n":%d,"spent_rate":%d}' % (number, rate)
            changes.setdefault(name.crew, CrewChanges([], [])).rows.append(text)
        self._rows = {crew: each for crew, each in rows.items() if each}
        head = TreeHead(self._at(), change.machines, change.not_asked, change.left_out)
        count = sum(len(each.rows) for each in changes.values())
        return TreeUpdate(head, changes, self._rows, count > limits.ui_changed_rows_max)

    def _put(self, rows: dict[int, PageRow], name: BranchName) -> bytes:
        """Put the row of a branch where it belongs; return the JSON of what has changed."""
        found = self._tree.rows[name]
        number = self._numbers.get(name)
        is_new = number is None
        if number is None:
            self._last_number += 1
            number = self._numbers[name] = self._last_number
        level = self._levels.get((found.crew, found.orchestrator), "")
        row = page_row(number, found, self._rates.rate(name), level)
        text = whole(row) if is_new else difference(row, rows[number])
        rows[number] = row
        return text

    def _new_levels(self, health: ClusterStatus | None) -> set[BranchName]:
        """Take the levels of orchestrators; return the branches for which another one holds."""
        if health is None:
            return set()
        levels: dict[Orchestrator, str] = {}
        for status in health.machines.values():
            for each in status.watched:
                key, known = (
                    (each.crew, each.orchestrator),
                    levels.get((each.crew, each.orchestrator), ""),
                )
                if each.in_force in _LEVELS and _LEVELS.index(each.in_force) > _LEVELS.index(known):
                    levels[key] = each.in_force
        if levels == self._levels:
            return set()
        changed = {
            key
            for key in levels.keys() | self._levels.keys()
            if levels.get(key) != self._levels.get(key)
        }
        self._levels = levels
        rows = self._tree.rows.items()
        return {name for name, row in rows if (row.crew, row.orchestrator) in changed}
