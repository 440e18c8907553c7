"""`crewgate check` looks at what [cluster] names: would peers have this machine, and obey it?"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import forged_certificates
import pytest
from cli_runner import Run
from machine_certificate import signed_at

from crewgate.ca.certificates import pem
from crewgate.ca.key_files import key_pem
from crewgate.ca.member_signing_key import write_signing_key
from crewgate.cli.backup.inventory import BackupKind, inventory
from crewgate.config import CAConfig, ClusterConfig, load
from crewgate.core.x509.identity_extension import Role


def check(run: Run, config: Path) -> tuple[list[str], list[str]]:
    """Problems, and warnings but the one of one user who owns all keys."""
    document = json.loads(run("check", "-c", config, "--json").stdout)
    return document["problems"], [text for text in document["warnings"] if "owns the" not in text]


def cluster_of(file: Path) -> ClusterConfig:
    """The section that must be there."""
    cluster = load(file).cluster
    assert cluster is not None
    return cluster


def _signed_elsewhere(fresh: Path) -> None:
    other = forged_certificates.leaf(
        forged_certificates.other_issuing(), identity=forged_certificates.bd("edge-1", Role.GATEWAY)
    )
    cluster_of(fresh).certificate.write_bytes(pem(other.certificate))
    cluster_of(fresh).key.write_bytes(key_pem(other.key))


def _another_key(fresh: Path) -> None:
    cluster_of(fresh).signing_key.unlink()
    write_signing_key(cluster_of(fresh).signing_key)


def _another_oid(fresh: Path) -> None:
    """The CA signs under an OID that the configuration then names no more."""
    text = fresh.read_text()
    fresh.write_text(text.replace("[ca]\n", '[ca]\nidentity_oid = "1.3.6.1.4.1.32473.1"\n'))
    signed_at(fresh, NOW)
    fresh.write_text(text)


NOW = datetime.now(UTC)
PROBLEMS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no certificate": (lambda it: cluster_of(it).certificate.unlink(), ["machine.pem: No such "]),
    "no key": (lambda it: cluster_of(it).key.unlink(), ["machine.key: No such "]),
    "another CA": (
        _signed_elsewhere,
        ["issuing.pem, so no peer accepts it", "names no signing key"],
    ),
    "operator": (
        lambda it: signed_at(it, NOW, role=Role.OPERATOR),
        [", and peers accept only gateways"],
    ),
    "another OID": (_another_oid, ["has an OID that [ca] does not name"]),
    "no signing key": (lambda it: signed_at(it, NOW, key=b""), ["names no signing key"]),
    "another signing key": (_another_key, ["signing.key: not the key in "]),
    "signing key gone": (lambda it: cluster_of(it).signing_key.unlink(), ["cannot be read: No su"]),
    "signing key open": (lambda it: cluster_of(it).signing_key.chmod(0o640), ["(mode 0640)"]),
    "ended": (
        lambda it: signed_at(it, NOW - timedelta(days=400)),
        [", so peers refuse it; renew it"],
    ),
}


@pytest.mark.parametrize(("harm", "says"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_peers_would_refuse_is_a_problem(
    run: Run, fresh: Path, harm: Callable[[Path], object], says: list[str]
) -> None:
    """A line each, with the file."""
    assert check(run, fresh) == ([], [])
    harm(fresh)
    problems, _ = check(run, fresh)
    assert len(problems) == len(says)
    assert all(text in problem for text, problem in zip(says, problems, strict=True))
    assert all(str(fresh.parent) in problem for problem in problems)


def test_what_a_listener_shows_too_is_told_once(run: Run, fresh: Path) -> None:
    """As the listener's."""
    text = fresh.read_text().replace("machine.pem", "gateway.pem")
    fresh.write_text(text.replace("machine.key", "gateway.key"))
    cluster_of(fresh).certificate.unlink()
    (problem,) = check(run, fresh)[0]
    assert problem.startswith("listener agents: ")
    assert "gateway.pem: No such file or directory; " in problem


def test_a_machine_that_cannot_revoke_is_a_member(run: Run, fresh: Path) -> None:
    """Somebody may want that: a note, and no problem."""
    signed_at(fresh, NOW, rights=("other",))
    problems, (warning,) = check(run, fresh)
    assert problems == []
    assert "without the right revoke, this machine applies revocations of other" in warning
    assert "but they ignore its own; issue the certificate again with --right revoke" in warning


def test_a_certificate_that_ends_soon_is_a_warning(run: Run, fresh: Path) -> None:
    """Nobody learns it from a peer."""
    signed_at(fresh, NOW - timedelta(days=390))
    problems, (warning,) = check(run, fresh)
    assert problems == []
    assert "machine.pem: ends in 6 days" in warning


def test_secrets_of_the_cluster_that_others_can_read_are_told(run: Run, fresh: Path) -> None:
    """The TLS key, and the signing key, which no peer gets to use then; one line about each."""
    key, signing_key = cluster_of(fresh).key, cluster_of(fresh).signing_key
    for path in (key, signing_key):
        path.chmod(0o644)
    problems, warnings = check(run, fresh)
    (told,) = [text for text in warnings if f"{key}: " in text]
    assert told.startswith(f"{key}: a secret of the gateway")
    (told,) = [text for text in problems + warnings if f"{signing_key}: " in text]
    assert told.startswith(f"[cluster] signing_key: {signing_key}: other users can read this")
    assert told in problems


def test_a_signing_key_of_a_crew_that_others_can_read_is_told_once(run: Run, fresh: Path) -> None:
    """As a problem: nothing mints with it."""
    (crew,) = load(fresh).crews
    assert crew.signing_key is not None
    crew.signing_key.chmod(0o640)
    problems, warnings = check(run, fresh)
    (told,) = [text for text in problems + warnings if f"{crew.signing_key}: " in text]
    assert told.startswith(f"crew article: {crew.signing_key}: other users can read this")
    assert told in problems


def test_the_key_for_the_control_api_is_a_secret(run: Run, fresh: Path) -> None:
    """The key of `control_key` in [ca] is a secret of the gateway, like the key of a listener."""
    certificate, key = (fresh.parent / f"client.{ending}" for ending in ("pem", "key"))
    certificate.write_bytes(cluster_of(fresh).certificate.read_bytes())
    key.write_bytes(cluster_of(fresh).key.read_bytes())
    named = 'control = "https://gw1.example:8445"\ncontrol_certificate = "client.pem"\n'
    text = fresh.read_text().replace("[ca]\n", f'[ca]\n{named}control_key = "client.key"\n')
    fresh.write_text(text)
    key.chmod(0o644)
    _, warnings = check(run, fresh)
    assert any(text.startswith(f"{key}: a secret of the gateway") for text in warnings)
    items = {(item.kind, item.path) for item in inventory(load(fresh))}
    assert {(BackupKind.FILE, certificate), (BackupKind.KEY, key)} <= items


def test_peers_need_the_list_of_the_revoked_as_listeners_do(run: Run, fresh: Path) -> None:
    """Without it they refuse one another; a machine without peers has nobody to refuse."""
    ca = load(fresh).ca
    assert isinstance(ca, CAConfig)
    ca.crl.unlink()
    text = fresh.read_text().replace('client_certificate = "required"', "")
    fresh.write_text(text)
    assert check(run, fresh)[0] == []
    text = text.replace("peers = []", 'peers = ["10.0.0.2:8446"]')
    fresh.write_text(text.replace("[ledger]", "[ledger]\nper_machine = true"))
    assert "list of revoked certificates cannot be read" in check(run, fresh)[0][0]


def test_machines_with_sealing_keys_of_their_own_are_warned_of(run: Run, fresh: Path) -> None:
    """A task that began at one would be unknown at the others; that matters at endpoints only."""
    alone = fresh.read_text()
    text = alone.replace("peers = []", 'peers = ["10.0.0.2:8446"]')
    text = text.replace('"sqlite:state/ledger.db"', '"postgresql://crewgate@db.example/budgets"')
    endpoint = '\n[mcp.files]\npath = "/mcp"\nupstream = "tools"\nprice = "0"\n'
    shared = fresh.parent / "shared.keys"
    shared.write_text(f"{'01' * 32}\n")
    shared.chmod(0o600)
    for content, is_warned in (
        (text, False),
        (alone + endpoint, False),
        (text + endpoint, True),
        (f'sealing_keys = "shared.keys"\n{text}{endpoint}', False),
    ):
        fresh.write_text(content)
        _, warnings = check(run, fresh)
        assert any("makes its own sealing keys" in each for each in warnings) == is_warned
