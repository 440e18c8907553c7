"""The control, the admin, the export, the alerts and the page process: calls work without them.

Each runs while its section of the configuration is there. A change ends the one that cannot load
it; the supervisor starts it again, as it does after every end.
"""

import signal
from collections.abc import Callable
from pathlib import Path

from crewgate import limits
from crewgate.config import Config
from crewgate.metrics.memory import MetricsMemory
from crewgate.supervisor.child import Child, python

# What a child works with; it runs while the first part is there.
Needs = tuple[object, ...]


class OptionalChildren:
    """The children of the configuration at `path`; each runs a module. Times are monotonic."""

    def __init__(
        self, path: Path, control: str, admin: str, metrics: MetricsMemory | None = None
    ) -> None:
        self.control = Child("control", python(control, path), metrics)
        self.admin = Child("admin", python(admin, path), metrics)
        self.export = Child("export", python("crewgate.export", path), metrics)
        self.alerts = Child("alerts", python("crewgate.alerts", path), metrics)
        self.ui = Child("ui", python("crewgate.ui", path), metrics)
        self._needs: dict[Child, Callable[[Config], Needs]] = {
            # It loads changes by itself.
            self.control: lambda config: (config.ca is not None,),
            self.admin: lambda config: (config.admin,),
            self.export: lambda config: (config.exports, config.audit.folder, config.name),
            self.alerts: lambda config: (
                config.alerts,
                config.audit.folder,
                config.name,
                config.crews,
                config.cluster,
                config.ui.url if config.ui is not None else "",
            ),
            # It loads changes by itself.
            self.ui: lambda config: (config.ui is not None,),
        }
        # Of those that are asked to end: the process id, and when to kill that process.
        self._kill_at: dict[Child, tuple[int, float]] = {}

    def __contains__(self, child: Child) -> bool:
        return child in self._needs

    @property
    def is_ending(self) -> bool:
        """Whether one of them is asked to end and still runs."""
        return bool(self._kill_at)

    def is_wanted(self, child: Child, config: Config) -> bool:
        """Return whether the configuration has the section of `child`."""
        return bool(self._needs[child](config)[0])

    def present(self, config: Config) -> list[Child]:
        """Return those that should run, and those that are ending."""
        return [each for each in self._needs if each.running or self.is_wanted(each, config)]

    def follow(self, before: Config, after: Config, now: float) -> None:
        """End those that `after` needs no more, or that do not load a change by themselves."""
        for child, needs in self._needs.items():
            if needs(after) != needs(before):
                self.end(child, now)

    def end(self, child: Child, now: float) -> None:
        """Ask one to end; `kill_late` kills it if it does not."""
        if child.running:
            child.send(signal.SIGTERM)
            self._kill_at[child] = child.pid, now + limits.control_end_seconds

    def kill_late(self, now: float) -> None:
        """Kill each one that was asked to end and takes too long."""
        ending = {child: each for child, each in self._kill_at.items() if child.pid == each[0]}
        self._kill_at = ending
        for child, (_, kill_at) in ending.items():
            if now > kill_at:
                child.send(signal.SIGKILL)
