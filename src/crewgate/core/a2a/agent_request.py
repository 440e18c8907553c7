"""A request that the gateway itself sends to an agent."""

from typing import NamedTuple

from crewgate.core.a2a.grpc_messages import framed
from crewgate.core.a2a.methods import GRPC_SERVICES, Version
from crewgate.core.a2a.service_parameters import VERSION
from crewgate.core.http_types import HeaderField

_JSON: HeaderField = (b"content-type", b"application/json")
_GRPC: tuple[HeaderField, ...] = (
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),  # gRPC over HTTP/2, "Requests"
)


class AgentRequest(NamedTuple):
    """The parts of a request. `path` is relative to the URL of the interface."""

    method: bytes
    path: str
    fields: tuple[HeaderField, ...]
    body: bytes


def get(path: str, version: Version) -> AgentRequest:
    """Return a GET of the HTTP+JSON binding."""
    return AgentRequest(b"GET", path, (_named(version),), b"")


def post_json(path: str, version: Version, body: bytes) -> AgentRequest:
    """Return a POST of JSON; the path of JSON-RPC is empty."""
    return AgentRequest(b"POST", path, (_JSON, _named(version)), body)


def call_grpc(method: str, version: Version, message: bytes) -> AgentRequest:
    """Return the call of a gRPC method with one message."""
    service = next(path for path, each in GRPC_SERVICES.items() if each is version)
    return AgentRequest(b"POST", service + method, (*_GRPC, _named(version)), framed(message))


def _named(version: Version) -> HeaderField:
    return (VERSION, version.value.encode())
