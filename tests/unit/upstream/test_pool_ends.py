"""Ends that a pool meets: of its servers, of itself. Every call is carried or told, always."""

import sys

import trio
from fake_pool import HERE, LOST, TOOL, Call, Connection, Names, Opener, running
from trio.testing import wait_all_tasks_blocked

from crewgate import limits
from crewgate.config import UpstreamConfig
from crewgate.core.delivery import DeliveryState
from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import SocketAddress
from crewgate.upstream.pool import UpstreamPool

THERE = SocketAddress(2, ("192.0.2.2", 80))


def _start(pool: UpstreamPool, call: Call | None = None) -> Call:
    call = call or Call()
    pool.start(None, call)  # type: ignore[arg-type]
    return call


async def test_a_server_that_dies_after_it_left_the_names_fails_every_call() -> None:
    """The failure that gives up a server of which nothing is left is told like any other."""
    opener = Opener()
    async with running(opener) as pool:
        calls = [_start(pool) for _ in range(limits.breaker_failures)]
        await wait_all_tasks_blocked()
        pool.resolved(TOOL, [THERE])
        for connection in list(opener.opened):
            connection.breaks(DeliveryState.LOST)
        assert [call.error for call in calls] == [LOST] * len(calls)


async def test_a_pool_is_in_trouble_while_no_server_is_called() -> None:
    """One of two is enough; the trouble is the last error, and ends with a good probe."""
    opener = Opener()
    async with running(opener) as pool:
        pool.resolved(TOOL, [HERE, THERE])
        here, there = pool.hosts
        assert pool.unavailable_reason == ""
        for member in (here, there):
            assert pool.unavailable_reason == ""
            for _ in range(limits.breaker_failures):
                pool._record_failure(member, LOST)
        assert pool.unavailable_reason == f"{TOOL.authority} at 192.0.2.2: {LOST}"
        there.breaker.begin_probe()
        there.breaker.probed(0.0, 1.0, good=True)
        assert pool.unavailable_reason == ""


async def test_a_server_is_named_once_in_its_trouble(log_lines: list[str]) -> None:
    """The connector's error has the name too."""
    async with running(Opener()) as pool:
        pool.resolved(TOOL, [HERE])
        (here,) = pool.hosts
        for _ in range(limits.breaker_failures):
            pool._record_failure(here, UpstreamError(f"{here.name}: Connection refused"))
        assert pool.unavailable_reason == f"{here.name}: Connection refused"
    label = f"upstream {pool.upstream.name}: server {here.name}"
    assert log_lines == [f"{label} gets no calls until probes succeed: Connection refused"]


async def test_a_pool_whose_names_have_no_address_is_in_trouble() -> None:
    """Until they have; before they were asked for nothing is known."""
    pool = UpstreamPool(UpstreamConfig("tools", (TOOL,)), Opener(), Names())  # type: ignore[arg-type]
    assert pool.unavailable_reason == ""
    pool.unresolved(TOOL, UpstreamError("tools: no such name"))
    assert pool.unavailable_reason == "tools: no such name"
    pool.resolved(TOOL, [HERE])
    pool.unresolved(TOOL, UpstreamError("tools: no such name"))
    assert pool.unavailable_reason == ""


async def test_a_closed_pool_carries_a_last_call_again() -> None:
    """A reload lets a call be tried again, although its connection was the last one."""
    opener = Opener()
    async with running(opener) as pool:
        call = _start(pool)
        await wait_all_tasks_blocked()
        pool.close()
        opener.opened[0].breaks(DeliveryState.UNSEEN)
        await wait_all_tasks_blocked()
        assert call.carriers == opener.opened
        assert len(opener.opened) == 2
        assert call.parted == call.attempts == 1
        opener.opened[1].finishes()
        assert call.error is None


async def test_a_closed_pool_ends_with_its_last_call() -> None:
    """`run` returns once a closed pool is idle, and not before."""
    opener = Opener()
    pool = UpstreamPool(UpstreamConfig("tools", (TOOL,)), opener, Names())  # type: ignore[arg-type]
    pool.resolved(TOOL, [HERE])
    ended = trio.Event()

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        await pool.run(task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        _start(pool)
        await wait_all_tasks_blocked()
        pool.close()
        await wait_all_tasks_blocked()
        assert not ended.is_set()
        opener.opened[0].finishes()
        await ended.wait()


async def test_whoever_waits_when_a_pool_ends_is_told() -> None:
    """A call that waits for a connection is not forgotten with the pool."""
    opener = Opener()
    opener.lets = False
    async with running(opener) as pool:
        call = _start(pool)
        await wait_all_tasks_blocked()
    assert isinstance(call.error, UpstreamError)


async def test_a_queue_of_calls_that_end_at_once_is_no_deeper_than_one() -> None:
    """Calls that are over as soon as they begin give their connection on without a stack of it."""

    class Brief(Call):
        def begun(self, carrier: Connection) -> None:  # type: ignore[override]
            super().begun(carrier)
            carrier.finishes()

    opener = Opener()
    async with running(opener, connections=1) as pool:
        calls = [_start(pool, Brief()) for _ in range(sys.getrecursionlimit())]
        await wait_all_tasks_blocked()
        assert all(call.carriers for call in calls)


class Broken(Connection):
    """Raises what nobody expects: where it is swept, and where it is to carry a call."""

    def sweep(self, now: float) -> None:
        raise RuntimeError("swept")

    def carry(self, caller: Call) -> None:
        raise RuntimeError("begun")

    def abort(self, why: str = "") -> None:
        super().abort(why)
        raise RuntimeError("ended")


async def test_a_connection_that_fails_by_our_own_error_is_swept_alone() -> None:
    """Others are swept all the same, and the pool goes on without it."""
    opener = Opener()
    async with running(opener) as pool:
        calls = [_start(pool) for _ in range(3)]
        await wait_all_tasks_blocked()
        swept = []
        first, second, third = opener.opened
        second.__class__ = Broken
        for connection in (first, third):
            connection.sweep = swept.append  # type: ignore[method-assign]
        pool.sweep(pool.now)
        assert len(swept) == 2
        assert [bool(call.error) for call in calls] == [False, True, False]


async def test_a_new_connection_that_fails_by_our_own_error_ends_alone() -> None:
    """The pool that made it goes on: the next call has a connection."""
    opener = Opener()
    opener.kind = Broken
    async with running(opener) as pool:
        _start(pool)
        await wait_all_tasks_blocked()
        opener.kind = Connection
        call = _start(pool)
        await wait_all_tasks_blocked()
        assert call.carriers == [opener.opened[-1]]


async def test_a_call_waits_as_long_as_is_said_whenever_it_came() -> None:
    """Half a second is half a second also shortly before the sweeper looks."""
    opener = Opener()
    opener.lets = False
    async with running(opener, connect_seconds=0.5) as pool:
        pool.sweep(pool.now - 0.9)
        begun = pool.now
        call = _start(pool)
        pool.sweep(begun + 0.4)
        assert call.error is None
        pool.sweep(pool.now + 0.6)
        assert call.error is not None


async def test_a_call_whose_kept_connection_ended_goes_to_another_server() -> None:
    """The one that closed it may be about to end, and is asked again only if it is the only one."""
    for addresses in ([HERE], [HERE, THERE]):
        async with running(Opener()) as pool:
            pool.resolved(TOOL, addresses)
            call, *_ = calls = [Call() for _ in addresses]
            call.idempotent = True
            for each in calls:  # one on each server, so that the other one has more
                _start(pool, each)
            await wait_all_tasks_blocked()
            call.carriers[0].breaks(DeliveryState.MET_ITS_END)  # type: ignore[attr-defined]
            await wait_all_tasks_blocked()
            first, second = (carrier.host for carrier in call.carriers)  # type: ignore[attr-defined]
            assert call.error is None
            assert (first is second) == (len(addresses) == 1)


class Failing(Call):
    """Raises what nobody expects, whatever it is told."""

    def begun(self, carrier: object) -> None:
        raise RuntimeError("begun")

    def failed(self, error: UpstreamError) -> None:
        raise RuntimeError("failed") from error


async def test_a_call_that_fails_by_our_own_error_keeps_no_other_from_being_placed() -> None:
    """Whoever waits for an address, or for a connection until a deadline."""
    opener = Opener()
    opener.lets = False
    pool = UpstreamPool(UpstreamConfig("tools", (TOOL,)), opener, Names())  # type: ignore[arg-type]
    for calls in ([_start(pool, Failing()), _start(pool)], [_start(pool, Failing()), _start(pool)]):
        pool.sweep(pool.now + limits.upstream_connect_seconds_max + 1)
        assert calls[1].error is not None
        pool.resolved(TOOL, [HERE])
