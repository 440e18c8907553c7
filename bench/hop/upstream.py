"""`python -m bench.hop.upstream PORT`: a tool server that answers any GET with 200 bytes.

It is as cheap as asyncio allows, so that it is not what is measured; it judges nothing and reads
no header. It prints `ready` when it listens, and ends when its standard input does.
"""

import asyncio
import sys

BODY = b"x" * 199 + b"\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(BODY)
) + BODY
END = b"\r\n\r\n"


class Answering(asyncio.Protocol):
    """One connection; requests without a body, as many as come."""

    def __init__(self) -> None:
        self.transport = asyncio.Transport()
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        if isinstance(transport, asyncio.Transport):
            self.transport = transport

    def data_received(self, data: bytes) -> None:
        """An answer for each head that has come whole."""
        text = self.tail + data
        heads = text.count(END)
        self.tail = text[text.rfind(END) + len(END) :] if heads else text
        if heads:
            self.transport.write(ANSWER * heads)


async def main(port: int) -> None:
    """Serve until nobody holds the other end of standard input."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
