"""Makes the keys and certificates of a machine: for TLS, for signing, and for its peers.

The CA issues the certificate to a gateway, under a name that no other machine has: members are
counted by their names, so two machines with one name would count as one.
"""

import re
import secrets
import socket
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from pathlib import Path

from crewgate import limits
from crewgate.cli.ca_argument_checks import host_names
from crewgate.config import CAConfig
from crewgate.core.x509.identity_extension import MAY_REVOKE, Identity, Role
from crewgate.errors import ConfigurationError
from crewgate.runtime.durable_files import make_folder

HOSTS = ("localhost", "127.0.0.1", "::1")
SERVER, SERVER_KEY = Path("certs", "gateway.pem"), Path("gateway", "gateway.key")
CERTIFICATE, KEY = Path("certs", "machine.pem"), Path("gateway", "machine.key")
SIGNING_KEY = Path("gateway", "signing.key")
_ODD = re.compile(r"[^a-z0-9]+", re.ASCII)
# The name of a certificate has at most 64 characters.
_HOST_CHARS_MAX = 40
# Of ten machines on one host, two get the same bytes in one of 300,000 trust domains.
_RANDOM_BYTES = 3


def write_machine(folder: Path, ca: CAConfig, name: str, hosts: Sequence[str] = ()) -> None:
    """Make all keys and both certificates in the folders of `folder`. Raises CAError.

    The machine presents one certificate to clients, of which some cannot read the identity of a
    gateway, and the other to its peers. Both name `hosts` and localhost, and live as long as a
    server's may. `crewgate ca renew` renews the second.
    """
    from crewgate.ca.authority import Authority, new_instance
    from crewgate.ca.certificates import new_key
    from crewgate.ca.key_files import PRIVATE, PUBLIC, key_pem, write_file
    from crewgate.ca.member_signing_key import write_signing_key

    key, public = new_key(), write_signing_key(folder / SIGNING_KEY)
    identity = Identity(Role.GATEWAY, name, new_instance(), key=public, rights=(MAY_REVOKE,))
    names = host_names(list(dict.fromkeys((*hosts, *HOSTS))))
    with Authority(ca) as authority:
        entry = authority.issue(
            identity, key.public_key(), datetime.now(UTC),
            life_seconds=limits.gateway_life_seconds_max, hosts=names,
        )  # fmt: skip
        write_file(folder / KEY, key_pem(key), PRIVATE)
        write_file(folder / CERTIFICATE, authority.chain(entry), PUBLIC)
        issuing, server = authority.issuing, authority.issue_server(names, datetime.now(UTC))
    write_file(folder / SERVER_KEY, server.key_pem, PRIVATE)
    write_file(folder / SERVER, server.certificate_pem + issuing.certificate_pem, PUBLIC)


def begin(state: Path) -> None:
    """Note on the disk of the first machine of a trust domain that it need not catch up.

    Without the note, it would wait for other machines. Machines that join it learn from it. Raises
    OSError.
    """
    from crewgate.core.gossip.quorum_freshness import QuorumFreshness
    from crewgate.gossip.quorum_view_file import QuorumViewFile

    make_folder(state, 0o710)
    folder = state / "gossip"
    make_folder(folder, 0o700)
    QuorumViewFile(folder / "standing").save(QuorumFreshness(b"", counts=True))


def choose_name(asked: str, taken: Container[str]) -> str:
    """Return the name of a new machine: `asked`, or the name of its host.

    A second machine of the same host gets a random suffix. A counter would not be unique, since a
    machine may be made with a copy of the CA. Raises ConfigurationError if `asked` is taken.
    """
    if asked:
        if asked in taken:
            raise ConfigurationError(
                f"--name {asked}: a machine of this trust domain has this name; choose another "
                "name, or evict that machine (`crewgate cluster evict`)"
            )
        return asked
    name = host_name(socket.gethostname())
    while name in taken:
        name = f"{host_name(socket.gethostname())}-{secrets.token_hex(_RANDOM_BYTES)}"
    return name


def host_name(host: str) -> str:
    """Return the first label of a host's name, with only the characters of a machine's name."""
    words = _ODD.sub("-", host.partition(".")[0].lower()).strip("-")[:_HOST_CHARS_MAX]
    return words.rstrip("-") or "gateway"
