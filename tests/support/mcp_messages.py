"""MCP messages of both revisions, as clients send them."""

import json
from typing import Any

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
_META = "io.modelcontextprotocol/"


def modern(method: str, message_id: object = 1, **params: Any) -> dict[str, Any]:
    """A modern request."""
    meta = {f"{_META}protocolVersion": MODERN, f"{_META}clientCapabilities": {}}
    meta |= params.pop("meta", {})
    return {
        "jsonrpc": "2.0",
        "id": message_id,
        "method": method,
        "params": {**params, "_meta": meta},
    }


def legacy(method: str, message_id: object = 1, **params: Any) -> dict[str, Any]:
    """A legacy request."""
    return {"jsonrpc": "2.0", "id": message_id, "method": method, "params": params}


def headers(message: dict[str, Any], **changes: str | None) -> dict[str, str]:
    """The headers that a modern client sends with a message; a change to None leaves one out."""
    params = message["params"]
    found = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": message["method"],
        "mcp-name": params.get("name") or params.get("uri") or params.get("taskId"),
    }
    found |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in found.items() if value is not None}


def encoded(message: object) -> bytes:
    """The bytes of a message."""
    return json.dumps(message).encode()
