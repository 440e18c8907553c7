"""`python -m bench.cluster.tools PORT`: answers GET with a stream that says something every second.

A POST gets a few bytes at once, and its connection goes on. A GET of /silent gets no answer.

Ends when its standard input does.
"""

import asyncio
import re
import sys

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SMALL = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
SILENT = b"GET /silent "
EVENT = b"data: on\n\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
EVERY_SECONDS = 1.0


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection: small answers, and at most one stream, until the client has gone."""
    try:
        while (head := await reader.readuntil(b"\r\n\r\n")).startswith(b"POST"):
            length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(SMALL)
        if head.startswith(SILENT):
            await reader.read()  # until the gateway closes the connection
            return
        writer.write(HEAD)
        while not writer.is_closing():
            writer.write(CHUNK)
            await writer.drain()
            await asyncio.sleep(EVERY_SECONDS)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    """Serve until nobody holds the other end of standard input."""
    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
