"""The MCP side of the tool server: the tool `search`, in the revisions 2026-07-28 and 2025-11-25.

It reads of a message only what its answer needs, so that it is not what is measured.
"""

import msgspec

PATH = b"/mcp"
TOOL = "search"
SESSION = "bench-session"
MODERN, LEGACY = "2026-07-28", "2025-11-25"
SERVER = {
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "bench", "version": "1"},
    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "bench", "version": "1"}},
}
CACHED = {"ttlMs": 60_000, "cacheScope": "private", "resultType": "complete"}
SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}}
RESULTS = {
    "server/discover": {"supportedVersions": [MODERN], **SERVER, **CACHED},
    "initialize": {"protocolVersion": LEGACY, **SERVER},
    "tools/list": {
        "tools": [{"name": TOOL, "description": "Searches.", "inputSchema": SCHEMA}],
        **CACHED,
    },
    "tools/call": {
        "content": [{"type": "text", "text": "x" * 200}],
        "isError": False,
        "resultType": "complete",
    },
    "ping": {},
}
ENCODED = {method: msgspec.json.encode(result) for method, result in RESULTS.items()}
UNKNOWN = b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32601,"message":"unknown method"}}'
NULL = msgspec.Raw(b"null")


class Message(msgspec.Struct):
    """A request or a notification; a notification has no id."""

    method: str = ""
    id: msgspec.Raw = NULL


DECODER = msgspec.json.Decoder(Message)


def head(status: bytes, length: int, field: bytes = b"") -> bytes:
    """The head of a response."""
    start = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n" % status
    return start + b"content-length: %d\r\n%b\r\n" % (length, field)


def response(verb: bytes, body: bytes) -> bytes:
    """The whole HTTP response to a request for `PATH`."""
    if verb != b"POST":  # no stream of the server's own; DELETE ends a session
        return head(b"200 OK" if verb == b"DELETE" else b"405 Method Not Allowed", 0)
    message = DECODER.decode(body)
    if message.id is NULL:
        return head(b"202 Accepted", 0)
    result = ENCODED.get(message.method)
    if result is None:
        answer = UNKNOWN % bytes(message.id)
    else:
        answer = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (bytes(message.id), result)
    session = b"mcp-session-id: %b\r\n" % SESSION.encode()
    field = session if message.method == "initialize" else b""
    return head(b"200 OK", len(answer), field) + answer
