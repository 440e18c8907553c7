"""Knows the hosts of an upstream, their circuits and which one gets the next call.

The choice itself, which each call needs, is in `_datapath.balancer`: the host with the fewest calls
under way. This module has no clock, socket or randomness; the resolver delivers the addresses.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from crewgate import limits
from crewgate._datapath.balancer import HostChooser, HostLoad
from crewgate.config import HealthCheckConfig, UpstreamOrigin
from crewgate.upstream.circuit_breaker import CircuitBreaker


class SocketAddress(NamedTuple):
    """The address of one server, as getaddrinfo returns it; AF_INET or AF_INET6."""

    family: int
    sockaddr: tuple[Any, ...]


class Host(HostLoad[CircuitBreaker]):
    """One server of an upstream: an endpoint of the configuration at one resolved address.

    `outstanding` is the number of its calls under way. `gone`: its address is no longer resolved.
    Its calls then go on, and its idle connections are closed.
    """

    def __init__(
        self, endpoint: UpstreamOrigin, address: SocketAddress, health: HealthCheckConfig | None
    ) -> None:
        super().__init__(CircuitBreaker(health))
        self.endpoint = endpoint
        self.address = address

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.breaker.state.value} {self.outstanding} calls>"

    @property
    def name(self) -> str:
        """The endpoint, and the address if the endpoint has a host name, for messages."""
        authority, address = self.endpoint.authority, self.address.sockaddr[0]
        return authority if self.endpoint.host == address else f"{authority} at {address}"


class HostChanges(NamedTuple):
    """The effect of an update: hosts added, hosts gone, and addresses beyond the limit."""

    added: tuple[Host, ...]
    gone: tuple[Host, ...]
    ignored: int


class LeastRequestBalancer(HostChooser[Host]):
    """The hosts of one upstream in one worker, with their load and their circuits.

    For each call, use `take`; then `answered` when the head of its response arrives, or `failed` if
    it fails in a way that the circuit breaker counts, or neither; then always `give_back`, once.
    `jitter` returns numbers from 0 to 1.
    """

    def __init__(self, health: HealthCheckConfig | None, jitter: Callable[[], float]) -> None:
        self._health = health
        self._jitter = jitter
        self._by_endpoint: dict[UpstreamOrigin, dict[SocketAddress, Host]] = {}

    def update(self, resolved: Mapping[UpstreamOrigin, Iterable[SocketAddress]]) -> HostChanges:
        """Replace the addresses of the endpoints in `resolved`; the other endpoints keep theirs.

        A host whose address stays keeps its calls and its circuit.
        """
        old_hosts = dict.fromkeys(self)
        for endpoint, addresses in resolved.items():
            previous = self._by_endpoint.get(endpoint, {})
            self._by_endpoint[endpoint] = {
                address: previous.get(address) or Host(endpoint, address, self._health)
                for address in addresses
            }
        every = [host for hosts in self._by_endpoint.values() for host in hosts.values()]
        hosts = every[: limits.upstream_servers_max]
        self.set_hosts(hosts)
        current = frozenset(hosts)
        gone = tuple(host for host in old_hosts if host not in current)
        added = tuple(host for host in hosts if host not in old_hosts)
        for host in gone:
            host.gone = True
        for host in added:
            host.gone = False
        return HostChanges(added, gone, len(every) - len(hosts))

    def failed(self, host: Host, now: float) -> bool:
        """Count a failed call; return True if it has opened the circuit of the host."""
        return host.breaker.failed(now, self._jitter())

    def due(self, now: float) -> list[Host]:
        """Return the hosts to probe now; the caller must report each result once with `probed`.

        Call this several times a second. A probe sends the health request if the upstream has one;
        otherwise it only connects, with the TLS handshake.
        """
        due_hosts = [host for host in self if host.breaker.is_due(now)]
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
        return min((host.breaker.seconds_left(now) for host in self), default=0.0)
