"""A scripted model behind the Messages API of Anthropic, for the Claude Agent SDK.

The main agent starts the sub-agent `researcher`, waits for it, and repeats what it says. The
researcher calls the tool `mcp__otters__count` once, and repeats what that says.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOOL = "mcp__otters__count"


def _tool_use(name: str, given: dict[str, object]) -> dict[str, object]:
    return {"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": given}


def _results(messages: list[dict[str, Any]], name: str) -> list[str]:
    """The result of a tool as text."""
    return [
        json.dumps(block["content"])
        for message in messages
        if isinstance(message["content"], list)
        for block in message["content"]
        if block.get("type") == "tool_result" and block["tool_use_id"] == f"toolu_{name}"
    ]


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    """The next block of the agent that asks."""
    tools = {tool["name"] for tool in body.get("tools", [])}
    if "Agent" in tools:
        if not _results(body["messages"], "Agent"):
            task = {
                "description": "count",
                "prompt": "Count otters.",
                "subagent_type": "researcher",
            }
            return _tool_use("Agent", {**task, "run_in_background": False})
        return {"type": "text", "text": _results(body["messages"], "Agent")[-1]}
    if TOOL in tools:
        if not _results(body["messages"], TOOL):
            return _tool_use(TOOL, {"things": "otters", "to": 3})
        return {"type": "text", "text": _results(body["messages"], TOOL)[-1]}
    return {"type": "text", "text": "nothing"}


def _events(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The answer as the API streams it."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "scripted"}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    yield {"type": "message_start", "message": message}
    if block["type"] == "text":
        start, delta = {"text": ""}, {"type": "text_delta", "text": block["text"]}
        reason = "end_turn"
    else:
        start = {"input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        reason = "tool_use"
    yield {"type": "content_block_start", "index": 0, "content_block": {**block, **start}}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    end = {"stop_reason": reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": 1}}
    yield {"type": "message_stop"}


class _Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._send("text/plain", b"")

    def do_GET(self) -> None:
        self._send("application/json", b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "count_tokens" in self.path:
            self._send("application/json", b'{"input_tokens": 1}')
            return
        events = _events(_answer(body))
        text = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)
        self._send("text/event-stream", text.encode())

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def scripted_claude() -> Iterator[str]:
    """The URL of the model, for ANTHROPIC_BASE_URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Model) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
