"""`crewgate ca issue --role server`: a certificate with hosts and without a holder."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cli_runner import Run
from cryptography import x509

from crewgate.ca.key_files import read_key

HOSTS = ("--host", "gw1.example", "--host", "10.0.0.1")
SERVER = ("ca", "issue", "--role", "server")


def extensions(leaf: x509.Certificate) -> set[str]:
    """The identifiers of a certificate's extensions."""
    return {each.oid.dotted_string for each in leaf.extensions}


def test_it_is_as_init_makes_a_listener_s(run: Run, fresh: Path) -> None:
    """Other hosts and another key, but the same kind, chain and life; `renew` renews it too."""
    prefix = fresh.parent / "gw-1-listener"
    result = run(*SERVER, "-c", fresh, *HOSTS, "--out", prefix, "--json")
    assert result.exit_code == 0, result.output
    files = (prefix.with_suffix(".pem"), fresh.parent / "certs" / "gateway.pem")
    (leaf, issuing), (usual, above) = (
        x509.load_pem_x509_certificates(file.read_bytes()) for file in files
    )
    leaf.verify_directly_issued_by(issuing)
    assert (issuing, leaf.subject, extensions(leaf)) == (above, usual.subject, extensions(usual))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["gw1.example", "10.0.0.1"]
    life, usual_life = (
        each.not_valid_after_utc - each.not_valid_before_utc for each in (leaf, usual)
    )
    assert life == usual_life
    assert read_key(prefix.with_suffix(".key")).public_key() == leaf.public_key()
    assert prefix.with_suffix(".key").stat().st_mode & 0o777 == 0o600
    row = json.loads(result.stdout)
    assert (row["role"], int(row["serial"], 16)) == ("server", leaf.serial_number)
    renewed = json.loads(run("ca", "renew", "-c", fresh, files[0], "--json").stdout)
    assert renewed["serial"] != row["serial"]


def test_it_lives_as_long_as_asked(run: Run, fresh: Path) -> None:
    """Up to 397 days."""
    prefix = fresh.parent / "short"
    assert run(*SERVER, "-c", fresh, *HOSTS, "--out", prefix, "--life", "9d").exit_code == 0
    leaf = x509.load_pem_x509_certificates(prefix.with_suffix(".pem").read_bytes())[0]
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc) // timedelta(days=1) == 9


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--out", "x"), "Missing option '--host'"),
        (HOSTS, "Missing option '--out'"),
        ((*HOSTS, "--out", "x", "--name", "a"), "goes only with --host, --life and --out"),
        ((*HOSTS, "--out", "x", "--life", "398d"), "a lifetime of"),
        (("--host", "a b", "--out", "x"), "--host 'a b'"),
        ((*HOSTS, "--out", "no/x"), "no: no such folder"),
    ],
)
def test_bad_input_is_one_line(
    run: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], says: str
) -> None:
    """Status 2, and no file."""
    monkeypatch.chdir(fresh.parent / "certs")
    before = {path.name for path in Path().iterdir()}
    result = run(*SERVER, "-c", fresh, *given)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert says in result.stderr
    assert {path.name for path in Path().iterdir()} == before
