"""The probes: whether a restart would help (`/livez`), and whether calls are served (`/readyz`).

Both ask the agent for its status, at most once in `limits.admin_status_seconds`, however many
clients ask. `/livez` is about the processes only: `crewgate serve` itself starts a process again
that has ended, so a machine without its agent lives. It fails if the agent takes connections and
answers none, since nothing on the machine ends such an agent.
"""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.api.health_response import health_response
from crewgate.api.schemas import HealthResponse
from crewgate.ipc.admin_messages import AgentStatus
from crewgate.ipc.agent_probe import AgentProbe
from crewgate.runtime.single_flight_cache import SingleFlightCache
from crewgate.server.plaintext_http1 import PlaintextResponse

_JSON = "application/json"
_OK, _UNAVAILABLE = 200, 503
_encode = msgspec.json.Encoder().encode


class Probes:
    """Probes of the machine whose state is in `folder`. Blocks; threads may share it."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._agent = AgentProbe(folder, clock)
        self._status = SingleFlightCache(self._agent.ask, limits.admin_status_seconds, clock)

    def live(self) -> PlaintextResponse:
        """Answer 503 if the agent has taken connections for a while and answered none."""
        self._status.get()
        seconds = self._agent.silent_seconds()
        if seconds < limits.admin_stuck_seconds:
            return PlaintextResponse(_OK, b"ok\n")
        text = f"the agent process has not answered for {seconds:.0f} s: it is stopped or stuck\n"
        return PlaintextResponse(_UNAVAILABLE, text.encode())

    def ready(self) -> PlaintextResponse:
        """Answer 200 if this machine serves calls, else 503, with all troubles either way."""
        status = self._status.get()
        if isinstance(status, AgentStatus):
            found = health_response(status)
        else:
            found = HealthResponse(status="waiting", waiting_for=[f"agent: {status}"])
        ready = _UNAVAILABLE if found.status == "waiting" else _OK
        return PlaintextResponse(ready, _encode(found) + b"\n", _JSON)
