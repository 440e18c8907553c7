"""Writes the request with which the gateway cancels a task at its agent (CancelTask)."""

from urllib.parse import quote

import msgspec

from crewgate.core import protobuf_wire as wire
from crewgate.core.a2a.agent_request import AgentRequest, call_grpc, post_json
from crewgate.core.a2a.methods import Binding, Version

_encode = msgspec.json.Encoder().encode


def task_cancellation(
    task: str, binding: Binding, version: Version, tenant: str = ""
) -> AgentRequest:
    """Return the request that cancels a task; `task` and `tenant` are the agent's own."""
    if binding is Binding.GRPC:
        return call_grpc("CancelTask", version, _protobuf(task, version, tenant))
    if binding is Binding.HTTP_JSON:
        above = f"/{tenant}" if tenant else ""
        above = "/v1" if version is Version.V0_3 else above
        return post_json(f"{above}/tasks/{quote(task, safe='')}:cancel", version, b"{}")
    params = {"id": task} | ({"tenant": tenant} if tenant else {})
    method = "CancelTask" if version is Version.V1_0 else "tasks/cancel"
    message = {"jsonrpc": "2.0", "id": f"crewgate/{task}", "method": method, "params": params}
    return post_json("", version, _encode(message))


def _protobuf(task: str, version: Version, tenant: str) -> bytes:
    if version is Version.V0_3:
        return wire.delimited(1, f"tasks/{task}".encode())
    message = wire.delimited(1, tenant.encode()) if tenant else b""
    return message + wire.delimited(2, task.encode())
