"""Asks the agent for its status, and notices an agent that takes connections and answers none.

`crewgate serve` starts an agent again that has ended. It does not end an agent that is stuck: a
platform or a service manager does that, and needs to know the difference.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

from crewgate import limits
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import AgentStatus


class AgentProbe:
    """A probe of the agent whose state is in `folder`. `clock` counts monotonic seconds."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._silent_since = math.inf

    def ask(self) -> AgentStatus | str:
        """Return the agent's status, or why there is none.

        Blocks for `limits.admin_agent_seconds` at most.
        """
        try:
            with AdminClient(self._folder, limits.admin_agent_seconds) as agent:
                status = agent.status()
        except ServiceConnectionError as error:
            is_silent = isinstance(error.__cause__, TimeoutError | BlockingIOError)
            since = min(self._silent_since, self._clock()) if is_silent else math.inf
            self._silent_since = since
            return str(error)
        self._silent_since = math.inf
        return status

    @property
    def is_silent(self) -> bool:
        """Whether the agent took the last connection and did not answer."""
        return self._silent_since < math.inf

    def silent_seconds(self) -> float:
        """Return how long the agent has taken connections and answered none; else 0."""
        return max(0.0, self._clock() - self._silent_since)
