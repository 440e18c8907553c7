"""A pool without sockets: connections carry calls until a test says how that ended."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import trio

from crewgate.config import UpstreamConfig, UpstreamOrigin
from crewgate.core.delivery import DeliveryState
from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import Host, SocketAddress
from crewgate.upstream.pool import UpstreamPool

TOOL = UpstreamOrigin("http", "tool.example", 80)
HERE = SocketAddress(2, ("192.0.2.1", 80))
LOST = UpstreamError("the connection broke")


class Call:
    """A caller that remembers its answers."""

    over, repeatable, idempotent = False, True, False
    wait_turn = ("article", b"a")

    def __init__(self) -> None:
        self.attempts = 0
        self.carriers: list[object] = []
        self.error: UpstreamError | None = None
        self.parted = 0

    def begun(self, carrier: object) -> None:
        self.carriers.append(carrier)

    def again(self) -> None:
        self.parted += 1

    def failed(self, error: UpstreamError) -> None:
        self.error = error


class Connection:
    """Carries one call until a test says how it ended."""

    def __init__(self, host: Host, pool: UpstreamPool) -> None:
        self.host = host
        self.reuse_key = None
        self.call: Call | None = None
        self._pool = pool

    @property
    def free_streams(self) -> int:
        return 0 if self.call else 1

    @property
    def is_idle(self) -> bool:
        return self.call is None

    def is_usable(self, caller: Call) -> bool:
        return True

    def carry(self, caller: Call) -> None:
        self.call = caller
        caller.begun(self)

    def sweep(self, now: float) -> None:
        pass

    def close(self) -> None:
        if self.call is None:
            self._pool.ended(self)

    def abort(self, why: str = "") -> None:
        self.breaks(DeliveryState.LOST)

    def breaks(self, fate: DeliveryState) -> None:
        call, self.call = self.call, None
        self._pool.ended(self)
        if call is not None:
            self._pool.broke(self, call, LOST, fate)  # type: ignore[arg-type]

    def finishes(self) -> None:
        self.call = None
        self._pool.left(self, answered=True)
        self._pool.freed(self)


class Pending:
    """A connection that a task opens."""

    def __init__(
        self,
        opener: "Opener",
        host: Host,
        pool: UpstreamPool,
        on_end: "OnEnd",
    ) -> None:
        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._open, partial(opener.open, host, pool), on_end)

    async def _open(self, connect: Callable[[], Awaitable[Connection]], on_end: "OnEnd") -> None:
        with self._scope:
            on_end(self, await connect())

    def sweep(self, now: float) -> None:
        pass

    def cancel(self) -> None:
        self._scope.cancel()


OnEnd = Callable[[Pending, Connection | UpstreamError], None]


class Opener:
    """Connects while `lets`, else hangs."""

    def __init__(self) -> None:
        self.opened: list[Connection] = []
        self.lets = True

    calls_each = 1
    kind = Connection

    def begin(
        self,
        host: Host,
        pool: UpstreamPool,
        on_end: OnEnd,
    ) -> Pending:
        return Pending(self, host, pool, on_end)

    async def open(self, member: Host, pool: UpstreamPool) -> Connection:
        await trio.lowlevel.checkpoint()
        if not self.lets:
            await trio.sleep_forever()
        self.opened.append(self.kind(member, pool))
        return self.opened[-1]


class Names:
    """A resolver that says nothing of itself."""

    def watch(self, *_: object) -> None:
        pass

    unwatch = refresh_now = watch


@asynccontextmanager
async def running(opener: Opener, **settings: object) -> AsyncIterator[UpstreamPool]:
    upstream = msgspec.structs.replace(UpstreamConfig("tools", (TOOL,)), **settings)
    pool = UpstreamPool(upstream, opener, Names())  # type: ignore[arg-type]
    pool.resolved(TOOL, [HERE])
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        yield pool
        nursery.cancel_scope.cancel()
