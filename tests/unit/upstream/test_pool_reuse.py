"""Which call may follow which on a kept connection, by the upstream's `reuse`."""

import itertools
import random
from types import SimpleNamespace

import pytest
import trio
from fake_pool import LOST, Call, Connection, Opener, running
from trio.testing import MockClock, wait_all_tasks_blocked

from crewgate import limits
from crewgate.core.delivery import DeliveryState
from crewgate.upstream.pool import UpstreamPool


class Shared(Connection):
    """Carries several calls at once; after `close` it ends once it has none."""

    streams = 4

    def __init__(self, member: object, pool: UpstreamPool) -> None:
        super().__init__(member, pool)  # type: ignore[arg-type]
        self.calls: list[Call] = []
        self.closing = False

    @property
    def free_streams(self) -> int:
        return 0 if self.closing else self.streams - len(self.calls)

    @property
    def is_idle(self) -> bool:
        return not self.calls

    def is_usable(self, caller: Call) -> bool:
        return self.free_streams > 0

    def carry(self, caller: Call) -> None:
        self.calls.append(caller)
        caller.begun(self)

    def close(self) -> None:
        self.closing = True
        if not self.calls:
            self._pool.ended(self)

    def abort(self, why: str = "") -> None:
        self._pool.ended(self)

    def breaks(self, fate: DeliveryState) -> None:
        self.closing, calls, self.calls = True, self.calls, []
        self._pool.ended(self)
        for call in calls:
            self._pool.broke(self, call, LOST, fate)  # type: ignore[arg-type]

    def ends(self, call: Call) -> None:
        was_full = self.free_streams == 0
        self.calls.remove(call)
        self._pool.left(self, answered=True)
        if self.closing and not self.calls:
            self._pool.ended(self)
        elif was_full and not self.closing:
            self._pool.freed(self)


def _permit(branch: bytes, crew: str = "article") -> SimpleNamespace:
    return SimpleNamespace(grant=SimpleNamespace(caller=crew, branch_key=branch))


def _ask(pool: UpstreamPool, branch: bytes, crew: str = "article") -> Call:
    call = Call()
    pool.start(_permit(branch, crew), call)  # type: ignore[arg-type]
    return call


async def _answered(pool: UpstreamPool, branch: bytes, crew: str = "article") -> object:
    """One whole call; what carried it."""
    call = _ask(pool, branch, crew)
    await wait_all_tasks_blocked()
    (connection,) = call.carriers
    connection.finishes()  # type: ignore[attr-defined]
    return connection


async def test_connections_are_everybodys_unless_it_is_said() -> None:
    """Without `reuse`, a branch's call follows another crew's."""
    async with running(Opener()) as pool:
        assert await _answered(pool, b"a") is await _answered(pool, b"b", "sales")


async def test_a_crew_keeps_its_connections_to_itself() -> None:
    """`reuse = "crew"`: branches of one crew share; another crew has its own."""
    async with running(Opener(), reuse="crew") as pool:
        mine = await _answered(pool, b"a")
        assert await _answered(pool, b"b") is mine
        theirs = await _answered(pool, b"c", "sales")
        assert theirs is not mine
        assert await _answered(pool, b"a") is mine
        assert await _answered(pool, b"d", "sales") is theirs


async def test_a_branch_keeps_its_connections_to_itself() -> None:
    """`reuse = "branch"`."""
    async with running(Opener(), reuse="branch") as pool:
        mine = await _answered(pool, b"a")
        assert await _answered(pool, b"b") is not mine
        assert await _answered(pool, b"a") is mine


async def test_an_idle_connection_of_others_makes_room() -> None:
    """Where all connections are others', the one whose branch called longest ago is closed."""
    opener = Opener()
    async with running(opener, connections=2, reuse="branch") as pool:
        first, second = await _answered(pool, b"a"), await _answered(pool, b"b")
        assert await _answered(pool, b"a") is first
        third = await _answered(pool, b"c")
        assert third is not second
        assert await _answered(pool, b"a") is first
        assert len(opener.opened) == 3


async def test_no_branch_waits_for_all_calls_of_another() -> None:
    """With one connection for all, branches take turns, and none meets what another left."""
    opener = Opener()
    async with running(opener, connections=1, reuse="branch") as pool:
        calls = [(branch, _ask(pool, branch)) for branch in (b"a", b"a", b"a", b"a", b"b", b"b")]
        served = []
        for _ in calls:
            await wait_all_tasks_blocked()
            ((branch, call),) = [
                (branch, call)
                for branch, call in calls
                if call.carriers and call.carriers[-1].call is call  # type: ignore[attr-defined]
            ]
            served.append(branch)
            call.carriers[-1].finishes()  # type: ignore[attr-defined]
        assert served == [b"a", b"b", b"a", b"b", b"a", b"a"]
        assert not any(call.error for _, call in calls)


class Streams(Opener):
    calls_each = Shared.streams

    async def open(self, member: object, pool: UpstreamPool) -> Shared:  # type: ignore[override]
        await trio.lowlevel.checkpoint()
        connection = Shared(member, pool)
        self.opened.append(connection)
        return connection


async def _breached(pool: UpstreamPool, count: int) -> list[Call]:
    """So many GETs whose common connection has ended, as its server broke HTTP/2's rules."""
    calls = [_ask(pool, b"a") for _ in range(count)]
    for call in calls:
        call.idempotent = True
    await wait_all_tasks_blocked()
    (connection,) = {call.carriers[0] for call in calls}
    connection.breaks(DeliveryState.BREACHED)  # type: ignore[attr-defined]
    await wait_all_tasks_blocked()
    return calls


async def test_calls_that_met_a_breach_are_repeated_each_on_a_connection_of_its_own() -> None:
    """The one whose answer it was breaks no other call's connection, and is not tried again."""
    opener = Streams()
    async with running(opener) as pool:
        guilty, beside = await _breached(pool, 2)
        later = _ask(pool, b"a")
        await wait_all_tasks_blocked()
        second = [call.carriers[-1] for call in (guilty, beside, later)]
        assert len(set(second)) == 3
        second[0].breaks(DeliveryState.BREACHED)  # type: ignore[attr-defined]
        assert (guilty.error, beside.error, later.error) == (LOST, None, None)
        second[1].ends(beside)  # type: ignore[attr-defined]
        await wait_all_tasks_blocked()
        assert _ask(pool, b"a").carriers == [second[2]]
        assert pool._pools.by_connection.keys() == {second[2]}  # those of one call ended with it


async def test_calls_that_met_a_breach_wait_for_each_other_where_connections_are_few() -> None:
    """Each goes on when the one before it has ended."""
    async with running(Streams(), connections=1) as pool:
        calls = await _breached(pool, 3)
        served = []
        for _ in calls:
            (call,) = [call for call in calls if len(call.carriers) == 2 and call not in served]
            call.carriers[-1].ends(call)  # type: ignore[attr-defined]
            served.append(call)
            await wait_all_tasks_blocked()
        assert not any(call.error for call in calls)


async def test_a_call_that_met_a_breach_and_may_not_be_repeated_fails() -> None:
    """A POST: its server may have seen it."""
    async with running(Streams()) as pool:
        call = _ask(pool, b"a")
        await wait_all_tasks_blocked()
        call.carriers[0].breaks(DeliveryState.BREACHED)  # type: ignore[attr-defined]
        assert (call.error, len(call.carriers)) == (LOST, 1)


async def test_a_connection_that_carries_nothing_makes_room_before_one_with_streams() -> None:
    """Whoever used it last: the call that waits need not wait for others' calls to end."""
    opener = Streams()
    async with running(opener, connections=2, reuse="branch") as pool:
        busy, short = _ask(pool, b"a"), _ask(pool, b"b")
        await wait_all_tasks_blocked()
        idle = short.carriers[0]
        idle.ends(short)  # type: ignore[attr-defined]
        waits = _ask(pool, b"c")
        await wait_all_tasks_blocked()
        assert waits.carriers == [opener.opened[2]]
        assert [each.closing for each in opener.opened] == [  # type: ignore[attr-defined]
            each is idle for each in opener.opened
        ]
        assert busy.carriers[0].calls == [busy]  # type: ignore[attr-defined]


async def test_one_that_has_come_to_rest_makes_room_although_another_is_to() -> None:
    """Its own branch's calls may last as long as they like."""
    opener = Streams()
    async with running(opener, connections=2, reuse="branch") as pool:
        _, short = _ask(pool, b"a"), _ask(pool, b"b")
        await wait_all_tasks_blocked()
        first = _ask(pool, b"c")
        await wait_all_tasks_blocked()
        assert not first.carriers  # the first one's connection is closed once its call is over
        short.carriers[0].ends(short)  # type: ignore[attr-defined]
        second = _ask(pool, b"c")
        await wait_all_tasks_blocked()
        assert first.carriers == second.carriers == [opener.opened[2]]


async def test_streams_of_one_connection_are_one_branchs() -> None:
    """HTTP/2: many calls at once on a connection, all of one branch; others have their own."""
    opener = Streams()
    async with running(opener, connections=2, reuse="branch") as pool:
        mine = [_ask(pool, b"a") for _ in range(3)]
        theirs = [_ask(pool, b"b") for _ in range(2)]
        await wait_all_tasks_blocked()
        assert len(opener.opened) == 2
        assert {call.carriers[0] for call in mine}.isdisjoint(call.carriers[0] for call in theirs)
        # Both are in use: the third branch has to wait until one of them carries nothing more,
        waits = _ask(pool, b"c")
        await wait_all_tasks_blocked()
        assert not waits.carriers
        # and the next call of that branch has to wait in turn.
        (closing,) = [connection for connection in opener.opened if connection.closing]
        again = _ask(pool, b"a" if closing.calls[0] in mine else b"b")
        for call in list(closing.calls):
            closing.ends(call)
        await wait_all_tasks_blocked()
        assert waits.carriers == [opener.opened[2]]
        assert not again.carriers


async def test_calls_of_many_branches_are_all_carried_each_on_its_own() -> None:
    """However they come and go, with fewer connections than branches: no call is forgotten."""
    chance = random.Random(7)
    opener = Opener()
    async with running(opener, connections=3, reuse="branch") as pool:
        calls: list[tuple[bytes, Call]] = []
        for _ in range(300):
            if chance.random() < 0.6:
                branch = b"%d" % chance.randrange(6)
                calls.append((branch, _ask(pool, branch)))
            else:
                await wait_all_tasks_blocked()
                busy = [each for each in opener.opened if each.call is not None]
                if busy:
                    chance.choice(busy).finishes()
        for _ in itertools.takewhile(lambda _: any(o.call for o in opener.opened), range(999)):
            for connection in list(opener.opened):
                if connection.call is not None:
                    connection.finishes()
            await wait_all_tasks_blocked()
        carried: dict[object, set[bytes]] = {}
        for branch, call in calls:
            assert len(call.carriers) == 1
            carried.setdefault(call.carriers[0], set()).add(branch)
        assert all(len(branches) == 1 for branches in carried.values())


class Resting(Connection):
    """Says after each call that it is to rest."""

    def finishes(self) -> None:
        self.call = None
        self._pool.left(self, answered=True)
        self._pool.rests(self)


class RestingOpener(Opener):
    async def open(self, member: object, pool: UpstreamPool) -> Connection:
        await trio.lowlevel.checkpoint()
        self.opened.append(Resting(member, pool))  # type: ignore[arg-type]
        return self.opened[-1]


async def test_a_connection_that_rests_is_not_used_until_it_has(autojump_clock: MockClock) -> None:
    """The next call has another one; later it is as good as any."""
    opener = RestingOpener()
    async with running(opener) as pool:
        first = await _answered(pool, b"a")
        assert await _answered(pool, b"a") is not first
        await trio.sleep(limits.upstream_rest_seconds * 1.5)
        await _answered(pool, b"a")
        assert len(opener.opened) == 2


async def test_nobody_waits_for_a_connection_to_have_rested() -> None:
    """Where there may be no further connection, one that rests is closed for a new one."""
    opener = RestingOpener()
    async with running(opener, connections=1) as pool:
        for _ in range(5):
            await _answered(pool, b"a")
        assert len(opener.opened) == 5


@pytest.mark.parametrize("retry", [True, False])
async def test_a_call_that_met_what_another_left_is_carried_anew(*, retry: bool) -> None:
    """It was not written, and is no retry: neither is a budget spent nor is anything refused."""
    opener = Opener()
    async with running(opener, retry=retry, retry_share=0.0) as pool:
        for _ in range(limits.retry_floor_per_second * limits.retry_window_seconds + 5):
            call = _ask(pool, b"a")
            await wait_all_tasks_blocked()
            call.carriers[-1].breaks(DeliveryState.STALE)  # type: ignore[attr-defined]
            await wait_all_tasks_blocked()
            call.carriers[-1].finishes()  # type: ignore[attr-defined]
            assert (len(call.carriers), call.error, call.attempts) == (2, None, 0)
        assert pool.hosts.take(pool.now) is not None
