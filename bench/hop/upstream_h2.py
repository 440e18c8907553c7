"""`python -m bench.hop.upstream_h2 PORT`: a tool server that speaks HTTP/2 alone, without TLS.

It answers any request with 200 bytes once it has read its body; who speaks HTTP/1.1 to it gets no
answer. It ends when its standard input does.
"""

import asyncio
import sys

from ngh2 import Configuration, Connection, NGH2Error, Role, Setting
from ngh2.events import DataReceived, Event, RequestReceived, TrailersReceived

from bench.hop.upstream import BODY

FIELDS = (
    (b":status", b"200"),
    (b"content-type", b"text/plain"),
    (b"content-length", b"%d" % len(BODY)),
)
SETTINGS = {Setting.MAX_CONCURRENT_STREAMS: 1024, Setting.INITIAL_WINDOW_SIZE: 2**20}


class Answering(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.transport = asyncio.Transport()
        self.engine = Connection(Role.SERVER, Configuration())
        self.engine.initiate_connection(SETTINGS)
        self.engine.set_local_window_size(2**24)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        if isinstance(transport, asyncio.Transport):
            self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that has ended, all in one write."""
        try:
            self.engine.receive_data(data)
            for event in self.engine.events():
                stream = ended_stream(event)
                if stream:
                    self.engine.send_response(stream, FIELDS)
                    self.engine.send_data(stream, BODY, end_stream=True)
        except NGH2Error:
            self.transport.close()
            return
        self.transport.write(self.engine.data_to_send())


def ended_stream(event: Event) -> int:
    """The stream whose request has come whole with this; 0 if there is none."""
    if isinstance(event, TrailersReceived):
        return event.stream_id
    if isinstance(event, RequestReceived | DataReceived) and event.end_stream:
        return event.stream_id
    return 0


async def main(port: int) -> None:
    """Serve until nobody holds the other end of standard input."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", port, backlog=1024)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
