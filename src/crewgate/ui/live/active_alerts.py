"""Alerts of what holds now: spent budgets, components that are not well, machines that are away.

A machine without receivers makes no such alerts, and a person on call must see them all the same.
They have the ids of those that receivers get.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import msgspec

from crewgate import limits
from crewgate.alerts.alert import Alert, AlertState, Findings, alert_id, cut
from crewgate.alerts.budget_watch import BudgetWatch, CrewAllowance
from crewgate.alerts.health_watch import HealthWatch
from crewgate.alerts.local_machine import LocalMachine
from crewgate.core.alert_kinds import AlertKind, AlertSeverity
from crewgate.core.terminal_text import printable
from crewgate.ipc.cluster_tree import ClusterTreeRow
from crewgate.ipc.cluster_view import ClusterStatus, SilentMachine

_PERCENTS: Final = (80, 100)
_Key = tuple[str, str, str]  # type, crew and subject


class ActiveAlerts:
    """What holds, as of the newest reading. `local` is this machine."""

    def __init__(self, local: LocalMachine, allowances: Mapping[str, CrewAllowance]) -> None:
        self._local = local
        self._budgets = BudgetWatch(local, _PERCENTS, allowances, {})
        self._health: dict[str, HealthWatch] = {}
        self._away: dict[str, tuple[float, str]] = {}  # since when, and why
        self._active: dict[_Key, Alert] = {}

    def take_tree(self, rows: Iterable[ClusterTreeRow], wall: float) -> None:
        """Take the merged rows of all machines at `wall`, in seconds since 1970."""
        near = (row for row in rows if not row.branch or row.has_spent(_PERCENTS[0]))
        self._take(self._budgets.update(map(_of_one_ledger, near), wall))

    def take_health(self, found: ClusterStatus, wall: float, now: float) -> None:
        """Take the health of the machines that have answered; `now` is a clock without jumps."""
        for machine, status in found.machines.items():
            local = msgspec.structs.replace(self._local, name=machine)
            watch = self._health.setdefault(machine, HealthWatch(local, {}))
            is_whole = not status.health_more
            # A machine that lies can have a moment that no calendar has.
            with suppress(ArithmeticError, ValueError, OSError):
                self._take(watch.update(status.health, wall, now, is_whole=is_whole))

    def take_machines(
        self, answered: Sequence[str] | None, not_asked: Sequence[SilentMachine], wall: float
    ) -> None:
        """Take which machines have answered; None if the agent of this one has not.

        Then nobody says which machines there are.
        """
        for each in not_asked:
            since, _ = self._away.get(each.machine, (wall, ""))
            self._away[each.machine] = since, each.why
        if answered is None:
            return
        for machine in answered:
            self._away.pop(machine, None)
        known = {*answered, *(each.machine for each in not_asked)}
        self._away = {name: each for name, each in self._away.items() if name in known}
        for name in [name for name in self._health if name not in known]:
            # It was evicted, and nobody mends it any more.
            del self._health[name]
            about = f"machine/{name}/"
            self._active = {
                key: alert
                for key, alert in self._active.items()
                if not alert.subject.startswith(about)
            }

    def alerts(self, wall: float) -> Iterator[Alert]:
        """Yield the alerts. Those about budgets of branches come last, and have a bound."""
        budgets = []
        for alert in self._active.values():
            if alert.percent and alert.subject.startswith("branch/"):
                budgets.append(alert)
            else:
                yield alert
        for name, (since, why) in self._away.items():
            if wall - since >= limits.ui_away_seconds:
                yield self._is_away(name, since, why)
        budgets.sort(key=lambda each: (each.percent, each.timestamp), reverse=True)
        yield from budgets[: limits.ui_budget_alerts_max]

    def _take(self, found: Findings) -> None:
        # The hour that is over, first: the new one has the same subject.
        for alert in sorted(found.alerts, key=lambda each: each.state is not AlertState.OVER):
            key = alert.type, alert.crew, alert.subject
            if alert.state is AlertState.OVER:
                self._active.pop(key, None)
            else:
                self._active[key] = alert

    def _is_away(self, name: str, since: float, why: str) -> Alert:
        local = self._local
        return Alert(
            id=alert_id(AlertKind.MACHINE, name, "away", local.name, round(since)),
            type=AlertKind.MACHINE.value,
            timestamp=datetime.fromtimestamp(since, UTC),
            machine=local.name,
            subject=f"machine/{name}",
            state=AlertState.BEGINS,
            severity=AlertSeverity.WARNING,
            text=cut(f"machine {printable(name)} does not answer machine {local.name}: {why}"),
            next="start it, or look at the network between the machines; "
            f"see more: `{local.command('cluster members')}`",
            data={"member": name, "event": "away"},
        )


def _of_one_ledger(row: ClusterTreeRow) -> ClusterTreeRow:
    """Return a row with the amounts of the machine that spent most.

    If each machine has a ledger of its own, a branch has the whole quota on each.
    """
    if row.quotas == 1 or not row.branch:
        return row
    spent = max(share.spent for share in row.machines)
    return msgspec.structs.replace(row, spent=spent, burned=0)
