"""Chooses the host of an upstream that gets the next call: the one with the fewest calls under way.

A host that failed a moment ago is chosen only if there is no other, and a host whose circuit is
open never. Hosts with equally many calls take turns, so that a quiet upstream spreads its calls
too. This module has no clock, socket or randomness; the resolver delivers the addresses.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from crewgate import limits
from crewgate.config import HealthCheckConfig, UpstreamOrigin
from crewgate.upstream.circuit_breaker import CircuitBreaker

_SUSPECT_LOAD = 2**32  # added to the load of a host that just failed; more than any number of calls


class SocketAddress(NamedTuple):
    """The address of one server, as getaddrinfo returns it; AF_INET or AF_INET6."""

    family: int
    sockaddr: tuple[Any, ...]


class Host:
    """One server of an upstream: an endpoint of the configuration at one resolved address.

    `outstanding` is the number of its calls under way. `gone`: its address is no longer resolved.
    Its calls then go on, and its idle connections are closed.
    """

    def __init__(
        self, endpoint: UpstreamOrigin, address: SocketAddress, health: HealthCheckConfig | None
    ) -> None:
        self.endpoint = endpoint
        self.address = address
        self.breaker = CircuitBreaker(health)
        self.outstanding = 0
        self.gone = False

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.breaker.state.value} {self.outstanding} calls>"

    @property
    def name(self) -> str:
        """The endpoint, and the address if the endpoint has a host name, for messages."""
        authority, address = self.endpoint.authority, self.address.sockaddr[0]
        return authority if self.endpoint.host == address else f"{authority} at {address}"


class HostChanges(NamedTuple):
    """The effect of an update: hosts added, hosts gone, and addresses over `limits.members_max`."""

    added: tuple[Host, ...]
    gone: tuple[Host, ...]
    ignored: int


class LeastRequestBalancer:
    """The hosts of one upstream in one worker, with their load and their circuits.

    For each call, use `take`; then `answered` when the head of its response arrives, or `failed` if
    it fails in a way that the circuit breaker counts, or neither; then always `give_back`, once.
    `jitter` returns numbers from 0 to 1.
    """

    def __init__(self, health: HealthCheckConfig | None, jitter: Callable[[], float]) -> None:
        self._health = health
        self._jitter = jitter
        self._by_endpoint: dict[UpstreamOrigin, dict[SocketAddress, Host]] = {}
        self._hosts: list[Host] = []
        self._next_index = 0  # the next choice begins at this host

    def __len__(self) -> int:
        return len(self._hosts)

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts)

    def update(self, resolved: Mapping[UpstreamOrigin, Iterable[SocketAddress]]) -> HostChanges:
        """Replace the addresses of the endpoints in `resolved`; the other endpoints keep theirs.

        A host whose address stays keeps its calls and its circuit.
        """
        old_hosts = dict.fromkeys(self._hosts)
        for endpoint, addresses in resolved.items():
            previous = self._by_endpoint.get(endpoint, {})
            self._by_endpoint[endpoint] = {
                address: previous.get(address) or Host(endpoint, address, self._health)
                for address in addresses
            }
        every = [host for hosts in self._by_endpoint.values() for host in hosts.values()]
        self._hosts = every[: limits.members_max]
        self._next_index = self._next_index % len(self._hosts) if self._hosts else 0
        current = frozenset(self._hosts)
        gone = tuple(host for host in old_hosts if host not in current)
        added = tuple(host for host in self._hosts if host not in old_hosts)
        for host in gone:
            host.gone = True
        for host in added:
            host.gone = False
        return HostChanges(added, gone, len(every) - len(self._hosts))

    def take(self, now: float, avoid: Collection[Host] = ()) -> Host | None:
        """Choose the host for a call and count the call as under way; None if none may be called.

        None means that there are no hosts, or that each one has an open circuit or is in `avoid`,
        the hosts where this call has failed before. See `seconds_left`.
        """
        hosts, best_index, least_load = self._hosts, -1, 2 * _SUSPECT_LOAD
        if len(hosts) == 1 and not avoid and hosts[0].breaker.admits:
            hosts[0].outstanding += 1
            return hosts[0]
        for step in range(len(hosts)):
            index = (self._next_index + step) % len(hosts)
            host = hosts[index]
            breaker = host.breaker
            if not breaker.admits or host in avoid:
                continue
            load = host.outstanding + (_SUSPECT_LOAD if now < breaker.doubt_until else 0)
            if load < least_load:
                best_index, least_load = index, load
                if not load:
                    break
        if best_index < 0:
            return None
        self._next_index = (best_index + 1) % len(hosts)
        hosts[best_index].outstanding += 1
        return hosts[best_index]

    def give_back(self, host: Host) -> None:
        """Count the end of a call; raise RuntimeError if none was under way."""
        if not host.outstanding:
            raise RuntimeError(f"{host!r} has no call under way")
        host.outstanding -= 1

    def failed(self, host: Host, now: float) -> bool:
        """Count a failed call; return True if it has opened the circuit of the host."""
        return host.breaker.failed(now, self._jitter())

    def answered(self, host: Host) -> None:
        """Count a call when the head of its response arrives."""
        if host.breaker.doubt_until:  # otherwise no failure is to be forgotten
            host.breaker.answered()

    def due(self, now: float) -> list[Host]:
        """Return the hosts to probe now; the caller must report each result once with `probed`.

        Call this several times a second. A probe sends the health request if the upstream has one;
        otherwise it only connects, with the TLS handshake.
        """
        due_hosts = [host for host in self._hosts if host.breaker.is_due(now)]
        for host in due_hosts:
            host.breaker.begin_probe()
        return due_hosts

    def probed(self, host: Host, now: float, *, good: bool) -> bool:
        """Count a probe; return True if it has opened or closed the circuit of the host."""
        return host.breaker.probed(now, self._jitter(), good=good)

    def seconds_left(self, now: float) -> float:
        """Return in how many seconds a call may pass at the earliest; 0 if one may pass now.

        Without hosts the result is 0 as well, because the time is unknown.
        """
        return min((host.breaker.seconds_left(now) for host in self._hosts), default=0.0)
