"""Reads the tree and the health of all machines through the agent of this one, for all watchers.

A thread calls it. Nothing that it gives away is changed afterwards.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from crewgate import limits
from crewgate.alerts.alert import Alert
from crewgate.alerts.budget_watch import CrewAllowance
from crewgate.alerts.local_machine import LocalMachine
from crewgate.core.cross_crew_accounts import caller
from crewgate.errors import CrewgateError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.cluster_view import ClusterStatus, SilentMachine
from crewgate.ipc.machine_messages import TreeQuestion
from crewgate.ipc.tree_changes import BranchName, ClusterTreeChanges, TreeChange
from crewgate.runtime.durable_files import describe
from crewgate.ui.live.active_alerts import ActiveAlerts
from crewgate.ui.live.live_tree_row import LiveTreeRow, difference, live_tree_row, whole
from crewgate.ui.live.spent_rates import SpentRates
from crewgate.ui.live.update import CrewChanges, TreeHead, TreeUpdate

_QUESTION = TreeQuestion(rows_max=limits.member_tree_rows_max, since="")
# What the gateways of some machine do about an orchestrator, the strictest last.
_LEVELS = ("", "throttle", "quarantine")
Orchestrator = tuple[str, str]  # crew and name


class Reading(msgspec.Struct, frozen=True):
    """What one reading has found; None: it was not asked for, or nobody has answered.

    `active` are alerts of what holds now. `has_step`: a rule has just taken a step.
    """

    tree: TreeUpdate
    health: ClusterStatus | None = None
    active: tuple[Alert, ...] | None = None
    has_step: bool = False


class LiveReader:
    """One connection to the agent of this machine, `local`, and the tree that was read last.

    `allowances` are those of the crews. `wall` and `now` are clocks in seconds.
    """

    def __init__(
        self,
        local: LocalMachine,
        allowances: Mapping[str, CrewAllowance],
        wall: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._local = local
        self._wall, self._now = wall, now
        self._active = ActiveAlerts(local, allowances)
        self._budgets_at = -limits.ui_budgets_seconds
        self._has_step, self._is_first = False, True
        self._agent: AdminClient | None = None
        self._asked = local.name  # the agent may have another name for a machine without one
        self._tree = ClusterTreeChanges()
        self._rates = SpentRates()
        self._numbers: dict[BranchName, int] = {}
        self._last_number = 0
        self._rows: dict[str, dict[int, LiveTreeRow]] = {}
        self._levels: dict[Orchestrator, str] = {}
        self._health_at = -limits.ui_health_seconds

    def close(self) -> None:
        """Close the connection."""
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.close()

    def read(self) -> Reading:
        """Ask all machines once. If the agent does not answer, the tree is the one of before."""
        try:
            if self._agent is None:
                self._agent = AdminClient(self._local.state)
            health = self._read_health(self._agent)
            change = self._tree.take(
                self._agent.ask_machines(_QUESTION, cursors=self._tree.cursors)
            )
        except (CrewgateError, OSError) as error:
            # After an error, nobody knows what the connection would answer next.
            self.close()
            why = describe(error) if isinstance(error, OSError) else str(error)
            missing = [SilentMachine(self._asked, why)]
            active = self._active_alerts(None, missing, None)
            return Reading(
                TreeUpdate(TreeHead(self._at(), [], missing), {}, self._rows), None, active
            )
        self._asked = change.asked
        tree = self._update(change, health)
        active = self._active_alerts(change.machines, change.not_asked, health)
        return Reading(tree, health, active, self._has_step)

    def _active_alerts(
        self,
        answered: Sequence[str] | None,
        not_asked: Sequence[SilentMachine],
        health: ClusterStatus | None,
    ) -> tuple[Alert, ...] | None:
        """Return the alerts of what holds, if it is time to look at it."""
        now, wall = self._now(), self._wall()
        self._active.take_machines(answered, not_asked, wall)
        if health is not None:
            self._active.take_health(health, wall, now)
        if now - self._budgets_at < limits.ui_budgets_seconds:
            return None
        self._budgets_at = now
        if answered:
            self._active.take_tree(self._tree.rows.values(), wall)
        return tuple(self._active.alerts(wall))

    def _read_health(self, agent: AdminClient) -> ClusterStatus | None:
        now = self._now()
        if now - self._health_at < limits.ui_health_seconds:
            return None
        self._health_at = now
        return agent.cluster_status()

    def _at(self) -> int:
        return round(self._wall() * 1000)

    def _update(self, change: TreeChange, health: ClusterStatus | None) -> TreeUpdate:
        shares = {name: row.machines for name, row in change.rows.items()}
        rates = self._rates.take(self._now(), shares, change.gone)
        names = change.rows.keys() | self._new_levels(health)
        slower = {name: rate for name, rate in rates.items() if name not in names}
        changes: dict[str, CrewChanges] = {}
        self._has_step = False
        touched = {name.crew for some in (names, slower, change.gone) for name in some}
        # A watcher that has an earlier update reads the old ones.
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
        # The numbers of rows are those of this reader, so its first reading is a reset.
        is_reset, self._is_first = self._is_first or count > limits.ui_changed_rows_max, False
        return TreeUpdate(head, changes, self._rows, is_reset)

    def _put(self, rows: dict[int, LiveTreeRow], name: BranchName) -> bytes:
        """Put the row of a branch where it belongs; return the JSON of what has changed."""
        found = self._tree.rows[name]
        number = self._numbers.get(name)
        if number is None:
            self._last_number += 1
            number = self._numbers[name] = self._last_number
        level = self._levels.get(_orchestrator(found), "") if self._levels else ""
        row = live_tree_row(number, found, self._rates.rate(name), level)
        before = rows.get(number)
        rows[number] = row
        if before is None:
            return whole(row)
        self._has_step = self._has_step or (
            bool(row.rule_step) and row.rule_step != before.rule_step
        )
        return difference(row, before)

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
        return {name for name, row in rows if _orchestrator(row) in changed}


def _orchestrator(row: TreeRow) -> Orchestrator:
    """Return who starts branches such as this one; of calls at another crew, the one that calls."""
    return caller(row.crew), row.orchestrator
