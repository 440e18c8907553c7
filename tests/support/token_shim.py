"""A loopback server that adds a token to each request, for clients that cannot send one.

It passes all bytes on, to a gateway over TLS and back, and changes nothing but this: each request
gets the field Authorization. So a conformance suite sees the gateway's own answers.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

_ENDS = (OSError, asyncio.IncompleteReadError)


@contextmanager
def token_shim(port: int, context: ssl.SSLContext, token: Callable[[], str]) -> Iterator[int]:
    """Serve on the port that this yields, in front of a gateway; `token` gives each token."""
    ready, found = Event(), []

    async def main() -> None:
        stop = asyncio.Event()
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        found.extend((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), stop))
        ready.set()
        await stop.wait()
        server.close()

    async def handle(client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        gateway, request = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="127.0.0.1"
        )
        back = asyncio.create_task(_copy(gateway, answer))
        with suppress(*_ENDS):
            while True:
                await _pass_request(client, request, token)
        request.close()
        await back

    thread = Thread(target=asyncio.run, args=(main(),))
    thread.start()
    ready.wait()
    own_port, loop, stop = found
    try:
        yield own_port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _copy(gateway: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    """Pass the gateway's bytes on until it closes, or until the client has gone."""
    with suppress(OSError):
        while data := await gateway.read(65_536):
            client.write(data)
            await client.drain()
    client.close()


async def _pass_request(
    client: asyncio.StreamReader, gateway: asyncio.StreamWriter, token: Callable[[], str]
) -> None:
    """Pass one request on, with a token.

    Raises:
        IncompleteReadError: The client has closed the connection.
    """
    head = (await client.readuntil(b"\r\n\r\n"))[:-2]
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.splitlines()[1:])
    }
    gateway.write(head + f"Authorization: Bearer {token()}\r\n\r\n".encode())
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        await _pass_chunks(client, gateway)
    else:
        gateway.write(await client.readexactly(int(fields.get(b"content-length", b"0"))))
    await gateway.drain()


async def _pass_chunks(client: asyncio.StreamReader, gateway: asyncio.StreamWriter) -> None:
    size = -1
    while size:
        line = await client.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        gateway.write(line + await client.readexactly(size) + await client.readuntil(b"\r\n"))
