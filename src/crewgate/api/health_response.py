"""Converts the agent's status into the answer of a probe."""

from typing import Literal

import msgspec

from crewgate.api.schemas import ComponentProblem, HealthResponse
from crewgate.core.health import HealthState
from crewgate.ipc.admin_messages import AgentStatus

_STATUS: dict[HealthState, Literal["ok", "degraded", "waiting"]] = {
    HealthState.OK: "ok", HealthState.DEGRADED: "degraded", HealthState.FAILED: "waiting"
}  # fmt: skip


def health_response(status: AgentStatus) -> HealthResponse:
    """Convert the agent's status of this machine."""
    return HealthResponse(
        status=_STATUS[status.state],
        waiting_for=status.waiting_for,
        troubles=[
            msgspec.convert(each, ComponentProblem)
            for each in msgspec.to_builtins(status.health)
            if each["state"] != "ok"
        ],
    )
