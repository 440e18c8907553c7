"""Certificates renewed by a running gateway, with the CA's key and from another machine's API."""

import json
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from control_site import ControlSite, control_site, serial_of
from cryptography import x509
from installation import Premises, wait_until

from crewgate.ca.authority import Authority, identity_of
from crewgate.ca.certificates import make_server
from crewgate.ca.crl import make_crl
from crewgate.ca.key_files import read_key
from crewgate.config import CAConfig, load

LIFE = timedelta(days=397)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlSite]:
    """It serves, with the CA's key."""
    with control_site(tmp_path_factory.mktemp("renewal"), workers=1, price="0.01") as found:
        yield found


def leaf_of(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def ca_of(premises: Premises) -> CAConfig:
    ca = load(premises.file).ca
    assert ca is not None
    return ca


def test_what_a_client_sees_is_renewed_without_a_restart(site: ControlSite) -> None:
    """The listener's, the API's and the machine's own, which are all old of a sudden."""
    assert site.serving is not None
    pid, children = site.serving.pid, site.children("gateway") + site.children("control")
    age(site, ca_of(site), days=300)
    certs = site.folder / "certs"
    soon = datetime.now(UTC) + timedelta(days=390)
    wait_until(lambda: all(
        leaf_of(certs / name).not_valid_after_utc > soon for name in ("gateway.pem", "machine.pem")
    ))  # fmt: skip
    fresh = leaf_of(certs / "gateway.pem")
    wait_until(lambda: seen_by(site, site.port) == fresh.serial_number)
    wait_until(lambda: seen_by(site, site.port + 2) == fresh.serial_number)
    machine = leaf_of(certs / "machine.pem")
    assert site.ask("ca", "show", f"{machine.serial_number:X}")["status"] == "valid"
    assert site.serving.pid == pid
    assert site.children("gateway") + site.children("control") == children
    assert "renewed" in site.log()


def seen_by(site: ControlSite, port: int) -> int:
    """The serial of the certificate that a client is shown there."""
    plain = socket.create_connection(("127.0.0.1", port), 20)
    with site.context("ada").wrap_socket(plain, server_hostname="localhost") as seen:
        found = seen.getpeercert()
    assert found is not None
    return int(str(found["serialNumber"]), 16)


def age(premises: Premises, ca: CAConfig, *, days: float) -> None:
    """Put certificates in place of a machine's that were made so many days ago."""
    then = datetime.now(UTC) - timedelta(days=days)
    certs = premises.folder / "certs"
    with Authority(ca) as authority:
        before = leaf_of(certs / "machine.pem")
        entry = authority.register.find(f"{before.serial_number:X}".zfill(2))
        assert entry is not None
        names = before.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [each for each in names if not isinstance(each, x509.UniformResourceIdentifier)]
        public = read_key(premises.folder / "gateway" / "machine.key").public_key()
        aged = authority.issue(
            identity_of(entry), public, then, life_seconds=int(LIFE.total_seconds()), hosts=hosts
        )
        (certs / "machine.pem").write_bytes(authority.chain(aged))
        server = make_server(authority.issuing, hosts, then)
        chain = server.certificate_pem + authority.issuing.certificate_pem
    # The key first: a process that reads both in between tries again.
    (premises.folder / "gateway" / "gateway.key").write_bytes(server.key_pem)
    (certs / "gateway.pem").write_bytes(chain)


def test_a_machine_without_the_key_has_what_it_lacks_from_the_api(
    site: ControlSite, tmp_path: Path
) -> None:
    """Its certificates and its list are old; it has no peers, but a `control` in [ca]."""
    away = Premises(tmp_path, "--from", str(site.file), "--budgets", "per-machine")
    ca, public = ca_of(site), away.folder / "public"
    age(away, ca, days=300)
    public.mkdir()
    for path in (ca.root, ca.issuing):
        shutil.copy(path, public)
    with Authority(ca) as authority:
        over = make_crl(authority.issuing, [], 1, datetime.now(UTC) - timedelta(days=3))
    (public / "crl.pem").write_bytes(over)
    for key, path in (("folder", "none"), ("root", "ca.pem"), ("crl", "crl.pem")):
        before = {"folder": ca.folder, "root": ca.root, "crl": ca.crl}[key]
        away.edit(f'{key} = "{before}"', f'{key} = "{public / path}"')
    own = 'control_certificate = "certs/machine.pem"\ncontrol_key = "gateway/machine.key"\n'
    away.edit("[ca]\n", f'[ca]\ncontrol = "{site.control}"\n{own}')
    text = away.file.read_text()
    begin, end = text.index("[cluster]"), text.index("# The listener for agents")
    away.file.write_text(text[:begin] + text[end:])
    away.start()
    try:
        soon = datetime.now(UTC) + timedelta(days=390)
        wait_until(lambda: all(
            leaf_of(away.folder / "certs" / name).not_valid_after_utc > soon
            for name in ("gateway.pem", "machine.pem")
        ))  # fmt: skip
        wait_until(lambda: (public / "crl.pem").read_bytes() != over)
        crl = x509.load_pem_x509_crl((public / "crl.pem").read_bytes())
        assert crl.next_update_utc is not None
        assert crl.next_update_utc > datetime.now(UTC)
        # Where certificates are asked for, the answer of OCSP comes from there too.
        wait_until(lambda: answers(site, away.port + 1))
    finally:
        away.end()


def answers(site: ControlSite, port: int) -> bool:
    """Whether a client with a certificate is let in."""
    try:
        plain = socket.create_connection(("127.0.0.1", port), 20)
        with site.context("bd").wrap_socket(plain, server_hostname="localhost") as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            return stream.recv(65_536).startswith(b"HTTP/1.1 ")
    except OSError:
        return False


def test_a_holder_renews_its_own_in_place(site: ControlSite) -> None:
    """`ca issue --control URL --cert OLD`: for the same key, over the same file."""
    before, key = serial_of(site.folder / "bd"), (site.folder / "bd.key").read_bytes()
    row = json.loads(site.tell("ca", "issue", "--json", who="bd").stdout)
    assert row["name"] == "bd-1"
    assert serial_of(site.folder / "bd") == row["serial"] != before
    assert (site.folder / "bd.key").read_bytes() == key
    with site.api("bd") as api:
        assert api.get("/v1/tree").status_code == 200
    wrong = site.tell("ca", "issue", "--crew", "bd", who="bd", check=False)
    assert (wrong.returncode, "only --life can change in our own certificate" in wrong.stderr) == (
        2,
        True,
    )
    wrong = site.tell("ca", "issue", "--role", "operator", check=False)
    assert (wrong.returncode, "Missing option '--name'" in wrong.stderr) == (2, True)
