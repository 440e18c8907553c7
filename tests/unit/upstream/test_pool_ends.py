"""Ends that a pool meets: of its servers, of itself. Every call is carried or told, always."""

import sys

import trio
from fake_pool import HERE, LOST, TOOL, Call, Connection, Names, Opener, running
from trio.testing import wait_all_tasks_blocked

from crewgate import limits
from crewgate.config import Upstream
from crewgate.errors import UpstreamError
from crewgate.upstream import Pool
from crewgate.upstream.call import Fate
from crewgate.upstream.members import Address

THERE = Address(2, ("192.0.2.2", 80))


def _start(pool: Pool, call: Call | None = None) -> Call:
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
            connection.breaks(Fate.LOST)
        assert [call.error for call in calls] == [LOST] * len(calls)


async def test_a_closed_pool_carries_a_last_call_again() -> None:
    """A reload lets a call be tried again, although its connection was the last one."""
    opener = Opener()
    async with running(opener) as pool:
        call = _start(pool)
        await wait_all_tasks_blocked()
        pool.close()
        opener.opened[0].breaks(Fate.UNSEEN)
        await wait_all_tasks_blocked()
        assert call.carriers == opener.opened
        assert len(opener.opened) == 2
        assert call.parted == call.attempts == 1
        opener.opened[1].finishes()
        assert call.error is None


async def test_a_closed_pool_ends_with_its_last_call() -> None:
    """`run` returns once a closed pool is idle, and not before."""
    opener = Opener()
    pool = Pool(Upstream("tools", (TOOL,)), opener, Names(), print)  # type: ignore[arg-type]
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
