"""Names and their addresses over time: on a virtual clock, and with real threads that hang."""

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from crewgate import limits
from crewgate.config import UpstreamOrigin
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.balancer import SocketAddress
from crewgate.upstream.resolver import Resolver, SystemResolver, literal

TOOLS = UpstreamOrigin("http", "tools.example", 8000)
OTHER = UpstreamOrigin("http", "other.example", 8000)


def _at(*numbers: int) -> tuple[SocketAddress, ...]:
    return tuple(SocketAddress(socket.AF_INET, (f"10.0.0.{number}", 8000)) for number in numbers)


class Names:
    """A resolver's source that answers what it is told to, and counts the questions."""

    def __init__(self) -> None:
        self.answers: dict[str, Iterable[SocketAddress] | Exception] = {}
        self.hang: dict[str, trio.Event] = {}
        self.asked: list[tuple[float, str]] = []

    async def __call__(self, host: str, port: int) -> Iterable[SocketAddress]:
        self.asked.append((trio.current_time(), host))
        await trio.lowlevel.checkpoint()
        if host in self.hang:
            await self.hang[host].wait()
        answer = self.answers[host]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def times(self, host: str) -> list[float]:
        return [time for time, asked in self.asked if asked == host]


class Seen:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.addresses: list[tuple[UpstreamOrigin, tuple[SocketAddress, ...]]] = []
        self.errors: list[UpstreamError] = []

    def resolved(self, endpoint: UpstreamOrigin, addresses: tuple[SocketAddress, ...]) -> None:
        self.addresses.append((endpoint, addresses))

    def unresolved(self, endpoint: UpstreamOrigin, error: UpstreamError) -> None:
        self.errors.append(error)


@asynccontextmanager
async def _running(ask: Callable, jitter: float = 1.0) -> AsyncIterator[Resolver]:
    resolver = Resolver(ask, lambda: jitter)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolver.run)
        await trio.testing.wait_all_tasks_blocked()
        yield resolver
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", SocketAddress(socket.AF_INET, ("10.0.0.1", 8000))),
        ("::1", SocketAddress(socket.AF_INET6, ("::1", 8000, 0, 0))),
        ("tools.example", None),
        ("10.0.0.1.example", None),
    ],
)
def test_literals_are_known(host: str, address: SocketAddress | None) -> None:
    """An address is no name: nobody is asked for it."""
    assert literal(UpstreamOrigin("http", host, 8000)) == address


def test_a_literal_is_told_at_once() -> None:
    """Even before the resolver runs, and no question is ever asked."""
    names, seen = Names(), Seen()
    resolver = Resolver(names)
    endpoint = UpstreamOrigin("http", "10.0.0.1", 8000)
    resolver.watch(endpoint, seen)
    resolver.refresh_now(endpoint)
    resolver.unwatch(endpoint, seen)
    assert (seen.addresses, names.asked) == ([(endpoint, _at(1))], [])


async def test_a_name_is_asked_for_again_and_again(autojump_clock: trio.testing.MockClock) -> None:
    """Changed addresses are told, in order, the same ones in another order are no change."""
    names, seen = Names(), Seen()
    names.answers["tools.example"] = _at(2, 1)
    async with _running(names) as resolver:
        resolver.watch(TOOLS, seen)
        await trio.sleep(limits.resolve_seconds / 2)
        names.answers["tools.example"] = _at(1, 2, 2)
        await trio.sleep(limits.resolve_seconds)
        names.answers["tools.example"] = _at(3)
        await trio.sleep(limits.resolve_seconds)
    assert seen.addresses == [(TOOLS, _at(1, 2)), (TOOLS, _at(3))]
    assert names.times("tools.example") == [0.0, 10.0, 20.0]


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 5.0), (1.0, 10.0)])
async def test_jitter_spreads_the_questions(
    jitter: float, seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    """Workers that began together do not ask together for ever."""
    names = Names()
    names.answers["tools.example"] = _at(1)
    async with _running(names, jitter) as resolver:
        resolver.watch(TOOLS, Seen())
        await trio.sleep(3 * seconds + 0.1)
    assert names.times("tools.example") == [0.0, seconds, 2 * seconds, 3 * seconds]


@pytest.mark.parametrize(
    "failure",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        UnicodeError("label too long"),
        RuntimeError("can't start new thread"),
        (),
    ],
)
async def test_a_failure_keeps_the_addresses(
    failure: Exception | tuple[()], autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever watches is told each failure, and whoever comes later still the last good answer."""
    names, seen, late = Names(), Seen(), Seen()
    names.answers["tools.example"] = _at(1)
    async with _running(names) as resolver:
        resolver.watch(TOOLS, seen)
        await trio.sleep(1)
        names.answers["tools.example"] = failure
        await trio.sleep(2 * limits.resolve_seconds)
        resolver.watch(TOOLS, late)
    assert seen.addresses == late.addresses == [(TOOLS, _at(1))]
    assert len(seen.errors) == 2
    assert all(str(error).startswith("tools.example: ") for error in seen.errors)


async def test_a_call_that_waits_has_the_name_asked_soon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After a failure the next question comes when it is wanted, but not before a second."""
    names, seen = Names(), Seen()
    names.answers["tools.example"] = socket.gaierror(socket.EAI_AGAIN, "try again")
    async with _running(names) as resolver:
        resolver.watch(TOOLS, seen)
        await trio.sleep(0.1)
        names.answers["tools.example"] = _at(1)
        for _ in range(10):
            resolver.refresh_now(TOOLS)
        await trio.sleep(3)
        resolver.refresh_now(TOOLS)
        await trio.sleep(0.1)
        resolver.refresh_now(OTHER)
    assert names.times("tools.example") == [0.0, 1.0, 3.1]
    assert (len(seen.errors), seen.addresses) == (1, [(TOOLS, _at(1))])


async def test_a_question_that_hangs_is_told_and_not_asked_twice(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Who waits learns it after some seconds; an answer that comes at last is taken."""
    names, seen = Names(), Seen()
    hang = names.hang["tools.example"] = trio.Event()
    names.answers["tools.example"] = _at(1)
    async with _running(names) as resolver:
        resolver.watch(TOOLS, seen)
        await trio.sleep(limits.resolve_seconds_max + 0.1)
        assert [type(error) for error in seen.errors] == [UpstreamTimeoutError]
        resolver.refresh_now(TOOLS)
        await trio.sleep(100)
        assert (len(names.asked), seen.addresses) == (1, [])
        hang.set()
        await trio.sleep(0.1)
    assert (len(seen.errors), seen.addresses) == (1, [(TOOLS, _at(1))])


async def test_one_name_does_not_wait_for_another(autojump_clock: trio.testing.MockClock) -> None:
    """While one hangs the other is answered, and both are told to their own watchers."""
    names, tools, other = Names(), Seen(), Seen()
    names.hang["tools.example"] = trio.Event()
    names.answers["other.example"] = _at(7)
    async with _running(names) as resolver:
        resolver.watch(TOOLS, tools)
        resolver.watch(OTHER, other)
        await trio.sleep(1)
    assert (tools.addresses, other.addresses) == ([], [(OTHER, _at(7))])


async def test_what_nobody_watches_is_not_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two watchers share the questions; with the last of them they end, also a hanging one."""
    names, one, two = Names(), Seen(), Seen()
    names.answers["tools.example"] = _at(1)
    async with _running(names) as resolver:
        resolver.watch(TOOLS, one)
        resolver.watch(TOOLS, two)
        await trio.sleep(1)
        resolver.unwatch(TOOLS, one)
        resolver.unwatch(TOOLS, one)
        names.answers["tools.example"] = _at(2)
        await trio.sleep(limits.resolve_seconds)
        resolver.unwatch(TOOLS, two)
        assert not resolver._names
        await trio.sleep(100)
        names.hang["tools.example"] = trio.Event()
        resolver.watch(TOOLS, one)
        await trio.sleep(1)
        resolver.unwatch(TOOLS, one)
        names.hang["tools.example"].set()
        await trio.sleep(100)
    assert names.times("tools.example") == [0.0, 10.0, 111.0]
    assert one.addresses == [(TOOLS, _at(1))]
    assert two.addresses == [(TOOLS, _at(1)), (TOOLS, _at(2))]


async def test_names_watched_before_it_runs_are_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The order of wiring does not matter; after its end nothing is asked."""
    names, seen = Names(), Seen()
    names.answers.update({"tools.example": _at(1), "other.example": _at(2)})
    resolver = Resolver(names)
    resolver.watch(TOOLS, seen)
    with trio.move_on_after(1):
        await resolver.run()
    resolver.watch(OTHER, seen)
    await trio.sleep(100)
    assert (seen.addresses, len(names.asked)) == ([(TOOLS, _at(1))], 1)


async def test_a_giant_answer_is_cut(autojump_clock: trio.testing.MockClock) -> None:
    """So many addresses are taken of one name, always the same ones."""
    names, seen = Names(), Seen()
    names.answers["tools.example"] = reversed(_at(*range(limits.addresses_max + 50)))
    async with _running(names) as resolver:
        resolver.watch(TOOLS, seen)
        await trio.sleep(1)
    ((_, addresses),) = seen.addresses
    assert addresses == tuple(sorted(_at(*range(limits.addresses_max + 50)))[: len(addresses)])
    assert len(addresses) == limits.addresses_max


async def test_the_system_is_asked_for_streams() -> None:
    """What getaddrinfo says of both families is taken, of any other left."""

    def getaddrinfo(host: str, port: int, **how: object) -> list[tuple]:
        assert (host, port) == ("tools.example", 8000)
        assert how == {"type": socket.SOCK_STREAM, "flags": socket.AI_ADDRCONFIG}
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 8000)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 8000, 0, 2)),
            (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/run/tools"),
        ]

    assert await SystemResolver(getaddrinfo)("tools.example", 8000) == [
        *_at(1),
        SocketAddress(socket.AF_INET6, ("fe80::1", 8000, 0, 2)),
    ]


async def test_this_machine_knows_itself() -> None:
    """Through the real resolver of the system, localhost has a loopback address."""
    found = await SystemResolver()("localhost", 8000)
    assert {address.sockaddr[0] for address in found} & {"127.0.0.1", "::1"}


async def test_a_hanging_resolver_takes_its_own_threads_only() -> None:
    """More hanging names than threads: no more threads are taken, and Trio's own stay free."""
    release, started = threading.Event(), []

    def getaddrinfo(host: str, port: int, **how: object) -> list[tuple]:
        started.append(host)
        release.wait(60)
        return []

    ask = SystemResolver(getaddrinfo)
    try:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for number in range(limits.resolve_threads_max * 2):
                    nursery.start_soon(partial(ask, f"{number}.example", 80))
                while len(started) < limits.resolve_threads_max:
                    await trio.lowlevel.checkpoint()
                await trio.testing.wait_all_tasks_blocked()
                free = trio.to_thread.current_default_thread_limiter().available_tokens
                assert free == trio.to_thread.current_default_thread_limiter().total_tokens
                scope.cancel()
        # Cancelled, and the threads are still there: the next question has to wait for one.
        assert ask._limiter.available_tokens == 0
        assert len(started) == limits.resolve_threads_max
    finally:
        release.set()
    assert await ask("after.example", 80) == []
