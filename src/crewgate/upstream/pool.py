"""Kept connections to one tool's server: the most recent first, bounded, swept once a second.

Refuses to know requests. One worker has one pool an upstream; deadlines are looked at by `sweep`,
not by a timer each, so they are exact to a second.
"""

import ssl
import time
from typing import TYPE_CHECKING

import trio

from crewgate import limits
from crewgate.config import Origin
from crewgate.errors import UpstreamTimeoutError
from crewgate.upstream.call import Call, Head
from crewgate.upstream.response import Response
from crewgate.upstream.wire import Wire, connect

if TYPE_CHECKING:
    from crewgate._native.permit import Permit


class Connection:
    """A connection and the answer that is read from it."""

    __slots__ = ("deadline", "overdue", "response", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.response = Response()
        self.deadline = 0.0
        self.overdue = False


class Pool:
    """The connections of one worker to `origin`. `context` is what https is checked with."""

    def __init__(self, origin: Origin, *, context: ssl.SSLContext | None = None) -> None:
        self.origin = origin
        self.authority = origin.authority.encode()
        self.now = time.monotonic()  # moved on by `sweep`
        self._context = context
        if origin.scheme == "https" and context is None:
            self._context = ssl.create_default_context()
        self._free = trio.Semaphore(limits.upstream_connections_max)
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Pool {self.origin.authority} {len(self._busy)} busy, {len(self._idle)} idle>"

    def call(self, permit: "Permit", head: Head) -> Call:
        """Return a call that `permit` allows; nothing is sent before its `begin`."""
        return Call(permit, self, head)

    async def take(self, *, head_only: bool) -> Connection:
        """Return a connection that was alive a moment ago. UpstreamError if none can be made."""
        await self._admit()
        try:
            connection = self._reuse() or Connection(await connect(self.origin, self._context))
        except BaseException:
            self._free.release()
            raise
        connection.response.reset(head_only=head_only)
        self._busy.add(connection)
        return connection

    async def replace(self, dead: Connection) -> Connection:
        """Return a new connection in the place of one that is dead. UpstreamError as `take`."""
        dead.wire.close()
        self._busy.discard(dead)
        head_only = dead.response.head_only
        try:
            connection = Connection(await connect(self.origin, self._context))
        except BaseException:
            self._free.release()
            raise
        connection.response.reset(head_only=head_only)
        self._busy.add(connection)
        return connection

    def give_back(self, connection: Connection, *, reusable: bool) -> None:
        """End a connection's use."""
        self._busy.discard(connection)
        self._free.release()
        if reusable and not self._closed and not connection.overdue:
            # Idle ones are used first, so that all together are never more than may be busy; a
            # bound of their own would have a load above it open a connection a call.
            connection.deadline = self.now + limits.upstream_keep_seconds
            self._idle.append(connection)
        else:
            connection.wire.close()

    def sweep(self, now: float) -> None:
        """Break off what takes too long at `now` (monotonic), close what was long unused."""
        self.now = now
        for connection in self._busy:
            if connection.deadline and now > connection.deadline:
                connection.overdue = True
                connection.wire.break_off()
        kept = [connection for connection in self._idle if now <= connection.deadline]
        for connection in self._idle:
            if now > connection.deadline:
                connection.wire.close()
        self._idle = kept

    def close(self) -> None:
        """Close what is not in use, and keep nothing from now on."""
        self._closed = True
        for connection in self._idle:
            connection.wire.close()
        self._idle.clear()

    def _reuse(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.wire.is_stale():
                return connection
            connection.wire.close()
        return None

    async def _admit(self) -> None:
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            with trio.move_on_after(limits.upstream_connect_seconds_max):
                await self._free.acquire()
                return
            raise UpstreamTimeoutError(
                f"all {limits.upstream_connections_max} connections to "
                f"{self.origin.authority} are in use"
            ) from None
