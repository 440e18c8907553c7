"""The table [cluster]: the other machines of a trust domain."""

import re
from typing import Annotated, Literal, NamedTuple

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.config.values import Address, FilePath, Port

Quorum = Literal["majority", "any"]

_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+)):([0-9]{1,5})", re.ASCII)
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - nothing is bound here


class HostPort(NamedTuple):
    """The address of a machine. `host` is an IP address without brackets, or a DNS name."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return HOST:PORT, as the file spells it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _place(value: object) -> HostPort:
    match = _PLACE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError
    host = values.HOST_NAME.read(match[1] or match[2])
    if (":" in host) != (match[1] is not None):
        raise ValueError  # an IPv4 address in brackets
    if host in _WILDCARDS:
        raise ValueError("this address means every address of a machine; write one of them")
    return HostPort(host, values.PORT.read(int(match[3])))


PEER = ValueParser(
    '"HOST:PORT", such as "10.0.0.2:8446", "gw2.example:8446" or "[::1]:8446"', _place
)
Peers = Annotated[tuple[HostPort, ...], values.listed(PEER, limits.cluster_peers_max)]
_FIXED = Key(restart=True)


class ClusterConfig(msgspec.Struct, frozen=True):
    """The address for peers (UDP, and mutual TLS over TCP, on one port), and the peers to join.

    The name of a peer may have several addresses, and they may change.
    """

    address: Annotated[Address, "IP address to listen on for other machines.", _FIXED]
    port: Annotated[Port, "UDP and TCP port to listen on.", _FIXED]
    certificate: Annotated[
        FilePath, "PEM file: a gateway's certificate of the CA, made for `signing_key`.", _FIXED
    ]
    key: Annotated[FilePath, "PEM file: the certificate's private key.", _FIXED]
    signing_key: Annotated[  # PKCS 8
        FilePath, "PEM file: the Ed25519 key that signs what is revoked here.", _FIXED
    ]
    peers: Annotated[
        Peers, "Addresses of some other machines, which name the rest of the cluster."
    ] = ()
    advertise: Annotated[
        HostPort | None,
        PEER,
        "Address at which other machines reach this one. A name must have the address already when "
        "this machine starts.",
        Key(absent="`address` and `port`", restart=True),
    ] = None
    staleness_quorum: Annotated[
        Quorum,
        'To accept calls, this machine must be in contact with a "majority", or with "any" other '
        'machine. With "any", each of two machines continues alone.',
    ] = "majority"
    max_staleness_seconds: Annotated[
        float,
        values.seconds(limits.staleness_seconds_max, limits.staleness_seconds_min),
        "After two machines have compared revocations, they count as in contact for this time.",
    ] = limits.staleness_seconds

    @property
    def reached_at(self) -> HostPort:
        """The address that this machine tells its peers."""
        return self.advertise or HostPort(self.address, self.port)

    def check(self, section: TOMLTableReader) -> None:
        """Note if there is no address to tell the peers."""
        if self.advertise is None and self.address in _WILDCARDS:
            section.problem(
                f"missing; peers cannot reach this machine at {self.address}: expected "
                f"{PEER.expected}",
                "advertise",
            )
