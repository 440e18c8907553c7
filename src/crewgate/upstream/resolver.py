"""Resolves the host names of upstreams in the background, as long as an observer watches them.

If a lookup fails, the name keeps its last addresses. IP literals need no lookup. The system's
resolver blocks, so it runs in threads with a limit of their own: if the DNS hangs, only these
threads hang. Observers are notified by synchronous calls. This module knows no connections.
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

# Looks up (host, port); raises OSError, ValueError or RuntimeError.
Lookup = Callable[[str, int], Awaitable[Iterable[SocketAddress]]]


class AddressObserver(Protocol):
    """Gets the addresses of an endpoint, in the event loop's thread; must not raise."""

    def resolved(self, endpoint: UpstreamOrigin, addresses: tuple[SocketAddress, ...]) -> None:
        """Use these addresses, which are new or have changed; at least one, sorted."""

    def unresolved(self, endpoint: UpstreamOrigin, error: UpstreamError) -> None:
        """Take note that a lookup failed or is late; earlier addresses stay valid."""


class SystemResolver:
    """Looks up names with the system's resolver, that is getaddrinfo: hosts file, DNS and so on."""

    def __init__(self, getaddrinfo: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
        self._getaddrinfo = getaddrinfo
        self._limiter = trio.CapacityLimiter(limits.resolve_threads_max)

    async def __call__(self, host: str, port: int) -> list[SocketAddress]:
        """Return the addresses; a cancelled lookup occupies its thread until that ends."""
        return await trio.to_thread.run_sync(
            self._lookup, host, port, abandon_on_cancel=True, limiter=self._limiter
        )

    def _lookup(self, host: str, port: int) -> list[SocketAddress]:
        # AI_ADDRCONFIG: a machine without an IPv6 address gets none back (RFC 3493, 6.1).
        found = self._getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        return [
            SocketAddress(family, sockaddr)
            for family, _, _, _, sockaddr in found
            if family in {socket.AF_INET, socket.AF_INET6}
        ]


def literal(endpoint: UpstreamOrigin) -> SocketAddress | None:
    """Return the address of an endpoint whose host is an IP literal; None for a name."""
    try:
        version = ipaddress.ip_address(endpoint.host).version
    except ValueError:
        return None
    if version == 4:  # noqa: PLR2004 - IPv4
        return SocketAddress(socket.AF_INET, (endpoint.host, endpoint.port))
    return SocketAddress(socket.AF_INET6, (endpoint.host, endpoint.port, 0, 0))


class _WatchedName:
    """A watched endpoint whose host is a name, with its last addresses and its observers."""

    def __init__(self, endpoint: UpstreamOrigin) -> None:
        self.endpoint = endpoint
        self.addresses: tuple[SocketAddress, ...] = ()
        self.observers: list[AddressObserver] = []
        self.refresh_wanted = trio.Event()  # a call waits for an address
        self.scope = trio.CancelScope()

    def take(self, found: Iterable[SocketAddress]) -> None:
        """Notify the observers of the addresses if they have changed."""
        addresses = tuple(sorted(set(found)))[: limits.addresses_max]
        if not addresses:
            self.fail(UpstreamError(f"{self.endpoint.host}: the name has no address"))
        elif addresses != self.addresses:
            self.addresses = addresses
            for observer in tuple(self.observers):
                observer.resolved(self.endpoint, addresses)

    def fail(self, error: UpstreamError) -> None:
        """Notify the observers that a lookup failed."""
        for observer in tuple(self.observers):
            observer.unresolved(self.endpoint, error)


class Resolver:
    """Watches names for one worker; it looks them up only while `run` runs."""

    def __init__(
        self, lookup: Lookup | None = None, jitter: Callable[[], float] = random.random
    ) -> None:
        self._lookup = lookup or SystemResolver()
        self._jitter = jitter
        self._names: dict[UpstreamOrigin, _WatchedName] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Look up every watched name again and again, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for name in self._names.values():
                nursery.start_soon(self._refresh_loop, name)
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def watch(self, endpoint: UpstreamOrigin, observer: AddressObserver) -> None:
        """Notify `observer` of addresses from now on; at once if known, or an IP literal."""
        address = literal(endpoint)
        if address is not None:
            observer.resolved(endpoint, (address,))
            return
        name = self._names.get(endpoint)
        if name is None:
            name = self._names[endpoint] = _WatchedName(endpoint)
            if self._nursery is not None:
                self._nursery.start_soon(self._refresh_loop, name)
        name.observers.append(observer)
        if name.addresses:
            observer.resolved(endpoint, name.addresses)

    def unwatch(self, endpoint: UpstreamOrigin, observer: AddressObserver) -> None:
        """Stop notifying `observer`; forget a name without observers."""
        name = self._names.get(endpoint)
        if name is None or observer not in name.observers:
            return
        name.observers.remove(observer)
        if not name.observers:
            del self._names[endpoint]
            name.scope.cancel()

    def refresh_now(self, endpoint: UpstreamOrigin) -> None:
        """Look up a name before its next regular lookup, because a call waits for an address.

        Observers are notified as usual, and a waiting call has its own deadline. The lookup begins
        at the earliest `limits.resolve_again_seconds` after the last one ended.
        """
        name = self._names.get(endpoint)
        if name is not None:
            name.refresh_wanted.set()

    async def _refresh_loop(self, name: _WatchedName) -> None:
        with name.scope:
            while True:
                await self._resolve_once(name)
                name.refresh_wanted = trio.Event()
                await trio.sleep(limits.resolve_again_seconds)
                pause = limits.resolve_seconds * (1 + self._jitter()) / 2
                with trio.move_on_after(pause - limits.resolve_again_seconds):
                    await name.refresh_wanted.wait()

    async def _resolve_once(self, name: _WatchedName) -> None:
        """Look up a name and notify its observers; also notify them if the lookup is late."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report_timeouts, name)
            try:
                found = await self._lookup(name.endpoint.host, name.endpoint.port)
            # ValueError: IDNA refuses the name. RuntimeError: no thread can be started.
            except (OSError, ValueError, RuntimeError) as error:
                reason = getattr(error, "strerror", None) or error
                name.fail(UpstreamError(f"{name.endpoint.host}: {reason}"))
            else:
                name.take(found)
            nursery.cancel_scope.cancel()

    async def _report_timeouts(self, name: _WatchedName) -> None:
        await trio.sleep(limits.resolve_seconds_max)
        seconds = limits.resolve_seconds_max
        name.fail(UpstreamTimeoutError(f"{name.endpoint.host}: not resolved within {seconds:g} s"))
