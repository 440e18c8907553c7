"""The addresses of upstreams' names, asked for in the background while anyone watches them.

A name that cannot be asked for keeps the addresses it had; IP literals are never asked for. The
system's resolver blocks, so it is asked in threads, which have a bound of their own: when the DNS
hangs, these threads hang and no others. Knows no connections; who watches is told by plain calls.
"""

import ipaddress
import random
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import trio

from crewgate import limits
from crewgate.config import UpstreamOrigin
from crewgate.errors import UpstreamError, UpstreamTimeoutError
from crewgate.upstream.balancer import SocketAddress

Lookup = Callable[
    [str, int], Awaitable[Iterable[SocketAddress]]
]  # (host, port); OSError or ValueError


class AddressObserver(Protocol):
    """Who wants to know an endpoint's addresses. Is called on the loop's thread; must not raise."""

    def resolved(self, endpoint: UpstreamOrigin, addresses: tuple[SocketAddress, ...]) -> None:
        """The addresses are there, or are others than before; at least one, sorted."""

    def unresolved(self, endpoint: UpstreamOrigin, error: UpstreamError) -> None:
        """The name could not be asked for, or not yet; the addresses told before stay good."""


class SystemResolver:
    """Asks the system's resolver: hosts file, DNS, whatever it is set up to do."""

    def __init__(self, getaddrinfo: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
        self._getaddrinfo = getaddrinfo
        self._limiter = trio.CapacityLimiter(limits.resolve_threads_max)

    async def __call__(self, host: str, port: int) -> list[SocketAddress]:
        """Return the addresses. A thread whose asker was cancelled counts until it ends."""
        return await trio.to_thread.run_sync(
            self._ask, host, port, abandon_on_cancel=True, limiter=self._limiter
        )

    def _ask(self, host: str, port: int) -> list[SocketAddress]:
        # AI_ADDRCONFIG: no IPv6 addresses on a machine that has none itself (RFC 3493, 6.1).
        found = self._getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        return [
            SocketAddress(family, sockaddr)
            for family, _, _, _, sockaddr in found
            if family in {socket.AF_INET, socket.AF_INET6}
        ]


def literal(endpoint: UpstreamOrigin) -> SocketAddress | None:
    """Return the address of an endpoint whose host is one; None if it is a name."""
    try:
        version = ipaddress.ip_address(endpoint.host).version
    except ValueError:
        return None
    if version == 4:  # noqa: PLR2004 - of IP
        return SocketAddress(socket.AF_INET, (endpoint.host, endpoint.port))
    return SocketAddress(socket.AF_INET6, (endpoint.host, endpoint.port, 0, 0))


class _Name:
    """One watched endpoint that is a name, and its last good addresses."""

    def __init__(self, endpoint: UpstreamOrigin) -> None:
        self.endpoint = endpoint
        self.addresses: tuple[SocketAddress, ...] = ()
        self.watchers: list[AddressObserver] = []
        self.wanted = trio.Event()  # somebody cannot wait for the next regular question
        self.scope = trio.CancelScope()

    def take(self, found: Iterable[SocketAddress]) -> None:
        """Tell the addresses, if they are others than before."""
        addresses = tuple(sorted(set(found)))[: limits.addresses_max]
        if not addresses:
            self.fail(UpstreamError(f"{self.endpoint.host}: it has no address"))
        elif addresses != self.addresses:
            self.addresses = addresses
            for watcher in tuple(self.watchers):
                watcher.resolved(self.endpoint, addresses)

    def fail(self, error: UpstreamError) -> None:
        """Tell that there was no answer."""
        for watcher in tuple(self.watchers):
            watcher.unresolved(self.endpoint, error)


class Resolver:
    """The names that one worker watches. Answers come only while `run` runs."""

    def __init__(
        self, ask: Lookup | None = None, jitter: Callable[[], float] = random.random
    ) -> None:
        self._ask = ask or SystemResolver()
        self._jitter = jitter
        self._names: dict[UpstreamOrigin, _Name] = {}
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<Resolver {len(self._names)} names>"

    async def run(self) -> None:
        """Ask for every watched name, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for name in self._names.values():
                nursery.start_soon(self._follow, name)
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def watch(self, endpoint: UpstreamOrigin, watcher: AddressObserver) -> None:
        """Tell `watcher` of the addresses from now on: at once if they are known, or literal."""
        address = literal(endpoint)
        if address is not None:
            watcher.resolved(endpoint, (address,))
            return
        name = self._names.get(endpoint)
        if name is None:
            name = self._names[endpoint] = _Name(endpoint)
            if self._nursery is not None:
                self._nursery.start_soon(self._follow, name)
        name.watchers.append(watcher)
        if name.addresses:
            watcher.resolved(endpoint, name.addresses)

    def unwatch(self, endpoint: UpstreamOrigin, watcher: AddressObserver) -> None:
        """Tell `watcher` no more; a name that nobody watches is forgotten."""
        name = self._names.get(endpoint)
        if name is None or watcher not in name.watchers:
            return
        name.watchers.remove(watcher)
        if not name.watchers:
            del self._names[endpoint]
            name.scope.cancel()

    def refresh_now(self, endpoint: UpstreamOrigin) -> None:
        """Ask sooner than the next regular question: a call waits for an address.

        The answer is told as any other; whoever waits for it has a deadline of its own. A name is
        not asked for sooner than `resolve_again_seconds` after the last answer, nor while a
        question hangs.
        """
        name = self._names.get(endpoint)
        if name is not None:
            name.wanted.set()

    async def _follow(self, name: _Name) -> None:
        with name.scope:
            while True:
                await self._ask_once(name)
                name.wanted = trio.Event()
                await trio.sleep(limits.resolve_again_seconds)
                pause = limits.resolve_seconds * (1 + self._jitter()) / 2
                with trio.move_on_after(pause - limits.resolve_again_seconds):
                    await name.wanted.wait()

    async def _ask_once(self, name: _Name) -> None:
        """Ask, and tell what came; who waits is told when it takes too long, and then again."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report_timeouts, name)
            try:
                found = await self._ask(name.endpoint.host, name.endpoint.port)
            # ValueError: a name that IDNA refuses. RuntimeError: no thread can be started.
            except (OSError, ValueError, RuntimeError) as error:
                reason = getattr(error, "strerror", None) or error
                name.fail(UpstreamError(f"{name.endpoint.host}: {reason}"))
            else:
                name.take(found)
            nursery.cancel_scope.cancel()

    async def _report_timeouts(self, name: _Name) -> None:
        await trio.sleep(limits.resolve_seconds_max)
        name.fail(UpstreamTimeoutError(f"{name.endpoint.host}: its address was not found in time"))
