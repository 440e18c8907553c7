"""A loopback server that adds a token to each request, for clients that cannot send one.

It passes all bytes on, to a gateway over TLS and back, and changes nothing but this: each request
gets the field Authorization. So a conformance suite sees the gateway's own answers.
"""

import queue
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import trio


@contextmanager
def token_shim(port: int, gateway: int, context: ssl.SSLContext, token: str) -> Iterator[None]:
    """Serve on `port` until the block ends, in front of the gateway on port `gateway`."""
    stop = trio.Event()
    tokens: queue.Queue[trio.lowlevel.TrioToken] = queue.Queue()

    async def serve(client: trio.SocketStream) -> None:
        server = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", gateway, ssl_context=context, https_compatible=True
        )
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, server, client, nursery.cancel_scope)
            await _Requests(client, server, token).pass_on()
            nursery.cancel_scope.cancel()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_tcp, serve, port)
            tokens.put(trio.lowlevel.current_trio_token())
            await stop.wait()
            nursery.cancel_scope.cancel()

    thread = Thread(target=trio.run, args=(main,))
    thread.start()
    loop = tokens.get(timeout=60)
    try:
        yield
    finally:
        trio.from_thread.run_sync(stop.set, trio_token=loop)
        thread.join()


async def _copy(server: trio.SSLStream, client: trio.SocketStream, end: trio.CancelScope) -> None:
    """Pass the gateway's bytes on until one of the two has gone."""
    try:
        while data := await server.receive_some():
            await client.send_all(data)
    except trio.BrokenResourceError:
        pass
    end.cancel()


class _Requests:
    """The requests of one connection."""

    def __init__(self, client: trio.SocketStream, server: trio.SSLStream, token: str) -> None:
        self._client, self._server, self._token = client, server, token
        self._buffer = b""

    async def pass_on(self) -> None:
        """Pass each request on, with a token, until the client closes the connection."""
        try:
            while True:
                await self._pass_request()
        except (EOFError, trio.BrokenResourceError):
            return

    async def _pass_request(self) -> None:
        head = (await self._until(b"\r\n\r\n"))[:-2]
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.splitlines()[1:])
        }
        added = f"Authorization: Bearer {self._token}\r\n\r\n".encode()
        await self._server.send_all(head + added)
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            size = -1
            while size:
                line = await self._until(b"\r\n")
                size = int(line.partition(b";")[0], 16)
                await self._server.send_all(line + await self._exactly(size + 2))
        elif length := int(fields.get(b"content-length", b"0")):
            await self._server.send_all(await self._exactly(length))

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            await self._fill()
        return await self._exactly(self._buffer.index(mark) + len(mark))

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._fill()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    async def _fill(self) -> None:
        data = await self._client.receive_some()
        if not data:
            raise EOFError
        self._buffer += data
