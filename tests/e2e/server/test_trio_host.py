"""A poller takes its turns around Trio: all that Trio waits for arrives, and no socket starves."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.lowlevel

from crewgate._datapath import trio_host
from crewgate._datapath.socket_poller import SocketPoller
from crewgate._datapath.trio_host import TurnClock

Play = Callable[[SocketPoller], Awaitable[None]]


def run(play: Play) -> None:
    """Play with a running poller, whose clock is that of the run."""

    async def main() -> None:
        poller = SocketPoller()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poller.run)
                await play(poller)
                nursery.cancel_scope.cancel()
        poller.close()

    trio.run(main, clock=TurnClock())


def waiting_readers() -> int:
    return trio.lowlevel.current_statistics().io_statistics.tasks_waiting_read  # type: ignore[union-attr]


async def echo(poller: SocketPoller) -> None:
    """A callback of the poller is called, and wakes this task."""
    near, far = socket.socketpair()
    seen = trio.Event()

    def ready(_: int) -> None:
        near.recv(1)
        seen.set()

    with near, far:
        poller.watch(near.fileno(), ready)
        far.send(b"x")
        await seen.wait()
        poller.forget(near.fileno())


def test_all_that_trio_waits_for_arrives(caplog: pytest.LogCaptureFixture) -> None:
    """Deadlines, threads, sockets of tasks and tasks that a turn wakes; no task awaits epoll."""

    async def play(poller: SocketPoller) -> None:
        await echo(poller)
        await trio.lowlevel.checkpoint()
        assert waiting_readers() == 1  # Trio's own
        await trio.sleep(0.01)
        assert await trio.to_thread.run_sync(lambda: 7) == 7
        near, far = trio.socket.socketpair()
        with near, far:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(near.recv, 1)
                await trio.sleep(0.01)
                await far.send(b"x")
        await echo(poller)

    run(play)
    assert not caplog.records


def test_busy_sockets_and_busy_tasks_share_the_loop() -> None:
    """A socket that is always ready stops no timer, and tasks that always run stop no socket."""

    async def play(poller: SocketPoller) -> None:
        near, far = socket.socketpair()
        calls = 0

        def ready(_: int) -> None:
            nonlocal calls
            calls += 1
            far.send(near.recv(1))

        with near, far:
            poller.watch(near.fileno(), ready)
            far.send(b"x")
            while not calls:
                await trio.lowlevel.checkpoint()
            await trio.sleep(0.01)
            before = calls
            while calls < before + 10:
                await trio.lowlevel.checkpoint()
            poller.forget(near.fileno())

    run(play)


def test_what_a_task_defers_runs_without_a_socket() -> None:
    """Writes and books of a task do not wait for the next turn of a socket."""

    async def play(poller: SocketPoller) -> None:
        for defer in (poller.write_at_end, poller.at_end, poller.when_idle):
            done = trio.Event()
            defer(done.set)
            await done.wait()

    run(play)


def test_an_interrupt_reaches_the_main_task() -> None:
    """Ctrl-C ends a run that waits in a turn, as it ends any run of Trio."""

    async def play(_: SocketPoller) -> None:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        await trio.sleep(20)

    with pytest.raises(BaseExceptionGroup) as caught:
        run(play)
    assert caught.group_contains(KeyboardInterrupt)


def test_an_error_of_the_turns_ends_their_task() -> None:
    """If the turns cannot go on, `run` raises, and Trio's tasks still run."""

    async def main() -> None:
        poller = SocketPoller()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            await echo(poller)
            poller.close()
            await trio.sleep(20)

    with pytest.raises(ExceptionGroup) as caught:
        trio.run(main, clock=TurnClock())
    assert caught.group_contains(OSError)


@pytest.mark.parametrize("missing", ["find_trio_epoll", "reaches_sockets"])
def test_a_trio_of_another_kind_has_the_turns_inside(
    missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the epoll or the calls of the clock are missing, a task waits for the poller's epoll."""

    async def find_nothing(*_: object) -> None:
        await trio.lowlevel.checkpoint()

    async def play(poller: SocketPoller) -> None:
        await echo(poller)
        await trio.lowlevel.checkpoint()
        assert waiting_readers() == 2

    monkeypatch.setattr(trio_host, missing, find_nothing)
    run(play)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
