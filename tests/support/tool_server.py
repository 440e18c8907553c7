"""A tool's server for whole-gateway tests: answers after a moment, or streams until it is cut.

`python tool_server.py PORT [DELAY]`: POST anything → 200 with the request's fields of identity and
trace as JSON after DELAY seconds. With `?status=N`, and `&retry=SECONDS` for Retry-After, → N with
an empty object. GET /stream → numbered events every 10 ms for at most 30 s, or every N seconds with
`?every=N`. Ends with its input.
"""

import json
import sys
from collections.abc import Sequence
from functools import partial
from urllib.parse import parse_qsl

import h11
import trio


async def stream_events(
    stream: trio.SocketStream, connection: h11.Connection, every: float
) -> None:
    head = h11.Response(status_code=200, headers=[("content-type", "text/event-stream")])
    await stream.send_all(connection.send(head) or b"")
    with trio.move_on_after(30):
        for number in range(10_000):
            event = h11.Data(data=b"data: %d\n\n" % number)
            await stream.send_all(connection.send(event) or b"")
            await trio.sleep(every)
    await stream.send_all(connection.send(h11.EndOfMessage()) or b"")


async def answer(
    stream: trio.SocketStream, connection: h11.Connection, request: h11.Request, delay: float
) -> None:
    await trio.sleep(delay)
    seen = {
        name.decode(): value.decode()
        for name, value in request.headers
        if name.startswith((b"x-crewgate-", b"trace"))
    }
    asked = dict(parse_qsl(request.target.decode().partition("?")[2]))
    body = json.dumps({} if "status" in asked else seen).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    if "retry" in asked:
        headers.append(("retry-after", asked["retry"]))
    head = h11.Response(status_code=int(asked.get("status", 200)), headers=headers)
    data = connection.send(head) or b""
    data += connection.send(h11.Data(data=body)) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    await stream.send_all(data)


async def serve(delay: float, stream: trio.SocketStream) -> None:
    connection = h11.Connection(h11.SERVER)
    request: h11.Request | None = None
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                if request.target.startswith(b"/stream"):
                    every = request.target.decode().partition("?every=")[2] or "0.01"
                    await stream_events(stream, connection, float(every))
                else:
                    await answer(stream, connection, request, delay)
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return
    except (trio.BrokenResourceError, h11.RemoteProtocolError):
        return
    finally:
        await trio.aclose_forcefully(stream)


async def main(port: int, delay: float) -> None:
    async with trio.open_nursery() as nursery:
        serving = partial(trio.serve_tcp, partial(serve, delay), port, host="127.0.0.1")
        await nursery.start(serving)
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


def run(arguments: Sequence[str]) -> None:
    """Serve on a port, with a delay."""
    trio.run(main, int(arguments[0]), float(arguments[1]) if len(arguments) > 1 else 0.0)


if __name__ == "__main__":
    run(sys.argv[1:])
