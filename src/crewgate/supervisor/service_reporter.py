"""Tells the service manager whether calls are served, and that supervisor and agent live.

It sends no keep-alive message while the agent is stuck: a supervisor beside a stuck agent is of no
use. An agent that has ended is no reason to end all processes, because the supervisor starts it
again. Without a service manager, this module sends no message and asks no agent.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from crewgate import limits
from crewgate.core.health import HealthState
from crewgate.ipc.admin_messages import AgentStatus
from crewgate.ipc.agent_probe import AgentProbe
from crewgate.runtime.service_manager import ServiceManager

_OK = HealthState.OK


class ServiceReporter:
    """Reports to `manager` on the machine whose state is in `folder`."""

    def __init__(
        self,
        manager: ServiceManager | None,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._clock = clock
        self._agent = AgentProbe(folder, clock)
        self._due = -math.inf if manager is not None else math.inf
        self._is_started = False
        self._text = ""

    @property
    def due_in(self) -> float:
        """The seconds until `check` has something to do; infinite without a service manager."""
        return self._due - self._clock()

    def check(self) -> None:
        """Report on the machine, if it is time. Blocks for `limits.admin_agent_seconds` at most."""
        if self._manager is None or self.due_in > 0:
            return
        found = self._agent.ask()
        self.report(_summary(found))
        if not self._is_started and isinstance(found, AgentStatus) and found.ready:
            self._is_started = self._manager.send("READY=1")
        if self._manager.watchdog_seconds is not None and not self._agent.is_silent:
            self._manager.send("WATCHDOG=1")
        self._due = self._clock() + self._pause(self._manager)

    def report(self, text: str) -> None:
        """Report a sentence for `systemctl status`, if it is a new one."""
        if self._manager is not None and text != self._text:
            line = " ".join(text.split())[: limits.health_text_chars_max]
            if self._manager.send(f"STATUS={line}"):
                self._text = text

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Report that a reload is under way, and at the exit, whatever its result, that it ended.

        The service manager waits for the end of the reload that it asked for.
        """
        if self._manager is None or not self._is_started:
            yield
            return
        self._manager.send_reloading()
        try:
            yield
        finally:
            # Without this message, the service manager would wait for ever.
            self._is_started = self._manager.send("READY=1")
            self._due = self._clock()

    def stopping(self, seconds: float) -> None:
        """Report that this gateway is ending, and that it takes up to `seconds`."""
        if self._manager is not None:
            self._due = math.inf
            usec = math.ceil(seconds * 1e6)
            self._manager.send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={usec}")
            self.report("ending: calls under way may end, new ones are not accepted")

    def _pause(self, manager: ServiceManager) -> float:
        if self._agent.is_silent:
            # An agent that is only busy answers one of many questions before the watchdog ends it.
            return limits.service_check_seconds
        if manager.watchdog_seconds is None:
            # A change of the status text may be seen a little later.
            pause = limits.health_settle_seconds
        else:
            pause = manager.watchdog_seconds / limits.service_checks_in_watchdog
        return pause if self._is_started else min(pause, limits.service_check_seconds)


def _summary(found: AgentStatus | str) -> str:
    """Return the state of the machine as one sentence."""
    if isinstance(found, str):
        return f"waiting for the agent: {found}"
    if not found.ready:
        return f"refusing calls: waiting for {_first(found.waiting_for)}"
    ill = [f"{each.component}: {each.why}" for each in found.health if each.state is not _OK]
    return f"serving calls, but {_first(ill)}" if ill else "serving calls"


def _first(texts: Sequence[str]) -> str:
    return f"{texts[0]} (and {len(texts) - 1} more)" if len(texts) > 1 else "".join(texts)
