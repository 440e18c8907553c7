"""Tells when a process of the machine has ended by itself and was started again.

`crewgate serve` counts these starts in the memory of the metrics, which lives as long as
`crewgate serve`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from crewgate.alerts.alert import Alert, AlertState, Findings, alert_id
from crewgate.alerts.local_machine import LocalMachine
from crewgate.core.alert_kinds import AlertKind, AlertSeverity

_KEY = "serve"


class RestartWatch:
    """The counts of the last look. `serve` identifies the `crewgate serve` that counts.

    `notes` are those of an earlier process: the counts of another `crewgate serve` say nothing.
    """

    def __init__(self, local: LocalMachine, serve: str, notes: Mapping[str, str]) -> None:
        self._local, self._serve = local, serve
        is_same = notes.get(_KEY) == serve
        self._counts = {name: int(text) for name, text in notes.items() if name != _KEY}
        self._old = [] if is_same else [*self._counts]
        if not is_same:
            self._counts.clear()

    def update(self, counts: Mapping[str, int], wall: float) -> Findings:
        """Take the number of such starts of each process, at `wall` (seconds since 1970)."""
        found = Findings.none()
        found.notes.update(dict.fromkeys(self._old))
        self._old = []
        for name, count in counts.items():
            if count > self._counts.get(name, 0):
                found.alerts.append(self._alert(name, count, wall))
                self._counts[name] = count
                found.notes.update({name: str(count), _KEY: self._serve})
        return found

    def _alert(self, name: str, count: int, wall: float) -> Alert:
        machine = self._local.name
        times = "once" if count == 1 else f"{count} times"
        return Alert(
            id=alert_id(AlertKind.PROCESS, machine, self._serve, name, count),
            type=AlertKind.PROCESS.value,
            timestamp=datetime.fromtimestamp(wall, UTC),
            machine=machine,
            subject=f"machine/{machine}/process {name}",
            state=AlertState.ONCE,
            severity=AlertSeverity.WARNING,
            text=f"process {name} of machine {machine} has ended, and `crewgate serve` has started "
            f"it again ({times} since the start of `crewgate serve`)",
            next="find the reason in the log of `crewgate serve`",
            data={"process": name, "restarts": count},
        )
