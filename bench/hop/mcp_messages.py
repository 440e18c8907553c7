"""Calls of a tool in both revisions of MCP, and one request outside the load, whose answer is read.

h2load sends a call as a file and fields. It does not look at what comes back, and an error of
JSON-RPC may have status 200. So one request is sent here, and its answer is read.
"""

import http.client
import json
from dataclasses import dataclass
from typing import Any

from bench.hop.client import context
from bench.hop.mcp_server import LEGACY, MODERN

CALL_BYTES = 1024
SECONDS = 60  # of one request; only a hang gets there
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
CLIENT = {"name": "bench", "version": "1"}


@dataclass(frozen=True)
class Answer:
    """What came back for one request."""

    status: int
    session: str  # empty if the server gives none
    body: bytes


def message(method: str, revision: str, params: dict[str, Any]) -> dict[str, Any]:
    """A request."""
    meta = {"_meta": META} if revision == MODERN else {}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, **meta}}


def call(tool: str, revision: str) -> bytes:
    """A call of `CALL_BYTES` bytes."""
    arguments = {"query": ""}
    made = message("tools/call", revision, {"name": tool, "arguments": arguments})
    arguments["query"] = "q" * (CALL_BYTES - len(json.dumps(made)))
    return json.dumps(made).encode()


def fields(tool: str, revision: str) -> tuple[str, ...]:
    """The fields of a call, without a credential."""
    modern = ("mcp-method: tools/call", f"mcp-name: {tool}") if revision == MODERN else ()
    return (
        "content-type: application/json",
        "accept: application/json, text/event-stream",
        f"mcp-protocol-version: {revision}",
        *modern,
    )


def post(port: int, path: str, given: tuple[str, ...], body: bytes) -> Answer:
    """Send one request over HTTP/1.1 and TLS."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, timeout=SECONDS, context=context("http/1.1")
    )
    headers = dict(field.split(": ", 1) for field in given)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        session = response.getheader("mcp-session-id") or ""
        return Answer(response.status, session, response.read())
    finally:
        connection.close()


def opened(port: int, path: str, credential: tuple[str, ...]) -> tuple[str, ...]:
    """Initialize a session of 2025-11-25; its field, or no field if there are no sessions."""
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
    body = json.dumps(message("initialize", LEGACY, params)).encode()
    answer = post(port, path, (*fields("", LEGACY)[:2], *credential), body)
    return (f"mcp-session-id: {answer.session}",) if answer.session else ()


def succeeded(answer: Answer) -> bool:
    """Whether this is the result of a tool, as JSON or as an event."""
    return answer.status == 200 and b'"isError":false' in answer.body.replace(b" ", b"")
