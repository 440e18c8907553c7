"""The connections of one worker to one upstream: which of them carries a call, and who waits.

A call is given a connection at once if one has room, else it waits for one that is being made.
Deadlines are looked at by `sweep`, not by a timer each, so they are exact to a second. Knows of
HTTP only which class speaks it.
"""

import socket
import ssl
import time
from collections import deque
from typing import TYPE_CHECKING

import trio

from crewgate import limits
from crewgate.config import Origin, Upstream
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.call import Caller
from crewgate.upstream.http1 import HTTP1Connection
from crewgate.upstream.wire import Address, Turns, connect

if TYPE_CHECKING:
    from crewgate._native.permit import Permit


class Pool:
    """The connections of one worker to `upstream`. `context` is what https is checked with.

    `run` makes them; a call that comes before waits for it.
    """

    def __init__(
        self, upstream: Upstream, turns: Turns, context: ssl.SSLContext | None = None
    ) -> None:
        self.upstream = upstream
        self.now = time.monotonic()  # moved on by `sweep`
        self.first_byte_seconds = upstream.first_byte_seconds
        self.idle_seconds = upstream.idle_seconds
        self._turns = turns
        self._context = context
        if upstream.secure and context is None:
            self._context = ssl.create_default_context()
        self._free: list[HTTP1Connection] = []  # those with room; the last is used next
        self._all: set[HTTP1Connection] = set()
        self._opening = 0
        self._waiting: deque[tuple[Caller, float]] = deque()  # with the time when they gave up
        self._nursery: trio.Nursery | None = None
        self._closed = False

    def __repr__(self) -> str:
        return (
            f"<Pool {self.upstream.name}: {len(self._all)} open, {len(self._free)} with room, "
            f"{len(self._waiting)} waiting>"
        )

    def start(self, permit: "Permit", caller: Caller) -> None:  # noqa: ARG002 - see below
        """Carry a call as soon as may be. Nothing is sent for a caller without a permit."""
        self._place(caller)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Make connections, and sweep, until the pool is closed and idle, or cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                self._refill()
                self._end_if_done()
                while True:
                    await trio.sleep(limits.sweep_seconds)
                    self.sweep(time.monotonic())
        finally:
            self._nursery = None
            for connection in list(self._all):
                connection.abort()

    def sweep(self, now: float) -> None:
        """Break off what takes too long at `now` (monotonic), close what was long unused."""
        self.now = now
        for connection in list(self._all):
            connection.sweep(now)
        late = UpstreamTimeoutError(
            f"all {self.upstream.connections} connections to {self.upstream.name} are in use"
        )
        for _ in range(len(self._waiting)):
            caller, until = self._waiting.popleft()
            if caller.over:
                continue
            if now > until:
                caller.failed(late)
            else:
                self._waiting.append((caller, until))

    def close(self) -> None:
        """Close what is not in use, keep nothing from now on, and end when all calls have."""
        self._closed = True
        for connection in list(self._all):
            connection.close()
        self._end_if_done()

    # The connections' side.

    def freed(self, connection: HTTP1Connection) -> None:
        """Give the room to who waits, or keep it."""
        self._free.append(connection)
        while self._free and self._waiting:
            caller, _ = self._waiting.popleft()
            if not caller.over:
                self._place(caller)
        if self._closed and connection in self._free:
            connection.close()

    def ended(self, connection: HTTP1Connection) -> None:
        """Forget a connection; who waits needs another."""
        self._forget(connection)
        self._refill()
        self._end_if_done()

    def broke(self, connection: HTTP1Connection, caller: Caller, error: UpstreamError) -> None:
        """Try again what the server cannot have seen, or may see twice; else tell the caller."""
        self._forget(connection)
        if self._may_repeat(connection, caller):
            caller.attempts += 1
            self._place(caller)
        else:
            caller.failed(error)
        self._refill()
        self._end_if_done()

    # Inside.

    def _place(self, caller: Caller) -> None:
        """Have a call carried now, or wait."""
        while self._free:
            connection = self._free[-1]
            if not connection.is_usable(caller):
                connection.close()
                continue
            if connection.room == 1:
                self._free.pop()
            connection.carry(caller)
            return
        self._waiting.append((caller, self.now + self.upstream.connect_seconds))
        self._refill()

    def _may_repeat(self, connection: HTTP1Connection, caller: Caller) -> bool:
        """Return whether a call may be sent again after its connection broke.

        What has not left the gateway may (RFC 9112 §9.6). So may an idempotent request that met
        the end of a kept connection: the server closed it before it read that (§9.3.1).
        """
        if caller.over or not caller.repeatable or caller.attempts >= limits.upstream_retries_max:
            return False
        if not connection.touched:
            return True
        return caller.idempotent and not connection.fresh and not connection.answer.status

    def _forget(self, connection: HTTP1Connection) -> None:
        self._all.discard(connection)
        if connection in self._free:
            self._free.remove(connection)

    def _refill(self) -> None:
        """Make as many connections as are wanted and allowed."""
        if self._nursery is None:
            return
        while (
            self._opening < len(self._waiting)
            and len(self._all) + self._opening < self.upstream.connections
        ):
            self._opening += 1
            self._nursery.start_soon(self._open)

    async def _open(self) -> None:
        """Make one connection for whoever has waited longest, or tell him why there is none."""
        endpoint = self.upstream.origin
        failure: UpstreamError | None = None
        connection: HTTP1Connection | None = None
        try:
            with trio.move_on_after(self.upstream.connect_seconds):
                sock = await self._connect(endpoint)
                connection = HTTP1Connection(
                    sock, self._turns, self, self.upstream.authority(endpoint).encode(), endpoint
                )
        except UpstreamError as error:
            failure = error
        finally:
            self._opening -= 1
        if connection is None:
            late = f"{endpoint.authority} did not accept a connection in time"
            self._fail_one(failure or UpstreamTimeoutError(late))
            self._end_if_done()
            return
        self._all.add(connection)
        self.freed(connection)

    def _end_if_done(self) -> None:
        idle = not (self._all or self._waiting or self._opening)
        if self._closed and idle and self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def _fail_one(self, error: UpstreamError) -> None:
        while self._waiting:
            caller, _ = self._waiting.popleft()
            if not caller.over:
                caller.failed(error)
                return

    async def _connect(self, endpoint: Origin) -> socket.socket:
        try:
            found = await trio.socket.getaddrinfo(
                endpoint.host, endpoint.port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            raise UpstreamError(f"{endpoint.authority}: {error.strerror}") from error
        failure: OSError | None = None
        name = self.upstream.server_name(endpoint)
        for family, _, _, _, place in found:
            address: Address = (family, place)  # type: ignore[assignment]  # of an inet family
            try:
                return await connect(address, self._context, name)
            except OSError as error:
                failure = error
        reason = failure.strerror if failure else "it has no address"
        raise UpstreamError(f"{endpoint.authority}: {reason}") from failure
