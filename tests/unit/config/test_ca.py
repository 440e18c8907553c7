"""[ca] and what listeners ask of certificates: each key arrives, each mistake is one line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate import limits
from crewgate.config import CAConfig, load
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]
CA_TEXT = """
[ca]
folder = "authority"
root = "public/root.pem"
crl = "public/crl.pem"
trust_domain = "Crews.Example"
life_seconds = 600
passphrase_file = "secrets/ca"
identity_oid = "1.3.6.1.4.1.32473.1"
accepted_identity_oids = ["1.3.6.1.4.1.32473.2"]
"""
ASKING = """
[[listener]]
name = "crews"
address = "127.0.0.1"
port = 8444
certificate = "certs/gateway.pem"
key = "gateway.key"
client_certificate = "required"
crews = ["article"]
"""


def test_every_key_of_the_ca_arrives(write: Write, minimal: str, tmp_path: Path) -> None:
    """Paths absolute, the trust domain in lower case as SPIFFE wants it."""
    config = load(write(minimal + CA_TEXT))
    assert config.ca == CAConfig(
        folder=tmp_path / "authority",
        root=tmp_path / "public/root.pem",
        crl=tmp_path / "public/crl.pem",
        trust_domain="crews.example",
        life_seconds=600,
        passphrase_file=tmp_path / "secrets/ca",
        identity_oid="1.3.6.1.4.1.32473.1",
        accepted_identity_oids=("1.3.6.1.4.1.32473.2",),
    )
    assert config.ca.issuing_key == tmp_path / "authority/issuing.key"
    assert config.ca.root_key == tmp_path / "authority/root.key"
    assert config.ca.register == tmp_path / "authority/issued.sqlite"


def test_only_the_trust_domain_must_be_said(write: Write, minimal: str, tmp_path: Path) -> None:
    """The rest lies where `init` puts it, and a certificate lives four hours."""
    config = load(write(minimal + '[ca]\ntrust_domain = "x.example"\n'))
    assert config.ca == CAConfig(
        tmp_path / "ca", tmp_path / "certs/ca.pem", tmp_path / "certs/crl.pem", "x.example"
    )
    assert config.ca.life_seconds == 4 * 3600
    assert load(write(minimal)).ca is None


@pytest.mark.parametrize("mode", ["required", "optional"])
def test_a_listener_asks_for_certificates(write: Write, whole: str, mode: str) -> None:
    """Of some crews, or of all when it names none."""
    text = whole + CA_TEXT + ASKING.replace("required", mode)
    first, second = load(write(text)).listeners
    assert (first.client_certificate, first.crews) == ("none", None)
    assert (second.client_certificate, second.crews) == (mode, ("article",))
    text = text.replace('crews = ["article"]', "")
    assert load(write(text)).listeners[1].crews is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('trust_domain = "Crews.Example"', "", "trust_domain"),
        ('"Crews.Example"', '"not a domain"', "a DNS name or an IP address, without a port"),
        ("life_seconds = 600", "life_seconds = 0", "life_seconds"),
        (
            "life_seconds = 600",
            f"life_seconds = {limits.certificate_life_seconds_max + 1}",
            f"from 1 to {limits.certificate_life_seconds_max}",
        ),
        ("life_seconds = 600", "lifetime = 600", "lifetime"),
        (
            'oid = "1.3.6.1.4.1.32473.1"',
            'oid = "1.3.6.1.4.1.2147483648.1"',
            "each number must be below 2^31",
        ),
        ('["1.3.6.1.4.1.32473.2"]', '["1.3.6.1.4.1.32473.2", "x"]', "accepted_identity_oids"),
        ("life_seconds = 600", "life_seconds = true", "life_seconds"),
        (
            'client_certificate = "required"\ncrews = ["article"]',
            'client_certificate = "yes"',
            'client_certificate = "yes": expected',
        ),
        ('crews = ["article"]', "crews = []", "crews"),
        ('crews = ["article"]', 'crews = ["bd"]', 'no crew "bd"; known: article'),
        ('crews = ["article"]', 'crews = ["B D"]', "crews"),
        ('client_certificate = "required"', "", "clients present no certificate here"),
        (CA_TEXT, "", "there is no [ca] whose certificates it could accept"),
    ],
)
def test_each_mistake_is_told_with_its_place(
    write: Write, whole: str, old: str, new: str, says: str
) -> None:
    """What, where, and what was expected."""
    text = whole + CA_TEXT + ASKING
    assert old in text
    with pytest.raises(ConfigurationError) as raised:
        load(write(text.replace(old, new)))
    assert says in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
