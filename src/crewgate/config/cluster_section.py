"""The [cluster] section: its keys, and what must hold between it and the other sections.

Returns problems as lines that name the key to mend. Opens no file and asks no resolver.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from crewgate import limits
from crewgate.config import values
from crewgate.config.cluster import ClusterConfig, HostPort, Quorum
from crewgate.config.model import Config
from crewgate.config.section import Section, ValueType

_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+)):([0-9]{1,5})", re.ASCII)
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - nothing is bound here
_QUORUM: ValueType[Quorum] = values.one_of("majority", "any")
_STALENESS = values.seconds(limits.staleness_seconds_max, limits.staleness_seconds_min)


def read_cluster(section: Section | None, path: ValueType[Path]) -> ClusterConfig | None:
    """The section; None where a machine has no peers and never will."""
    if section is None:
        return None
    cluster = ClusterConfig(
        address=section.required("address", values.ADDRESS),
        port=section.required("port", values.PORT),
        certificate=section.required("certificate", path),
        key=section.required("key", path),
        signing_key=section.required("signing_key", path),
        peers=section.optional("peers", _PEERS, ()),
        advertise=section.optional("advertise", cast("ValueType[HostPort | None]", _ADDRESS), None),
        staleness_quorum=section.optional("staleness_quorum", _QUORUM, "majority"),
        max_staleness_seconds=section.optional(
            "max_staleness_seconds", _STALENESS, limits.staleness_seconds
        ),
    )
    if section.has_no_problems and cluster.advertise is None and cluster.address in _WILDCARDS:
        section.problem(
            f"missing; nobody can be told to look for this machine at {cluster.address}: expected "
            f"{_ADDRESS.expected}",
            "advertise",
        )
    section.close()
    return cluster


def check_cluster(config: Config) -> Iterator[str]:
    """Every problem between the section and others, each of which is sound by itself."""
    cluster = config.cluster
    if cluster is None:
        return
    if config.ca is None:
        yield "cluster: there is no [ca] whose certificates its peers could have; add the section"
    control = config.control
    if control and (control.address, control.port) == (cluster.address, cluster.port):
        yield (
            f'cluster: {cluster.address} port {cluster.port} is also that of "[control]"; give one '
            "another port"
        )
    ledger = config.ledger
    if cluster.peers and ledger.engine == "sqlite" and not ledger.per_machine:
        yield (
            f"cluster.peers: budgets are in {ledger}, which is this machine's alone, so a branch "
            "could spend its credits on each machine; give them all one [ledger] url = "
            '"postgresql://…", or write per_machine = true there if that is meant'
        )


def _place(value: object) -> HostPort:
    match = _PLACE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError
    host = values.HOST_NAME.read(match[1] or match[2])
    if (":" in host) != (match[1] is not None):
        raise ValueError  # an IPv4 address in brackets
    if host in _WILDCARDS:
        raise ValueError("that means all of a machine's own addresses, and nobody's in particular")
    return HostPort(host, values.PORT.read(int(match[3])))


def _numeric(value: object) -> HostPort:
    place = _place(value)
    ip_address(place.host)
    return place


_PEERS = values.listed(
    ValueType('"HOST:PORT", such as "10.0.0.2:8446", "gw2.example:8446" or "[::1]:8446"', _place),
    limits.cluster_peers_max,
)
_ADDRESS = ValueType('an IP address and a port, such as "10.0.0.2:8446" or "[::1]:8446"', _numeric)
