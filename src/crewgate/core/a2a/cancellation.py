"""Writes the request with which the gateway cancels a task at its agent (CancelTask)."""

from typing import NamedTuple
from urllib.parse import quote

import msgspec

from crewgate.core import protobuf_wire as wire
from crewgate.core.a2a.grpc_messages import framed
from crewgate.core.a2a.methods import GRPC_SERVICES, Binding, Version
from crewgate.core.a2a.service_parameters import VERSION
from crewgate.core.http_types import HeaderField

JSON_FIELD: HeaderField = (b"content-type", b"application/json")
GRPC_FIELDS: tuple[HeaderField, ...] = (
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),  # gRPC over HTTP/2, "Requests"
)
_encode = msgspec.json.Encoder().encode


class Cancellation(NamedTuple):
    """The parts of a POST. `path` is relative to the URL of the interface."""

    path: str
    fields: tuple[HeaderField, ...]
    body: bytes


def task_cancellation(
    task: str, binding: Binding, version: Version, tenant: str = ""
) -> Cancellation:
    """Return the request that cancels a task; `task` and `tenant` are the agent's own."""
    named = (VERSION, version.value.encode())
    if binding is Binding.GRPC:
        return _by_grpc(task, version, tenant, named)
    if binding is Binding.HTTP_JSON:
        above = f"/{tenant}" if tenant else ""
        above = "/v1" if version is Version.V0_3 else above
        path = f"{above}/tasks/{quote(task, safe='')}:cancel"
        return Cancellation(path, (JSON_FIELD, named), b"{}")
    params = {"id": task} | ({"tenant": tenant} if tenant else {})
    method = "CancelTask" if version is Version.V1_0 else "tasks/cancel"
    message = {"jsonrpc": "2.0", "id": f"crewgate/{task}", "method": method, "params": params}
    return Cancellation("", (JSON_FIELD, named), _encode(message))


def _by_grpc(task: str, version: Version, tenant: str, named: HeaderField) -> Cancellation:
    service = next(path for path, each in GRPC_SERVICES.items() if each is version)
    if version is Version.V1_0:
        message = wire.delimited(1, tenant.encode()) if tenant else b""
        message += wire.delimited(2, task.encode())
    else:
        message = wire.delimited(1, f"tasks/{task}".encode())
    return Cancellation(f"{service}CancelTask", (*GRPC_FIELDS, named), framed(message))
