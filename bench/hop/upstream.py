"""`python -m bench.hop.upstream PORT [NICENESS]`: the tool server of tools.py, over HTTP/1.1.

It is as cheap as asyncio allows, so that it is not what is measured; it judges nothing. At one of
its paths it is an MCP server (mcp_server.py), and a request for `CLOSE` closes all connections. It
ends when its standard input does.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from typing import ClassVar

import httptools

from bench.hop import mcp_server

BODY = b"x" * 199 + b"\n"
KILOBYTE = b"k" * 1024
PIECE = b"y" * 4096
PIECES = 16  # of a streamed answer
HUGE_PIECE = b"z" * 65_536
HUGE_PIECES = 256
SMALL = (b"GET /page ", b"GET /page?")
CLOSE = b"/close"
END = b"\r\n\r\n"


def head(length: int | None) -> bytes:
    """Of an answer; without a length it is chunked."""
    size = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n%b\r\n\r\n" % size


ANSWER = head(len(BODY)) + BODY
CHUNK = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)


def pieces(path: bytes) -> Iterator[bytes]:
    """What is written for a request, each in a turn of the loop of its own."""
    if path == b"/large":
        yield head(len(PIECE) * PIECES) + PIECE * PIECES
    elif path == b"/kilobyte":
        yield head(len(KILOBYTE)) + KILOBYTE
    elif path == b"/stream":
        yield head(None) + CHUNK
        for _ in range(PIECES - 1):
            yield CHUNK
        yield b"0\r\n\r\n"
    elif path == b"/huge":
        yield head(len(HUGE_PIECE) * HUGE_PIECES)
        for _ in range(HUGE_PIECES):
            yield HUGE_PIECE
    else:
        yield ANSWER


class Answering(asyncio.Protocol):
    """One connection; gateways send the next request when they have the answer."""

    opened: ClassVar[set["Answering"]] = set()

    def __init__(self) -> None:
        self.transport = asyncio.Transport()
        self.parser: httptools.HttpRequestParser | None = None
        self.target = self.body = b""
        self.rest: Iterator[bytes] | None = None
        self.paused = False
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        if isinstance(transport, asyncio.Transport):
            self.transport = transport
        self.opened.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        del error
        self.opened.discard(self)

    def data_received(self, data: bytes) -> None:
        """A whole small request is answered unparsed: that is what most loads send."""
        if self.parser is None:
            if data.startswith(SMALL) and data.endswith(END):
                self.transport.write(ANSWER)
                return
            self.target = self.body = b""
            self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self.target += url

    def on_body(self, body: bytes) -> None:
        """A piece of the body, which only MCP looks at."""
        if self.target == mcp_server.PATH:
            self.body += body

    def on_message_complete(self) -> None:
        """The body has been read to its end."""
        parser, self.parser = self.parser, None
        if self.target == mcp_server.PATH and parser is not None:
            self.transport.write(mcp_server.response(parser.get_method(), self.body))
            return
        if self.target == CLOSE:
            for connection in self.opened:
                connection.transport.close()
            return
        self.rest = pieces(self.target.partition(b"?")[0])
        self.write_on()

    def write_on(self) -> None:
        """The next piece, unless the peer reads more slowly than that."""
        if self.paused or self.rest is None or self.transport.is_closing():
            return
        piece = next(self.rest, None)
        if piece is None:
            self.rest = None
            return
        self.transport.write(piece)
        self.loop.call_soon(self.write_on)

    def pause_writing(self) -> None:
        """Enough is waiting to be read."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on with the answer."""
        self.paused = False
        self.write_on()


async def main(port: int) -> None:
    """Serve until nobody holds the other end of standard input."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", port, backlog=1024)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    os.nice(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    asyncio.run(main(int(sys.argv[1])))
