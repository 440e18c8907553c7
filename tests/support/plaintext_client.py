"""A client of a server of plain HTTP/1.1, and such a server for the length of a test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import h11
import trio


class Client:
    """One connection, and what came over it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def ask(
        self, path: str = "/livez", method: str = "GET", **fields: str
    ) -> tuple[int, bytes, dict[bytes, bytes]]:
        """Status, body and fields of the answer."""
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        headers = {"host": "localhost", **fields}
        head = self.http.send(
            h11.Request(method=method, target=path, headers=list(headers.items()))
        )
        end = self.http.send(h11.EndOfMessage())
        await self.send((head or b"") + (end or b""))
        return await self.answer()

    async def answer(self) -> tuple[int, bytes, dict[bytes, bytes]]:
        status, body, found = 0, b"", dict[bytes, bytes]()
        while True:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                self.http.receive_data(await self.stream.receive_some())
            elif isinstance(event, h11.Response):
                status, found = event.status_code, dict(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                assert isinstance(event, h11.EndOfMessage), event
                return status, body, found

    async def rest(self) -> bytes:
        """All bytes until the server ends the connection."""
        return b"".join([part async for part in self.stream])


Connect = Callable[[], Awaitable[Client]]
Run = Callable[[], Awaitable[None]]


@asynccontextmanager
async def served(make: Callable[[trio.SocketListener], Run]) -> AsyncIterator[Connect]:
    """Run what `make` returns for a listener until the end; connect clients, which end with it."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(Client(await trio.open_tcp_stream(host, port)))
        return clients[-1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make(listener))
        yield connect
        for client in clients:
            await client.stream.aclose()
        nursery.cancel_scope.cancel()
