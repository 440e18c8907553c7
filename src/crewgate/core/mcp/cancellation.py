"""Writes the messages with which the gateway ends work at an MCP server: a task, or a session."""

from collections.abc import Sequence

import msgspec

from crewgate.core.http_types import HeaderField
from crewgate.core.mcp.message_rules import (
    CAPABILITIES,
    METHOD,
    NAME,
    SESSION,
    TASKS,
    VERSION,
    encoded,
)
from crewgate.core.mcp.methods import MODERN_VERSION, Revision

_CANCEL = "tasks/cancel"
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
    # A server refuses `tasks/cancel` of a client that does not have the extension.
    CAPABILITIES: {"extensions": {TASKS: {}}},
}
_JSON: tuple[HeaderField, ...] = (
    (b"content-type", b"application/json"),
    (b"accept", b"application/json, text/event-stream"),
)
_encode = msgspec.json.Encoder().encode


def task_cancellation(
    task: str, revision: Revision, *, session: str = "", version: bytes | None = None
) -> tuple[tuple[HeaderField, ...], bytes]:
    """Return the header fields and the body of the POST that cancels a task.

    `session` and `version` (the value of MCP-Protocol-Version) are those of the legacy client that
    began the task. The id of the request has the id of the task in it, because no id may occur
    twice in a session.
    """
    is_modern = revision is Revision.MODERN
    params: dict[str, object] = {"taskId": task}
    if is_modern:
        params["_meta"] = _META
        fields = [(VERSION, MODERN_VERSION.encode()), (METHOD, _CANCEL.encode())]
        fields.append((NAME, encoded(task)))
    else:
        fields = [*session_fields(session, version)]
    message = {"jsonrpc": "2.0", "id": f"crewgate/{task}", "method": _CANCEL, "params": params}
    return (*_JSON, *fields), _encode(message)


def session_fields(session: str, version: bytes | None) -> Sequence[HeaderField]:
    """Return the header fields of a request in a legacy session, such as the DELETE that ends it.

    `session` is empty if the server keeps none.
    """
    fields = [] if version is None else [(VERSION, version)]
    return [*fields, (SESSION, session.encode())] if session else fields
