"""The errors of JSON-RPC 2.0 and MCP that the gateway itself answers.

Codes are from JSON-RPC 2.0, section 5.1, and MCP 2026-07-28, "Error codes".
"""

from collections.abc import Mapping
from typing import NamedTuple

from crewgate import limits
from crewgate.core.terminal_text import printable
from crewgate.errors import CrewgateError

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022

_ACCEPTED, _BAD_REQUEST, _NOT_FOUND = 202, 400, 404


class RPCError(NamedTuple):
    """An error: its code and message, the HTTP status of its response, and members of `data`."""

    code: int
    message: str
    status: int = _BAD_REQUEST
    data: Mapping[str, object] = {}


class RefusedMessageError(CrewgateError):
    """A message breaks a rule of the protocol, or names what the endpoint does not have."""

    def __init__(self, error: RPCError) -> None:
        super().__init__(error.message)
        self.error = error


def bad_params(why: str) -> RefusedMessageError:
    """Return the error for parameters that the gateway cannot judge."""
    return RefusedMessageError(RPCError(INVALID_PARAMS, why))


def bad_header(why: str) -> RefusedMessageError:
    """Return the error for a header that is missing, or that contradicts the body."""
    return RefusedMessageError(RPCError(HEADER_MISMATCH, why))


def bad_query() -> RefusedMessageError:
    """Return the error for a query in the URL: with it, a client could choose other tools."""
    return RefusedMessageError(RPCError(INVALID_REQUEST, "The URL has a query. Leave it out."))


def dropped() -> RefusedMessageError:
    """Return the error for a message that names a request, outside of a session.

    Its status is that of a server without sessions, which drops the message too: the SDK 1 for
    Python ends a connection if a notification gets an error.
    """
    why = (
        "The gateway has dropped the message: it names a request by its id. Outside of a session, "
        "the server cannot tell whose request that is."
    )
    return RefusedMessageError(RPCError(INVALID_REQUEST, why, _ACCEPTED))


def unknown_method(method: str) -> RefusedMessageError:
    """Return the error for a method that the endpoint does not serve."""
    shown = printable(method[: limits.mcp_shown_chars_max])
    return RefusedMessageError(RPCError(METHOD_NOT_FOUND, f"Method not found: {shown}", _NOT_FOUND))
