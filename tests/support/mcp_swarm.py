"""Many MCP clients at once, which see when their streams end, and the server that they use."""

import json
from http import HTTPStatus
from typing import Any

from blocking_clients import Caller, Stream
from observed_server import ObservedServer

from crewgate.demo.ports import reserve

_META = "io.modelcontextprotocol/"
_EXTENSION = {"extensions": {f"{_META}tasks": {}}}
_PATH = "/mcp/swarm"


class SwarmServer(ObservedServer):
    """The server of `mcp_swarm_server`, as a process of its own."""

    def __init__(self) -> None:
        super().__init__("mcp_swarm_server.py", reserve())

    def tasks(self) -> dict[str, str]:
        """Return the state of each task."""
        found: dict[str, str] = self.observed()
        return found


def _message(method: str, named: str, **params: Any) -> tuple[bytes, dict[str, str]]:
    """A modern message, and the header fields that go with it."""
    meta = {f"{_META}protocolVersion": "2026-07-28", f"{_META}clientCapabilities": _EXTENSION}
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    fields = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
        "mcp-name": named,
    }
    return json.dumps(message).encode(), fields


def watch(caller: Caller, token: str) -> Stream:
    """An open stream of the tool `watch`, on a connection of its own."""
    body, fields = _message("tools/call", "watch", name="watch", arguments={})
    fields |= {
        "host": "localhost",
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    request = f"POST {_PATH} HTTP/1.1\r\n{lines}\r\n".encode() + body
    return Stream(caller.secure(), request, b'"level": "info"')


def ask(caller: Caller, token: str, method: str, named: str, **params: Any) -> tuple[int, Any]:
    """The status of one answer, and its message."""
    body, fields = _message(method, named, **params)
    status, answer = caller.post(token, _PATH, body, fields)
    return status, json.loads(answer)


def begin_task(caller: Caller, token: str) -> str:
    """The id of a new task of the tool `work`, as its client has it."""
    status, message = ask(caller, token, "tools/call", "work", name="work", arguments={})
    assert status == HTTPStatus.OK, message
    found: str = message["result"]["taskId"]
    return found


def get_task(caller: Caller, token: str, task: str) -> tuple[int, Any]:
    """The status of the answer, and the error or the state of the task."""
    status, message = ask(caller, token, "tasks/get", task, taskId=task)
    if "error" in message:
        return status, message["error"]
    assert message["result"]["taskId"] == task
    return status, message["result"]["status"]
