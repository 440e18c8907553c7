"""A small MCP server for many clients at once: `mcp_swarm_server.py PORT`.

Its tool `work` begins a task that never ends by itself, and its tool `watch` sends one event and
then keeps its stream open. GET /observed has the state of each task.
"""

import itertools
import json
import sys
from functools import partial
from typing import Any

import trio
from scripted_server import read_request

PAUSE_SECONDS = 10
NOTE = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}}


class _Server:
    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self._numbers = itertools.count(1)

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            while request := await read_request(stream):
                await self._answer(stream, request)
        except trio.BrokenResourceError:
            return

    async def _answer(self, stream: trio.SocketStream, request: bytes) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        if head.startswith(b"GET /observed "):
            await self._respond(stream, self.states)
            return
        message = json.loads(body)
        params = message["params"]
        if params.get("name") == "watch":
            event = f"data: {json.dumps(NOTE)}\n\n"
            kind = "content-type: text/event-stream\r\n"
            chunk = f"{len(event):x}\r\n{event}\r\n"
            await stream.send_all(
                f"HTTP/1.1 200 OK\r\n{kind}transfer-encoding: chunked\r\n\r\n{chunk}".encode()
            )
            # The gateway ends a stream that is silent for long.
            while True:
                with trio.move_on_after(PAUSE_SECONDS):
                    await stream.receive_some()  # its end
                    return
                await stream.send_all(b"3\r\n:\n\n\r\n")
        result = {"resultType": "complete", **self._result(message["method"], params)}
        await self._respond(stream, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    def _result(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "tools/call":
            task = f"task-{next(self._numbers)}"
            self.states[task] = "working"
            return {"resultType": "task", "taskId": task, "status": "working", "ttlMs": 10**7}
        task = params["taskId"]
        if method == "tasks/cancel":
            self.states[task] = "cancelled"
            return {}
        return {"taskId": task, "status": self.states[task]}

    @staticmethod
    async def _respond(stream: trio.SocketStream, value: object) -> None:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        await stream.send_all(head.encode() + b"\r\n\r\n" + body)


if __name__ == "__main__":
    trio.run(partial(trio.serve_tcp, _Server().serve, int(sys.argv[1]), host="127.0.0.1"))
