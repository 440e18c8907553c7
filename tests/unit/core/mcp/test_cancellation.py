"""The messages that end work at a server say what the revision of the server wants."""

import json

from crewgate.core.mcp.cancellation import session_fields, task_cancellation
from crewgate.core.mcp.methods import Revision


def test_a_modern_task_is_cancelled_by_name() -> None:
    """The headers repeat the body, and the capability is stated: else a server refuses."""
    fields, body = task_cancellation("tâche", Revision.MODERN, session="s", version=b"2025-11-25")
    headers = dict(fields)
    assert len(headers) == len(fields)
    assert headers == {
        b"content-type": b"application/json",
        b"accept": b"application/json, text/event-stream",
        b"mcp-protocol-version": b"2026-07-28",
        b"mcp-method": b"tasks/cancel",
        b"mcp-name": b"=?base64?dMOiY2hl?=",
    }
    message = json.loads(body)
    meta = message["params"].pop("_meta")
    assert message == {
        "jsonrpc": "2.0",
        "id": "crewgate/tâche",
        "method": "tasks/cancel",
        "params": {"taskId": "tâche"},
    }
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    capabilities = meta["io.modelcontextprotocol/clientCapabilities"]
    assert capabilities["extensions"] == {"io.modelcontextprotocol/tasks": {}}


def test_a_legacy_task_is_cancelled_in_its_session() -> None:
    fields, body = task_cancellation("a", Revision.LEGACY, session="s", version=b"2025-11-25")
    headers = dict(fields)
    assert headers[b"mcp-session-id"] == b"s"
    assert headers[b"mcp-protocol-version"] == b"2025-11-25"
    assert not {b"mcp-method", b"mcp-name"} & set(headers)
    assert json.loads(body)["params"] == {"taskId": "a"}
    bare, _ = task_cancellation("a", Revision.LEGACY)
    assert {name for name, _ in bare} == {b"content-type", b"accept"}


def test_a_session_ends_under_its_version() -> None:
    expected = [(b"mcp-protocol-version", b"2025-06-18"), (b"mcp-session-id", b"s")]
    assert session_fields("s", b"2025-06-18") == expected
    assert session_fields("", None) == []
