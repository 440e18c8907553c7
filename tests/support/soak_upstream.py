"""A tool's server of the soak: writes down every request that reached it, then answers or behaves.

`python soak_upstream.py PORT LOG`. The id of a request is in LOG, by one write of the kernel's,
before anything else happens to it: a SIGKILL loses none. SIGTERM lets answers end for a second.
What may be asked for is in `soak_moods`.
"""

import json
import os
import signal
import sys
import zlib
from functools import partial

import h11
import soak_moods
import trio

GRACE = 1.0  # seconds, for answers under way at SIGTERM


class Request:
    """One request, as a mood needs it."""

    def __init__(self, stream: trio.SocketStream, head: h11.Request, wire: h11.Connection) -> None:
        self.stream = stream
        self.wire = wire
        path, _, query = head.target.decode("ascii").partition("?")
        self.words = path.strip("/").split("/")
        self.query = dict(pair.split("=") for pair in query.split("&") if pair)
        self.identity = {
            name.decode().removeprefix("x-crewgate-"): value.decode()
            for name, value in head.headers
            if name.startswith(b"x-crewgate-")
        }
        self.seen = self.identity["request"]
        self.body_bytes = 0
        self.body_crc = 0

    async def read_body(self) -> None:
        """Take all of the body; h11's own errors if it is not whole."""
        while not isinstance(event := await next_event(self.stream, self.wire), h11.EndOfMessage):
            if isinstance(event, h11.ConnectionClosed):
                raise h11.RemoteProtocolError("the gateway closed in mid-body")
            if isinstance(event, h11.Data):
                self.body_bytes += len(event.data)
                self.body_crc = zlib.crc32(event.data, self.body_crc)

    async def send(self, *events: h11.Event) -> None:
        """Write events in one piece."""
        await self.stream.send_all(b"".join(self.wire.send(event) or b"" for event in events))

    async def answer(self, body: bytes, kind: str = "application/json") -> None:
        """Answer in full."""
        headers = [
            ("content-type", kind),
            ("content-length", str(len(body))),
            ("x-seen-request", self.seen),
        ]
        await self.send(
            h11.Response(status_code=200, headers=headers), h11.Data(data=body), h11.EndOfMessage()
        )

    async def tell(self) -> None:
        """Answer with what came."""
        seen = self.identity | {"bytes": self.body_bytes, "crc": self.body_crc}
        await self.answer(json.dumps(seen).encode())


async def next_event(stream: trio.SocketStream, wire: h11.Connection) -> object:
    """Wait for the next thing that the gateway sends."""
    while (event := wire.next_event()) is h11.NEED_DATA:
        wire.receive_data(bytes(await stream.receive_some(65_536)))
    return event


async def serve(log: int, stream: trio.SocketStream) -> None:
    """One connection."""
    wire = h11.Connection(h11.SERVER)
    try:
        while isinstance(head := await next_event(stream, wire), h11.Request):
            request = Request(stream, head, wire)
            os.write(log, f"{request.seen} {request.identity['tool']}\n".encode())
            await soak_moods.behave(request)
            if wire.our_state is not h11.DONE or wire.their_state is not h11.DONE:
                return
            wire.start_next_cycle()
    except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
        return
    finally:
        await trio.aclose_forcefully(stream)


async def main(port: int, log: str) -> None:
    """Serve until SIGTERM."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as answers, trio.open_nursery() as listening:
            handler = partial(serve, descriptor)
            await listening.start(
                partial(trio.serve_tcp, handler, port, host="127.0.0.1", handler_nursery=answers)
            )
            print("ready", flush=True)
            async for _ in signals:
                break
            answers.cancel_scope.deadline = trio.current_time() + GRACE
            listening.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2])
