"""The control process and the admin process: calls work without them.

Each runs while its section of the configuration is there. A change ends the one that cannot load
it; the supervisor starts it again, as it does after every end.
"""

import signal
from pathlib import Path

from crewgate import limits
from crewgate.config import Config
from crewgate.metrics.memory import MetricsMemory
from crewgate.supervisor.child import Child, python


class OptionalChildren:
    """The two children of the configuration at `path`; each runs a module. Times are monotonic."""

    def __init__(
        self, path: Path, control: str, admin: str, metrics: MetricsMemory | None = None
    ) -> None:
        self.control = Child("control", python(control, path), metrics)
        self.admin = Child("admin", python(admin, path), metrics)
        # Of those that are asked to end: the process id, and when to kill that process.
        self._kill_at: dict[Child, tuple[int, float]] = {}

    def __contains__(self, child: Child) -> bool:
        return child in {self.control, self.admin}

    @property
    def is_ending(self) -> bool:
        """Whether one of them is asked to end and still runs."""
        return bool(self._kill_at)

    def is_wanted(self, child: Child, config: Config) -> bool:
        """Return whether the configuration has the section of `child`."""
        return (config.ca if child is self.control else config.admin) is not None

    def present(self, config: Config) -> list[Child]:
        """Return those that should run, and those that are ending."""
        both = self.control, self.admin
        return [child for child in both if child.running or self.is_wanted(child, config)]

    def follow(self, before: Config, after: Config, now: float) -> None:
        """End those that `after` needs no more, or that do not load a change by themselves."""
        if after.ca is None and before.ca is not None:
            self.end(self.control, now)
        if after.admin != before.admin:
            self.end(self.admin, now)

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
