"""Checks an MCP message and the headers that repeat parts of it (2026-07-28, "Streamable HTTP").

The order of the checks is the order of the official SDKs: the shape of the message, its `_meta`,
its headers, its version. The gateway forwards headers of its own that it writes from the body, so a
server that reads headers only sees what was judged.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Protocol

from crewgate import limits
from crewgate.core.body_encoding import CONTENT_ENCODING, CONTENT_TYPE, encoding_problem
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp.methods import (
    LEGACY_VERSIONS,
    METHODS,
    MODERN_VERSION,
    Action,
    Method,
    Revision,
    versions_of,
)
from crewgate.core.mcp.rpc_errors import (
    INVALID_REQUEST,
    MISSING_CAPABILITY,
    UNSUPPORTED_VERSION,
    RefusedMessageError,
    RPCError,
    bad_header,
    bad_params,
)
from crewgate.core.terminal_text import printable

VERSION, METHOD, NAME = b"mcp-protocol-version", b"mcp-method", b"mcp-name"
SESSION, LAST_EVENT = b"mcp-session-id", b"last-event-id"
# The gateway writes these anew, or drops them. A server that decoded the body as the client's
# fields say could read another message in it.
REPEATED = frozenset({VERSION, METHOD, NAME, SESSION, LAST_EVENT, CONTENT_TYPE, CONTENT_ENCODING})

CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
TASKS = "io.modelcontextprotocol/tasks"  # the extension without which a client has no tasks
_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_BASE64 = re.compile(rb"=\?base64\?(.*)\?=", re.DOTALL)
_PLAIN = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_JSON = (CONTENT_TYPE, b"application/json")
_UNSUPPORTED_MEDIA_TYPE = 415


class Message(Protocol):
    """The parts of a JSON-RPC message that the rules read; `_native.json_rpc` makes it."""

    @property
    def kind(self) -> str:
        """One of "request", "notification" and "response"."""

    @property
    def method(self) -> str:
        """The method; empty for a response."""

    @property
    def name(self) -> str | None:
        """`params.name`."""

    @property
    def uri(self) -> str | None:
        """`params.uri`."""

    @property
    def task_id(self) -> str | None:
        """`params.taskId`."""

    @property
    def protocol_version(self) -> str | None:
        """The version in `params._meta`, which only modern messages have."""

    @property
    def capabilities(self) -> bytes | None:
        """The client's capabilities in `params._meta`, as JSON."""

    def member(self, *path: str) -> bytes | None:
        """Return the JSON at a path of names; None if there is none."""


def single(headers: Sequence[HeaderField], name: bytes) -> bytes | None:
    """Return the value of a header; None if there is none.

    Raises:
        RefusedMessageError: The request has the header twice, so two servers could read two values.
    """
    values = [value for each, value in headers if each == name]
    if len(values) > 1:
        raise bad_header(f"The request has the header {name.decode()} {len(values)} times.")
    return values[0].strip() if values else None


def revision_of(message: Message, version: bytes | None) -> Revision:
    """Return the revision that a message is written in; `version` is the header's.

    Raises:
        RefusedMessageError: The header names a modern version, and the message lacks `_meta`.
    """
    if message.protocol_version is not None:
        return Revision.MODERN
    if version is not None and version >= MODERN_VERSION.encode() and message.kind == "request":
        if version.decode("latin-1") != MODERN_VERSION:
            raise _unsupported(version.decode("latin-1"), Revision.MODERN)
        raise bad_params(f"params._meta lacks {_VERSION_KEY}.")
    return Revision.LEGACY


def check(
    message: Message,
    headers: Sequence[HeaderField],
    revision: Revision,
    *,
    is_lenient: bool = False,
) -> None:
    """Check a message and its headers.

    `is_lenient`: in `server/discover`, the headers need not agree with the body.

    Raises:
        RefusedMessageError: The message breaks a rule of its revision.
    """
    _check_content(headers)
    found = {name: single(headers, name) for name in (VERSION, METHOD, NAME)}
    if revision is Revision.LEGACY:
        legacy_version(headers)
        return
    if message.kind == "response":
        raise bad_params("A client of this revision sends no responses.")
    if message.kind == "request" and not (message.capabilities or b"").startswith(b"{"):
        raise bad_params(f"params._meta lacks {CAPABILITIES}.")
    if not (is_lenient and message.method == "server/discover"):
        _check_headers(message, found)
    if message.protocol_version != MODERN_VERSION:
        raise _unsupported(message.protocol_version or "", revision)
    method = _method(message)
    if method is not None and method.action is Action.TASK:
        _check_tasks(message)


def _check_content(headers: Sequence[HeaderField]) -> None:
    why = encoding_problem(headers, (_JSON[1],))
    if why:
        raise RefusedMessageError(RPCError(INVALID_REQUEST, why, _UNSUPPORTED_MEDIA_TYPE))


def _check_tasks(message: Message) -> None:
    if message.member("params", "_meta", CAPABILITIES, "extensions", TASKS) is None:
        data: dict[str, object] = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        error = RPCError(MISSING_CAPABILITY, f"The client does not declare {TASKS}.", data=data)
        raise RefusedMessageError(error)


def legacy_version(headers: Sequence[HeaderField]) -> list[HeaderField]:
    """Return the version header of a legacy request without a body; nothing if there is none.

    Raises:
        RefusedMessageError: The header occurs twice, or names another version.
    """
    version = single(headers, VERSION)
    if version is not None and version.decode("latin-1") not in LEGACY_VERSIONS:
        raise _unsupported(version.decode("latin-1"), Revision.LEGACY)
    return [] if version is None else [(VERSION, version)]


def _check_headers(message: Message, found: dict[bytes, bytes | None]) -> None:
    _agree("MCP-Protocol-Version", found[VERSION], message.protocol_version or "")
    if message.kind == "request" or found[METHOD] is not None:
        _agree("Mcp-Method", found[METHOD], message.method)
    value = named(message)
    if value is not None:
        _agree("Mcp-Name", found[NAME], value)
    elif found[NAME] is not None and _method(message) is not None:
        raise bad_header("The request has a header Mcp-Name, but its method names nothing.")


def _agree(header: str, value: bytes | None, expected: str) -> None:
    if value is None:
        raise bad_header(f"The header {header} is missing.")
    if _decoded(value) != expected.encode():
        raise bad_header(f"The header {header} does not agree with the body.")


def named(message: Message) -> str | None:
    """Return what the header Mcp-Name repeats; None if the method names nothing.

    Raises:
        RefusedMessageError: The method names something, and the message does not.
    """
    method = _method(message)
    if method is None or not method.named:
        return None
    value = {"name": message.name, "uri": message.uri, "taskId": message.task_id}[method.named]
    if value is None:
        raise bad_params(f"params.{method.named} is missing.")
    return value


def _method(message: Message) -> Method | None:
    """Return the method of the message; None if the revision of the message has no such method."""
    method = METHODS.get(message.method)
    revision = Revision.LEGACY if message.protocol_version is None else Revision.MODERN
    return method if method is not None and revision in method.revisions else None


def _decoded(value: bytes) -> bytes | None:
    """Return the value of a header; None for one that is not in the canonical form."""
    match = _BASE64.fullmatch(value)
    if match is None:
        return value if _PLAIN.fullmatch(value) else None
    try:
        decoded = base64.b64decode(match[1], validate=True)
    except binascii.Error:
        return None
    return decoded if base64.b64encode(decoded) == match[1] else None


def encoded(text: str) -> bytes:
    """Return the value of a header for a text: as it is, or in base64."""
    value = text.encode()
    if _PLAIN.fullmatch(value) and not _BASE64.fullmatch(value):
        return value
    return b"=?base64?%b?=" % base64.b64encode(value)


def canonical_headers(message: Message, version: bytes | None) -> list[HeaderField]:
    """Return the headers of the message for the server; `version` is that of a legacy request."""
    if message.protocol_version is None:
        return [_JSON] if version is None else [_JSON, (VERSION, version)]
    headers = [_JSON, (VERSION, message.protocol_version.encode())]
    headers.append((METHOD, encoded(message.method)))
    value = named(message)
    if value is not None:
        headers.append((NAME, encoded(value)))
    return headers


def not_served(served: Revision) -> RefusedMessageError:
    """Return the error for a message of a revision that the endpoint does not serve."""
    versions = versions_of(served)
    error = RPCError(
        UNSUPPORTED_VERSION,
        f"This endpoint speaks MCP {versions[0]} only.",
        data={"supported": versions},
    )
    return RefusedMessageError(error)


def _unsupported(requested: str, revision: Revision) -> RefusedMessageError:
    """Return the error for a version; `revision` is the one that the message is written in.

    The error names the versions of that revision only. `server/discover` names only those of
    2026-07-28 too, and a client finds the older ones with `initialize`.
    """
    data = {
        "supported": list(versions_of(revision)),
        "requested": printable(requested[: limits.mcp_shown_chars_max]),
    }
    return RefusedMessageError(
        RPCError(UNSUPPORTED_VERSION, "The gateway does not know this version of MCP.", data=data)
    )
