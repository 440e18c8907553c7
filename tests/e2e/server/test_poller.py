"""Turns over real sockets: who is called when, and that nobody's error stops the others."""

import logging
import socket
import threading
from collections.abc import Callable

import pytest
import trio
import trio.lowlevel

from crewgate import limits
from crewgate._datapath.socket_poller import READABLE, WRITABLE, SocketPoller
from crewgate._datapath.trio_host import TurnClock


@pytest.fixture(params=[True, False], ids=["around", "inside"])
def clock(request: pytest.FixtureRequest) -> TurnClock | None:
    """The clock of the test's Trio run: the turns run around Trio, or inside it."""
    return TurnClock() if request.param else None


class Pair:
    """A watched socket and the one that makes it ready; `seen` are the events of its calls."""

    def __init__(self, poller: SocketPoller, act: Callable[["Pair"], None] | None = None) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.seen: list[int] = []
        self.bulky = False
        self._act = act
        poller.watch(self.near.fileno(), self._ready)

    def _ready(self, events: int) -> bool:
        self.seen.append(events)
        if events & READABLE:
            self.near.recv(100)
        if self._act is not None:
            self._act(self)
        return self.bulky

    def close(self, poller: SocketPoller) -> None:
        poller.forget(self.near.fileno())
        self.near.close()
        self.far.close()


async def _until(holds: Callable[[], object]) -> None:
    with trio.fail_after(20):
        while not holds():
            await trio.lowlevel.checkpoint()


async def test_readable_writable_and_forgotten(clock: TurnClock | None) -> None:
    """A callback has the events that were asked for, and none once it is forgotten."""
    poller = SocketPoller()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        pair = Pair(poller)
        pair.far.send(b"x")
        await _until(lambda: pair.seen == [READABLE])
        poller.change(pair.near.fileno(), READABLE | WRITABLE)
        await _until(lambda: pair.seen[-1] == WRITABLE)
        poller.change(pair.near.fileno(), 0)
        pair.seen.clear()
        pair.far.send(b"x")
        await trio.sleep(0.02)
        assert not pair.seen
        pair.close(poller)
        nursery.cancel_scope.cancel()
    poller.close()


async def test_a_hang_up_is_told_unasked(clock: TurnClock | None) -> None:
    """Who reads nothing for now hears that the other side is gone."""
    poller = SocketPoller()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        pair = Pair(poller, lambda pair: poller.forget(pair.near.fileno()))
        poller.change(pair.near.fileno(), 0)
        pair.far.close()
        await _until(lambda: pair.seen)
        assert not pair.seen[0] & (READABLE | WRITABLE)
        pair.close(poller)
        nursery.cancel_scope.cancel()
    poller.close()


async def test_books_come_before_writes_and_after_all_sockets(clock: TurnClock | None) -> None:
    """Whatever order they are asked in, and also what they ask for themselves."""
    poller = SocketPoller()
    done: list[str] = []

    def act(_: Pair) -> None:
        done.append("socket")
        poller.write_at_end(lambda: done.append("write"))
        poller.at_end(lambda: done.append("books"))

    async with trio.open_nursery() as nursery:
        pairs = [Pair(poller, act) for _ in range(2)]
        for pair in pairs:
            pair.far.send(b"x")
        nursery.start_soon(poller.run)
        await _until(lambda: len(done) == 6)
        assert done == ["socket"] * 2 + ["books"] * 2 + ["write"] * 2
        done.clear()
        poller.write_at_end(lambda: poller.at_end(lambda: done.append("late books")))
        await _until(lambda: done)
        for pair in pairs:
            pair.close(poller)
        nursery.cancel_scope.cancel()
    poller.close()


async def test_an_error_ends_one_socket(
    caplog: pytest.LogCaptureFixture, clock: TurnClock | None
) -> None:
    """It is logged, its socket is called no more, and the others and the turn's end go on."""
    poller = SocketPoller()
    done: list[str] = []

    def fail(_: Pair) -> None:
        raise ValueError("a test's")

    def fail_at_end() -> None:
        raise ValueError("another")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        bad, good = Pair(poller, fail), Pair(poller)
        poller.at_end(fail_at_end)
        poller.at_end(lambda: done.append("books"))
        for pair in (bad, good, bad, good):
            pair.far.send(b"x")
        await _until(lambda: good.seen and done)
        bad.far.send(b"x")
        good.far.send(b"x")
        await _until(lambda: len(good.seen) > 1)
        assert len(bad.seen) == 1
        bad.close(poller)
        good.close(poller)
        nursery.cancel_scope.cancel()
    poller.close()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


async def test_tasks_have_their_turn(clock: TurnClock | None) -> None:
    """A socket that is always ready keeps no task from running."""
    poller = SocketPoller()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        busy = Pair(poller, lambda pair: pair.far.send(b"x") and None)
        busy.far.send(b"x")
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert busy.seen
        busy.close(poller)
        nursery.cancel_scope.cancel()
    poller.close()


async def test_a_turn_is_bounded(monkeypatch: pytest.MonkeyPatch, clock: TurnClock | None) -> None:
    """No more sockets than that are called before what is due at the end is done."""
    monkeypatch.setattr(limits, "turn_events_max", 3)
    poller = SocketPoller()
    order: list[str] = []
    due: list[Callable[[], None]] = []

    def end() -> None:
        order.append("|")
        due.clear()

    def act(_: Pair) -> None:
        order.append("s")
        if not due:
            due.append(end)
            poller.at_end(end)

    pairs = [Pair(poller, act) for _ in range(7)]
    for pair in pairs:
        pair.far.send(b"x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        await _until(lambda: order.count("s") == 7)
        nursery.cancel_scope.cancel()
    for pair in pairs:
        pair.close(poller)
    poller.close()
    assert max(map(len, "".join(order).split("|"))) <= 3


async def test_a_long_turn_is_parted(
    monkeypatch: pytest.MonkeyPatch, clock: TurnClock | None
) -> None:
    """Who is ready when the time of a turn is over has his turn next, after Trio's tasks."""
    monkeypatch.setattr(limits, "turn_seconds_max", 0.0)
    monkeypatch.setattr(limits, "turns_seconds_max", 0.0)
    poller, order = SocketPoller(), list[str]()
    pairs = [Pair(poller, lambda _: order.append("socket")) for _ in range(5)]
    for pair in pairs:
        pair.far.send(b"x")

    async def tick() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            order.append("task")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        nursery.start_soon(tick)
        await _until(lambda: order.count("socket") == len(pairs))
        nursery.cancel_scope.cancel()
    first = order.index("socket")
    assert "task" in order[first : len(order) - order[::-1].index("socket")]
    for pair in pairs:
        pair.close(poller)
    poller.close()


def test_what_was_left_of_a_turn_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor that was closed and given away meanwhile is not called for its old events."""
    monkeypatch.setattr(limits, "turn_seconds_max", 0.0)
    poller = SocketPoller()
    pairs = [Pair(poller) for _ in range(2)]
    for pair in pairs:
        pair.far.send(b"x")
    assert poller.take_turn()
    (called,) = [pair for pair in pairs if pair.seen]
    (left,) = [pair for pair in pairs if not pair.seen]
    descriptor = left.near.fileno()
    left.close(poller)
    heir = Pair(poller)
    assert heir.near.fileno() == descriptor
    assert poller.take_turn()
    assert not poller.take_turn()
    assert not left.seen
    assert not heir.seen
    for pair in (called, heir):
        pair.close(poller)
    poller.close()


def test_a_descriptor_that_was_closed_unforgotten_is_watched_anew() -> None:
    """The next socket with its number is served; a number that is in use is not taken."""
    poller = SocketPoller()
    closed = Pair(poller)
    descriptor = closed.near.fileno()
    closed.near.close()
    heir = Pair(poller)
    assert heir.near.fileno() == descriptor
    heir.far.send(b"x")
    assert poller.take_turn()
    assert (len(closed.seen), len(heir.seen)) == (0, 1)
    with pytest.raises(FileExistsError):
        poller.watch(descriptor, lambda _: None)
    heir.close(poller)
    closed.far.close()
    poller.close()


def test_small_calls_go_before_large_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has always more shares what is left of a turn; who has little waits for one of them."""
    monkeypatch.setattr(limits, "turn_bulk_events_max", 1)
    poller, order = SocketPoller(), list[str]()

    def busy(pair: Pair) -> None:
        order.append("large")
        pair.far.send(b"x")

    large = [Pair(poller, busy) for _ in range(5)]
    for pair in large:
        pair.bulky = True
        pair.far.send(b"x")
    poller.take_turn()  # in which the poller learns that their bodies are large
    small = Pair(poller, lambda _: order.append("small"))
    order.clear()
    for _ in range(10):
        small.far.send(b"x")
        poller.take_turn()
    assert order == ["small", "large"] * 10
    assert {len(pair.seen) for pair in large} == {3}  # each in its turn
    for pair in [*large, small]:
        pair.close(poller)
    poller.close()


def test_a_socket_that_takes_long_waits_behind_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such sockets share the time that a turn has for bulky ones."""
    monkeypatch.setattr(limits, "turn_socket_seconds_max", 0.0)  # each call takes longer
    monkeypatch.setattr(limits, "turn_bulk_seconds_max", 0.0)
    poller, order = SocketPoller(), list[str]()
    slow = [Pair(poller, lambda _: order.append("slow")) for _ in range(3)]
    for pair in slow:
        pair.far.send(b"x")
    poller.take_turn()
    assert order == ["slow"] * 3  # the poller did not know them
    for pair in slow:
        pair.far.send(b"x")
    quick = [Pair(poller, lambda _: order.append("quick")) for _ in range(3)]
    order.clear()
    for pair in quick:
        pair.far.send(b"x")
        poller.take_turn()
    assert order == ["quick", "slow"] * 3
    for pair in [*slow, *quick]:
        pair.close(poller)
    poller.close()


def test_bulky_sockets_stop_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """If another socket becomes ready while bulky ones are called, the turn ends."""
    monkeypatch.setattr(limits, "turn_bulk_look_seconds", 0.0)
    poller, order = SocketPoller(), list[str]()
    small = Pair(poller, lambda _: order.append("small"))

    def busy(_: Pair) -> None:
        order.append("large")
        small.far.send(b"x")

    large = [Pair(poller, busy) for _ in range(3)]
    for _ in range(2):
        order.clear()
        for pair in large:
            pair.bulky = True
            pair.far.send(b"x")
        poller.take_turn()
    for _ in range(2):
        poller.take_turn()
    assert order == ["small", "large"] * 3
    for pair in [*large, small]:
        pair.close(poller)
    poller.close()


def test_a_large_body_that_ends_is_one_of_all_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was counts for its next call and no longer."""
    monkeypatch.setattr(limits, "turn_bulk_events_max", 1)
    poller = SocketPoller()
    pairs = [Pair(poller) for _ in range(2)]
    counts = []
    for bulky in (True, False, False, False):
        for pair in pairs:
            pair.bulky = bulky
            pair.far.send(b"x")
        poller.take_turn()
        counts.append([len(pair.seen) for pair in pairs])
    assert counts == [[1, 1], [2, 1], [3, 2], [4, 3]]  # but for the second turn, both in each
    for pair in pairs:
        pair.close(poller)
    poller.close()


def test_who_waits_behind_small_calls_and_changes_is_asked_anew() -> None:
    """What was ready for somebody that reads no more, or is gone, is not called."""
    poller = SocketPoller()
    paused, gone = Pair(poller), Pair(poller)
    for pair in (paused, gone):
        pair.bulky = True
        pair.far.send(b"x")
    poller.take_turn()

    def act(_: Pair) -> None:
        poller.change(paused.near.fileno(), 0)
        poller.forget(gone.near.fileno())

    small = Pair(poller, act)
    for pair in (paused, gone, small):
        pair.far.send(b"x")
    poller.take_turn()
    assert (len(paused.seen), len(gone.seen), len(small.seen)) == (1, 1, 1)
    poller.change(paused.near.fileno(), READABLE)
    poller.take_turn()
    assert len(paused.seen) == 2
    for pair in (paused, gone, small):
        pair.close(poller)
    poller.close()


@pytest.mark.parametrize("clock", [True], ids=["around"], indirect=True)
@pytest.mark.parametrize("wakes_a_task", [False, True])
async def test_idle_work_waits_for_more_unless_a_task_waits_for_the_loop(
    monkeypatch: pytest.MonkeyPatch, wakes_a_task: bool, clock: TurnClock
) -> None:
    """The poller waits a moment for the next turn, and runs idle work before Trio's tasks."""
    monkeypatch.setattr(limits, "turns_seconds_max", 60.0)
    monkeypatch.setattr(limits, "turn_wait_seconds", 60.0)
    poller, order, awake = SocketPoller(), list[str](), trio.Event()

    def act(pair: Pair) -> None:
        order.append("socket")
        if len(pair.seen) == 1:
            poller.when_idle(lambda: order.append("idle work"))
        if wakes_a_task or len(pair.seen) == 2:
            awake.set()
        else:
            threading.Timer(0.05, pair.far.send, (b"x",)).start()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        for _ in range(20):  # until the turns run around Trio
            await trio.lowlevel.checkpoint()
        pair = Pair(poller, act)
        pair.far.send(b"x")
        await awake.wait()
        sockets = ["socket"] if wakes_a_task else ["socket", "socket"]
        assert order == [*sockets, "idle work"]
        pair.close(poller)
        nursery.cancel_scope.cancel()
    poller.close()
