"""The errors of A2A that the gateway itself answers (A2A 1.0, sections 5.4 and 9.5)."""

from collections.abc import Mapping
from typing import NamedTuple

from crewgate.core.grpc_status import Code
from crewgate.errors import CrewgateError


class ErrorType(NamedTuple):
    """A type of error: its JSON-RPC code, HTTP status, gRPC status and reason."""

    code: int
    status: int
    grpc: Code
    reason: str
    message: str


TASK_NOT_FOUND = ErrorType(-32001, 404, Code.NOT_FOUND, "TASK_NOT_FOUND", "Task not found")
PUSH_NOT_SUPPORTED = ErrorType(
    -32003,
    400,
    Code.FAILED_PRECONDITION,
    "PUSH_NOTIFICATION_NOT_SUPPORTED",
    "The gateway lets this agent push notifications to no such address",
)
UNSUPPORTED_OPERATION = ErrorType(
    -32004,
    400,
    Code.FAILED_PRECONDITION,
    "UNSUPPORTED_OPERATION",
    "The gateway does not let this operation through",
)
INVALID_AGENT_RESPONSE = ErrorType(
    -32006,
    500,
    Code.INTERNAL,
    "INVALID_AGENT_RESPONSE",
    "The gateway cannot read the answer of the agent",
)
VERSION_NOT_SUPPORTED = ErrorType(
    -32009,
    400,
    Code.FAILED_PRECONDITION,
    "VERSION_NOT_SUPPORTED",
    "Version not supported",
)
PARSE_ERROR = ErrorType(-32700, 400, Code.INVALID_ARGUMENT, "INVALID_JSON", "Invalid JSON payload")
INVALID_REQUEST = ErrorType(
    -32600, 400, Code.INVALID_ARGUMENT, "INVALID_REQUEST", "Request payload validation error"
)
METHOD_NOT_FOUND = ErrorType(
    -32601, 404, Code.UNIMPLEMENTED, "METHOD_NOT_FOUND", "Method not found"
)
INVALID_PARAMS = ErrorType(
    -32602, 400, Code.INVALID_ARGUMENT, "INVALID_PARAMS", "Invalid parameters"
)


class A2AError(CrewgateError):
    """A request that the gateway does not forward, or an answer that no client must get.

    Attributes:
        kind: The type of the error.
        members: Texts that say more, by name; part of the answer.
    """

    def __init__(self, kind: ErrorType, why: str = "", members: Mapping[str, str] = {}) -> None:
        super().__init__(f"{kind.message}: {why}" if why else kind.message)
        self.kind = kind
        self.members = members
