"""The other machines of a trust domain, as a configuration names them; asks and opens nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from crewgate import limits

Quorum = Literal["majority", "any"]

_RELOADED = frozenset({"peers", "staleness_quorum", "max_staleness_seconds"})


class HostPort(NamedTuple):
    """Where a machine is reached by its peers: `host` is an IP address, or a name that has some."""

    host: str  # without brackets
    port: int

    def __str__(self) -> str:
        """As the file spells it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ClusterConfig(msgspec.Struct, frozen=True):
    """Where this machine hears its peers (UDP and mutual TLS on one port), and whom it joins.

    `certificate` (PEM, chain included) is a gateway's of the internal CA and has the public half of
    `signing_key` in it. A peer's name may stand for several addresses, which change. A machine must
    have compared what it knows within `max_staleness_seconds`: with so many members that it makes a
    majority with them, or with "any" that it can reach, be it none.
    """

    address: str  # an IP address, not a name
    port: int
    certificate: Path
    key: Path
    signing_key: Path  # PEM, PKCS 8, Ed25519: what it signs revocations with
    peers: tuple[HostPort, ...] = ()
    advertise: HostPort | None = None  # None: others reach it where it listens
    staleness_quorum: Quorum = "majority"
    max_staleness_seconds: float = limits.staleness_seconds

    @property
    def reached_at(self) -> HostPort:
        """Where its peers are told to look for it."""
        return self.advertise or HostPort(self.address, self.port)


def wants_restart(before: ClusterConfig | None, after: ClusterConfig | None) -> Iterator[str]:
    """What of the section is another in `after` and cannot change while a machine serves."""
    if before is None or after is None:
        if before is not after:
            yield "[cluster]"
        return
    for name in ClusterConfig.__struct_fields__:
        if name not in _RELOADED and getattr(before, name) != getattr(after, name):
            yield f"{name} of [cluster]"
