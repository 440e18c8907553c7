"""Makes [cluster] of a further machine, and the steps with which it joins the first one."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tomlkit

from crewgate import limits
from crewgate.config import CAConfig, ClusterConfig, Config, HostPort
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.identity_extension import Role
from crewgate.errors import CAError, ConfigurationError

if TYPE_CHECKING:
    from crewgate.ca.certificate_db import CertificateRecord

ANY = 'staleness_quorum = "any"'
PAIR = (
    'Of two machines none is a majority. With "any" each of the two goes on alone when the other',
    "cannot be reached, and what was revoked there is not known here until it is back. Take it",
    "out on every machine once there are three.",
)
# A line names at most this many gateways.
_NAMED_MAX = 8


def cluster_head(first: Config, own: HostPort, others: Sequence[str] = ()) -> tomlkit.TOMLDocument:
    """Make the first keys of the section, for a machine that its peers reach at `own`.

    `others` are the other gateways with a certificate of the CA. If there are any, the two machines
    are not a pair, even if `first` has no peers. Raises ConfigurationError if no machine can join
    `first`.
    """
    found = cluster_of(first)
    here = found.reached_at
    listed = [each for each in found.peers if each not in {own, here}]
    head = tomlkit.document()
    head.add("peers", [str(each) for each in (here, *listed)])
    if not listed and not others:
        for line in PAIR:
            head.add(tomlkit.comment(line))
        head.add("staleness_quorum", "any")
    return head


def cluster_of(first: Config) -> ClusterConfig:
    """Return [cluster] of the machine to join; if it has none, raise a ConfigurationError."""
    if first.cluster is None:
        days = limits.gateway_life_seconds_max // 86_400
        raise ConfigurationError(
            f"{first.path}: there is no [cluster], so no machine can join this one. Issue a "
            f"certificate for it: crewgate ca issue -c {first.path} --role gateway "
            f"--name NAME --signing-key signing.key --right revoke --life {days}d --out machine; "
            "then add [cluster] with address, port, certificate, key and signing_key, and start it "
            "again"
        )
    return first.cluster


def gateways_besides(first: Config, ca: CAConfig) -> list[str]:
    """Return the names of gateways with a valid certificate of `ca`, without `first` itself.

    They count as machines even if `first` does not name them as peers. An evicted one has no valid
    certificate. Raises CAError.
    """
    from crewgate.ca.authority import identity_of

    found = _valid_gateways(first, ca)
    own = _serials(cluster_of(first).certificate)
    own_names = {each.name for each in found if each.serial in own}
    return sorted({each.name for each in found if identity_of(each).key} - own_names)


def gateway_names(first: Config, ca: CAConfig) -> set[str]:
    """Return the names that no further machine may have. Raises CAError."""
    return {each.name for each in _valid_gateways(first, ca)}


def _valid_gateways(first: Config, ca: CAConfig) -> "list[CertificateRecord]":
    from crewgate.ca.certificate_db import CertificateDB
    from crewgate.cli.output.certificates import status

    now = time.time()
    with CertificateDB(ca.register) as database:
        found = [each for each in database.all() if each.role is Role.GATEWAY]
    return [each for each in found if status(each, now, first.state) == "valid"]


def _serials(path: Path) -> set[str]:
    from crewgate.ca.key_files import read_certificates

    try:
        return {serial_text(each.serial_number) for each in read_certificates(path)}
    except CAError:
        return set()


def joining_steps(
    other: Path, first: Config, second: Config, others: Sequence[str] = ()
) -> Iterator[str]:
    """Yield what to do with the configuration `other` before a second machine serves."""
    cluster, joined = cluster_of(first), cluster_of(second)
    if not cluster.peers and second.ledger.per_machine and not first.ledger.per_machine:
        yield f"write per_machine = true into [ledger] of {other}, and start its gateway again"
    is_elsewhere = joined.reached_at == cluster.reached_at
    if is_elsewhere:
        yield (
            f"write the addresses of its own host into {second.path}, which has those of {other}, "
            f"and the address and port of its [cluster] into peers in [cluster] of {other}"
        )
    is_told = cluster.peers or is_elsewhere
    more = [] if is_told else [f"peers = {json.dumps([str(joined.reached_at)])}"]
    if joined.staleness_quorum == "any" and cluster.staleness_quorum != "any":
        more.append(ANY)
    if more:
        yield f"write {' and '.join(more)} into [cluster] of {other}"
    if joined.staleness_quorum != "any" and cluster.staleness_quorum == "any":
        yield f"remove {ANY} from [cluster] of {other} and of all others: there are three now"
    if others and not [each for each in cluster.peers if each != joined.reached_at]:
        named = ", ".join(others[:_NAMED_MAX]) + (", …" if len(others) > _NAMED_MAX else "")
        yield (
            f"write the address of {named} into peers, here and in {other}, and remove {ANY} "
            f"there; if it is gone, these two are a pair: write {ANY} into [cluster] of both, and "
            "each goes on alone"
        )
