"""The servers of an upstream, by resolved address, and which of them gets the next call.

The one with the fewest calls under way; those that failed a moment ago only if there is no other;
those whose circuit is open never. Ties go round, so that a quiet upstream spreads too. Has no
clock, socket or randomness. Knows neither connections nor names' resolution: addresses arrive.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from crewgate import limits
from crewgate.config import HealthCheckConfig, UpstreamOrigin
from crewgate.upstream.circuit_breaker import CircuitBreaker

_DOUBT = 2**32  # more than any number of calls


class SocketAddress(NamedTuple):
    """Where a socket of `family` (AF_INET or AF_INET6) connects to: as getaddrinfo gives it."""

    family: int
    sockaddr: tuple[Any, ...]


class Host:
    """One server: an endpoint of the configuration, which says its name, at one address.

    `outstanding` are its calls under way. `gone` is set when it is no longer among the members:
    its calls go on, its kept connections are to be closed.
    """

    __slots__ = ("address", "breaker", "endpoint", "gone", "outstanding")

    def __init__(
        self, endpoint: UpstreamOrigin, address: SocketAddress, health: HealthCheckConfig | None
    ) -> None:
        self.endpoint = endpoint
        self.address = address
        self.breaker = CircuitBreaker(health)
        self.outstanding = 0
        self.gone = False

    def __repr__(self) -> str:
        place = f"{self.endpoint.authority} at {self.address.sockaddr[0]}"
        return f"<Host {place} {self.breaker.state.value} {self.outstanding} calls>"


class HostChanges(NamedTuple):
    """What an update has made of the members. `ignored` addresses were over `members_max`."""

    added: tuple[Host, ...]
    gone: tuple[Host, ...]
    ignored: int


class LeastRequestBalancer:
    """The members of one upstream in one worker. `jitter` returns numbers from 0 to 1.

    A call is: `take`; then `answered` when the head of its answer has come, or `failed` if it
    failed in a way that `breaker` counts, or neither; then, always and once, `give_back`.
    """

    def __init__(self, health: HealthCheckConfig | None, jitter: Callable[[], float]) -> None:
        self._health = health
        self._jitter = jitter
        self._known: dict[UpstreamOrigin, dict[SocketAddress, Host]] = {}
        self._hosts: list[Host] = []
        self._next = 0  # where in the ring the next choice begins to look

    def __repr__(self) -> str:
        return f"<LeastRequestBalancer {self._hosts!r}>"

    def __len__(self) -> int:
        return len(self._hosts)

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts)

    def update(self, resolved: Mapping[UpstreamOrigin, Iterable[SocketAddress]]) -> HostChanges:
        """Take the addresses of the endpoints that are named in `resolved`; others keep theirs.

        A member that stays keeps its calls and its circuit.
        """
        before = dict.fromkeys(self._hosts)
        for endpoint, addresses in resolved.items():
            known = self._known.get(endpoint, {})
            self._known[endpoint] = {
                address: known.get(address) or Host(endpoint, address, self._health)
                for address in addresses
            }
        every = [member for known in self._known.values() for member in known.values()]
        self._hosts = every[: limits.members_max]
        self._next = self._next % len(self._hosts) if self._hosts else 0
        now = frozenset(self._hosts)
        gone = tuple(member for member in before if member not in now)
        added = tuple(member for member in self._hosts if member not in before)
        for member in gone:
            member.gone = True
        for member in added:
            member.gone = False
        return HostChanges(added, gone, len(every) - len(self._hosts))

    def take(self, now: float, avoid: Collection[Host] = ()) -> Host | None:
        """Return the member for a call, which counts as under way; None if none may be called.

        None while there are no members, and when every one that is not in `avoid` (where this call
        has failed before) has an open circuit: see `seconds_left`.
        """
        ring, best, least = self._hosts, -1, 2 * _DOUBT
        if len(ring) == 1 and not avoid and ring[0].breaker.admits:
            ring[0].outstanding += 1
            return ring[0]
        for step in range(len(ring)):
            place = (self._next + step) % len(ring)
            member = ring[place]
            breaker = member.breaker
            if not breaker.admits or member in avoid:
                continue
            load = member.outstanding + (_DOUBT if now < breaker.doubt_until else 0)
            if load < least:
                best, least = place, load
                if not load:
                    break
        if best < 0:
            return None
        self._next = (best + 1) % len(ring)
        ring[best].outstanding += 1
        return ring[best]

    def give_back(self, member: Host) -> None:
        """A call has ended, however; RuntimeError if none was under way."""
        if not member.outstanding:
            raise RuntimeError(f"{member!r} has no call under way")
        member.outstanding -= 1

    def failed(self, member: Host, now: float) -> bool:
        """Count a failed call; True if that has opened the circuit of the member."""
        return member.breaker.failed(now, self._jitter())

    def answered(self, member: Host) -> None:
        """Count an answered call."""
        if member.breaker.doubt_until:  # nothing to forget otherwise
            member.breaker.answered()

    def due(self, now: float) -> list[Host]:
        """Return the members to probe now; each is owed one `probed`. Ask several times a second.

        A probe is the health request where the upstream has one, else a connection, with its TLS
        handshake, that carries nothing.
        """
        found = [member for member in self._hosts if member.breaker.is_due(now)]
        for member in found:
            member.breaker.begin_probe()
        return found

    def probed(self, member: Host, now: float, *, good: bool) -> bool:
        """A probe has ended; True if that has opened or closed the member's circuit."""
        return member.breaker.probed(now, self._jitter(), good=good)

    def seconds_left(self, now: float) -> float:
        """Return in how many seconds a call may pass at the earliest; 0 if one may now.

        0 as well while there are no members: nobody knows.
        """
        return min((member.breaker.seconds_left(now) for member in self._hosts), default=0.0)
