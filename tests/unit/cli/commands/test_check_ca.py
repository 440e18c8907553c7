"""`crewgate check` looks at the CA: what makes a gateway refuse everybody, now and soon."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import forged_certificates
import pytest
from cli_runner import Run

from crewgate.ca.authority import Authority
from crewgate.ca.certificates import pem
from crewgate.ca.crl import make_crl
from crewgate.config import CAConfig, load


@pytest.fixture
def ca(fresh: Path) -> CAConfig:
    """The CA of a fresh set-up."""
    ca = load(fresh).ca
    assert ca is not None
    return ca


def check(run: Run, config: Path) -> tuple[list[str], list[str]]:
    """Problems and warnings."""
    document = json.loads(run("check", "-c", config, "--json").stdout)
    return document["problems"], document["warnings"]


def _sign(ca: CAConfig, moment: datetime) -> None:
    with Authority(ca) as authority:
        authority.publish(moment)


def _foreign(ca: CAConfig) -> None:
    ca.crl.write_bytes(make_crl(forged_certificates.other_issuing(), [], 1, datetime.now(UTC)))


def _other_root(ca: CAConfig) -> None:
    ca.root.write_bytes(pem(forged_certificates.other_issuing().certificate))


DAY = timedelta(days=1)
PROBLEMS: dict[str, tuple[Callable[[CAConfig], object], str]] = {
    "no root": (lambda ca: ca.root.unlink(), "no client certificate can be verified"),
    "no list": (
        lambda ca: ca.crl.unlink(),
        "list of revoked certificates cannot be read (No such file",
    ),
    "nonsense": (
        lambda ca: ca.crl.write_text("x"),
        "not a list of revoked certificates (CRL) in PEM",
    ),
    "stale": (lambda ca: _sign(ca, datetime.now(UTC) - 2 * DAY), "stale since"),
    "to come": (
        lambda ca: _sign(ca, datetime.now(UTC) + DAY),
        "which is in the future; set the clock",
    ),
    "foreign": (_foreign, "not signed by"),
    "other root": (_other_root, "not signed by"),
}


@pytest.mark.parametrize(("harm", "says"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_makes_a_gateway_refuse_everybody_is_a_problem(
    run: Run, fresh: Path, ca: CAConfig, harm: Callable[[CAConfig], object], says: str
) -> None:
    """One line with the file; where no listener asks for certificates it is none."""
    harm(ca)
    problems, _ = check(run, fresh)
    (problem,) = problems
    assert says in problem
    assert str(fresh.parent) in problem
    fresh.write_text(
        fresh.read_text().replace('client_certificate = "required"', 'client_certificate = "none"')
    )
    assert check(run, fresh)[0] == []


def test_a_list_that_will_be_stale_soon_is_a_warning(run: Run, fresh: Path, ca: CAConfig) -> None:
    """Six hours before, with the time and the command."""
    _sign(ca, datetime.now(UTC) - timedelta(hours=17))
    assert not any("every certificate is refused" in text for text in check(run, fresh)[1])
    _sign(ca, datetime.now(UTC) - timedelta(hours=19))
    problems, warnings = check(run, fresh)
    assert problems == []
    assert any("every certificate is refused" in text and "ca crl" in text for text in warnings)


def test_what_keeps_the_ca_from_its_work_is_a_warning(run: Run, fresh: Path, ca: CAConfig) -> None:
    """A register that is gone, a key of another CA; a CA whose key is elsewhere is fine."""
    ca.register.rename(ca.folder / "away")
    assert any("register is not there" in text for text in check(run, fresh)[1])
    (ca.folder / "away").rename(ca.register)
    ca.issuing_key.write_bytes(ca.root_key.read_bytes())
    assert any("not the key of" in text for text in check(run, fresh)[1])
    ca.issuing_key.unlink()
    assert check(run, fresh)[0] == []
    assert not any("not the key of" in text for text in check(run, fresh)[1])


def test_the_cas_key_is_a_secret_of_its_own_holder(run: Run, fresh: Path, ca: CAConfig) -> None:
    """Whoever can read it is the CA; and one user for all is said."""
    ca.issuing_key.chmod(0o644)
    ca.root_key.chmod(0o604)
    ca.folder.chmod(0o777)
    ca.crl.chmod(0o666)
    warnings = check(run, fresh)[1]
    for text in (
        f"{ca.issuing_key}: other users can read this private key (mode 0644)",
        f"{ca.root_key}: a secret of the CA that others may read (mode 0604)",
        f"{ca.folder}: anyone may put files there; chmod o-w",
        f"{ca.crl}: anyone may write it; chmod o-w",
        f"the CA ({ca.issuing_key})",
    ):
        assert any(text in warning for warning in warnings), (text, warnings)
    assert sum(f"{ca.issuing_key}: " in warning for warning in warnings) == 1


def test_a_passphrase_is_a_secret_too(run: Run, fresh: Path, ca: CAConfig) -> None:
    """And one that opens nothing is told."""
    file = fresh.parent / "passphrase"
    file.write_text("xyzzy")
    file.chmod(0o644)
    fresh.write_text(fresh.read_text().replace("[ca]\n", '[ca]\npassphrase_file = "passphrase"\n'))
    warnings = check(run, fresh)[1]
    assert any(f"{file}: a secret of the CA" in text for text in warnings)
    assert any("is not encrypted, but there is a passphrase" in text for text in warnings)
    assert not any("xyzzy" in text for text in warnings)


def test_a_list_that_nobody_renews_is_told_of(run: Run, fresh: Path, ca: CAConfig) -> None:
    """Without the key, it comes from peers or from the API that is named; with it, it is signed."""

    def is_told() -> bool:
        return any("nothing renews" in text for text in check(run, fresh)[1])

    assert not is_told()
    ca.issuing_key.unlink()
    assert is_told()
    text = fresh.read_text()
    fresh.write_text(text.replace("[ca]\n", '[ca]\ncontrol = "https://gw1.example:8445"\n'))
    assert not is_told()
    joined = text.replace("peers = []", 'peers = ["127.0.0.1:4711"]')
    fresh.write_text(joined.replace("[ledger]\n", "[ledger]\nper_machine = true\n"))
    assert not is_told()
