"""The tool server of the demo: `python -m crewgate.demo.tools --port N`.

It speaks plain HTTP/1.1 on loopback. Its search page is always partial, which is the trap of the
incident. It lists the calls that it received, with the identity that the gateway adds, and checks
nothing. It ends by itself only after `--seconds`, if given.
"""

import argparse
import hashlib
import json
import math
import signal
from collections.abc import Mapping
from functools import partial
from itertools import count

import h11
import msgspec
import trio

from crewgate import limits
from crewgate.demo.alerts import ALERTS, ReceivedAlert
from crewgate.demo.ports import HOST

_CHUNK = 64 * 2**10
_SIGNED = "id", "timestamp", "signature"  # of a webhook
_CONTENT = ("content-type", "application/json")


class ReceivedCall(msgspec.Struct, frozen=True):
    """A call that reached a tool: its request id and branch, empty if the gateway named none."""

    path: str
    request: str
    branch: str


class ToolServer:
    """Answers calls, and keeps a list of them."""

    def __init__(self) -> None:
        self.received: list[ReceivedCall] = []
        self.alerts: list[ReceivedAlert] = []

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end; an error of a client ends only this connection."""
        connection = _Connection(stream)
        try:
            while await self._answer(connection):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, connection: "_Connection") -> bool:
        request = await connection.request()
        if request is None:
            return False
        path = request.target.decode().partition("?")[0]
        fields = {name.decode(): value.decode() for name, value in request.headers}
        if path == ALERTS:
            text = (await connection.text()).decode()
            id_, at, signature = (fields.get(f"webhook-{name}", "") for name in _SIGNED)
            self.alerts.append(ReceivedAlert(id_, at, signature, text))
            await connection.reply(200, {})
            return connection.next()
        body = await connection.body()
        if path == "/health":
            await connection.reply(200, {"well": True})
            return connection.next()
        if path == "/received":
            await connection.reply(200, {"received": msgspec.to_builtins(self.received)})
            return connection.next()
        if path == "/alerts/received":
            await connection.reply(200, {"alerts": msgspec.to_builtins(self.alerts)})
            return connection.next()
        self.received.append(
            ReceivedCall(
                path, fields.get("x-crewgate-request", ""), fields.get("x-crewgate-branch", "")
            )
        )
        if path in _STREAMS:
            await _summary(connection)
        elif (tool := _TOOLS.get(path)) is not None:
            await connection.reply(200, tool(body))
        else:
            await connection.reply(404, {"error": f"no tool at {path}"})
        return connection.next()


_served = count(1)  # pages with a cursor: no two answers are equal


def _search(body: Mapping[str, object]) -> dict[str, object]:
    """Return a page of results that always says: the rest is on the next page."""
    cursor = body.get("cursor")
    page = cursor if isinstance(cursor, int) else 0
    found: dict[str, object] = {
        "partial": True,
        "cursor": page + 1,
        "results": [f"result {page}.{number}" for number in range(3)],
    }
    return found if cursor is None else found | {"served": next(_served)}


def _embeddings(body: Mapping[str, object]) -> dict[str, object]:
    digest = hashlib.sha256(json.dumps(body.get("input")).encode()).digest()
    return {"data": [{"index": 0, "embedding": [byte / 255 for byte in digest[:16]]}]}


def _publish(body: Mapping[str, object]) -> dict[str, object]:
    return {"published": True, "title": body.get("title")}


def _balance(body: Mapping[str, object]) -> dict[str, object]:
    return {"account": body.get("account"), "balance": "1204.50"}


_TOOLS = {
    "/search": _search,
    "/v1/embeddings": _embeddings,
    "/publish": _publish,
    "/balance": _balance,
}
_STREAMS = {"/summary", "/statement"}


async def _summary(connection: "_Connection") -> None:
    """Send server-sent events, one every 50 ms, until the summary is complete."""
    await connection.start(200, ("content-type", "text/event-stream"))
    for number in range(int(limits.demo_summary_seconds / limits.demo_event_seconds)):
        await connection.send(f"data: sentence {number}\n\n".encode())
        await trio.sleep(limits.demo_event_seconds)
    await connection.end()


class _Connection:
    """One HTTP/1.1 connection (h11), which serves one request after another."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._state = h11.Connection(h11.SERVER)

    async def request(self) -> h11.Request | None:
        """Return the next request; None when the client has closed the connection."""
        event = await self._event()
        return event if isinstance(event, h11.Request) else None

    async def text(self) -> bytes:
        """Return the request's body."""
        data = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            data += event.data
            if len(data) > limits.demo_body_bytes_max:
                raise h11.RemoteProtocolError("body too large", error_status_hint=413)
        return bytes(data)

    async def body(self) -> dict[str, object]:
        """Return the JSON object in the request's body; empty for any other body."""
        try:
            value = json.loads(await self.text() or b"{}")
        except ValueError:
            value = {}
        return value if isinstance(value, dict) else {}

    async def reply(self, status: int, answer: Mapping[str, object]) -> None:
        """Send a whole response."""
        data = json.dumps(answer).encode()
        await self.start(status, _CONTENT, ("content-length", str(len(data))))
        await self.send(data)
        await self.end()

    async def start(self, status: int, *fields: tuple[str, str]) -> None:
        """Send the head of a response; without a content-length, the body is chunked."""
        await self._emit(h11.Response(status_code=status, headers=list(fields)))

    async def send(self, data: bytes) -> None:
        """Send a piece of the body at once."""
        await self._emit(h11.Data(data=data))

    async def end(self) -> None:
        """End the response."""
        await self._emit(h11.EndOfMessage())

    def next(self) -> bool:
        """Prepare for another request; return False if the connection cannot take one."""
        if self._state.our_state is not h11.DONE or self._state.their_state is not h11.DONE:
            return False
        self._state.start_next_cycle()
        return True

    async def _event(self) -> object:
        while (event := self._state.next_event()) is h11.NEED_DATA:
            self._state.receive_data(bytes(await self._stream.receive_some(_CHUNK)))
        return event

    async def _emit(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        data = self._state.send(event)
        if data:
            await self._stream.send_all(data)


async def serve(
    port: int,
    seconds: float = math.inf,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve on loopback for `seconds`; OSError if the port is taken."""
    server = ToolServer()
    with trio.move_on_after(seconds):
        await trio.serve_tcp(server.serve, port, host=HOST, task_status=task_status)


def main() -> None:
    """Read the command line, and run the tool server."""
    parser = argparse.ArgumentParser(
        prog="python -m crewgate.demo.tools", description="Run the tool server of the demo."
    )
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after so many seconds")
    arguments = parser.parse_args()
    # Nothing needs cleaning up on Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        trio.run(partial(serve, arguments.port, arguments.seconds))
    except OSError as error:
        parser.error(f"port {arguments.port} of {HOST}: {error.strerror}; choose another port")


if __name__ == "__main__":
    main()
