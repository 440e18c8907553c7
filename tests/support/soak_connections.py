"""How the callers of a soak reach the gateway: kept HTTP/1.1 connections, shared HTTP/2 ones.

Connections are replaced after some use, so that handshakes go on all the time.
"""

import random
import time

import trio
from soak_http import Connection, Trust
from soak_http1 import HTTP1
from soak_http2 import HTTP2
from soak_waiting import until

SHARED = 4
USES = 250
IDLE_SECONDS = 30.0


class Reach:
    """The connections of all callers; HTTP/2 ones are read in `nursery`."""

    def __init__(self, trust: Trust, nursery: trio.Nursery, choose: random.Random) -> None:
        self.trust = trust
        self.opened = 0
        self._nursery = nursery
        self._choose = choose
        self._idle: list[tuple[HTTP1, float, int]] = []
        self._uses: dict[Connection, int] = {}
        self._shared: list[HTTP2 | None] = [None] * SHARED
        self._opening = [trio.Lock() for _ in range(SHARED)]

    async def take(self, *, own: bool = False) -> Connection:
        """A connection for one request; `own` asks for one that nobody shares. TornError."""
        if own or self._choose.random() < 0.4:
            return await self._take_own()
        return await self._take_shared(self._choose.randrange(SHARED))

    async def give_back(self, connection: Connection) -> None:
        """End a use."""
        if isinstance(connection, HTTP2):
            return
        uses = self._uses.pop(connection, 0) + 1
        if isinstance(connection, HTTP1) and connection.usable and uses < USES:
            self._idle.append((connection, time.monotonic(), uses))
        else:
            await connection.close()

    async def close(self) -> None:
        """Hang up everything."""
        for connection, _, _ in self._idle:
            await connection.close()
        for shared in self._shared:
            if shared is not None:
                await shared.close()

    async def _take_own(self) -> Connection:
        while self._idle:
            connection, since, uses = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS:
                self._uses[connection] = uses
                return connection
            await connection.close()
        self.opened += 1
        return await HTTP1.open(self.trust)

    async def _take_shared(self, place: int) -> Connection:
        async with self._opening[place]:
            connection = self._shared[place]
            if connection is not None and connection.usable and self._uses[connection] < USES:
                self._uses[connection] += 1
                return connection
            self._shared[place] = None
            if connection is not None:
                del self._uses[connection]
                self._nursery.start_soon(_close_when_idle, connection)
            self.opened += 1
            connection = await HTTP2.open(self.trust, self._nursery)
            self._shared[place] = connection
            self._uses[connection] = 1
            return connection


async def _close_when_idle(connection: HTTP2) -> None:
    """Let what is under way end first."""
    await until(lambda: not connection.asks, 0.1)
    await connection.close()
