"""Adds a note of the gateway to the result of a tool, where a model reads it."""

import msgspec

from crewgate.core.mcp.list_entries import object_members
from crewgate.core.mcp.response_rewriting import MessageEditor, ServerMessage, with_result

_encode = msgspec.json.Encoder().encode


def note_editor(text: str) -> MessageEditor:
    """Return an editor that adds a text to the content of a result (MCP, "Tool Result").

    A message that is no result with content stays as it is.
    """
    item = _encode({"type": "text", "text": text})

    def edit(message: ServerMessage) -> bytes | None:
        result = message.member("result")
        if result is None or not result.startswith(b"{"):
            return None
        members = object_members(result, "the result")
        content = members.get("content", b"").strip()
        if not content.startswith(b"["):
            return None
        before = content[1:-1].strip()
        members["content"] = b"[%b]" % b",".join([before, item] if before else [item])
        written = b",".join(b"%b:%b" % (_encode(name), each) for name, each in members.items())
        return with_result(message, b"{%b}" % written)

    return edit
