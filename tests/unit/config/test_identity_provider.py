"""The tables [identity_provider.NAME]: what a person writes, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.config import IdentityProviderConfig, load
from crewgate.errors import ConfigurationError

CREW = """
[crew.article]
issuer = "https://orchestrator.example"
jwks = "article.jwks.json"
tools = ["search.*"]
"""
TABLE = """
[identity_provider.corp]
issuer = "https://id.example/tenant"
audience = ["crew-app"]
"""
OTHER = '''jwks = "a"
[identity_provider.{name}]
issuer = "{issuer}"
audience = ["x"]
jwks = "b"'''
Write = Callable[[str], Path]


def loaded(file: Path) -> IdentityProviderConfig:
    """The one provider of a configuration."""
    (found,) = load(file).identity_providers
    return found


def test_a_provider_has_its_keys_in_a_file(minimal: str, write: Write) -> None:
    """The path is relative to the configuration; all else has a default that is safe."""
    file = write(f'{minimal}{CREW}{TABLE}jwks = "corp.jwks.json"\n')
    found = loaded(file)
    assert found.files == [file.parent / "corp.jwks.json"]
    assert (found.algorithms, found.subject_claim) == (("RS256", "ES256", "EdDSA"), "sub")
    assert (found.max_age_seconds, found.crews, found.pinned_keys) == (3600, None, ())


def test_a_provider_has_its_keys_at_a_url(minimal: str, write: Write) -> None:
    """With roots of its own, with keys that alone may sign, and for one crew."""
    url = "https://id.example/keys?v=2"
    more = f'jwks_url = "{url}"\nca = "corp.pem"\npinned_keys = ["{"A" * 43}"]\n'
    file = write(f'{minimal}{CREW}{TABLE}{more}crews = ["article"]\n')
    found = loaded(file)
    assert (found.jwks, found.jwks_url, found.crews) == (None, url, ("article",))
    assert found.files == [file.parent / "corp.pem"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("", "give either `jwks` or `jwks_url`"),
        ('jwks = "a"\njwks_url = "https://id.example/keys"', "give either `jwks` or `jwks_url`"),
        ('jwks = "a"\nca = "b"', "has an effect only with jwks_url"),
        ('jwks_url = "http://id.example/keys"', 'expected "https://…"'),
        ('jwks_url = "https://me@id.example/keys"', 'expected "https://…"'),
        ('jwks_url = "file:///etc/passwd"', 'expected "https://…"'),
        ('jwks = "a"\nalgorithms = ["HS256"]', "algorithms"),
        ('jwks = "a"\nalgorithms = ["none"]', "algorithms"),
        ('jwks = "a"\npinned_keys = ["short"]', "thumbprint"),
        ('jwks = "a"\nmax_age_seconds = 86401', "from 1 to 86400"),
        ('jwks = "a"\ncrews = ["nobody"]', 'no crew "nobody"'),
        (
            OTHER.format(name="other", issuer="https://id.example/tenant"),
            "[identity_provider.corp] has this issuer too",
        ),
        (
            OTHER.format(name="other", issuer="https://orchestrator.example"),
            "[crew.article] has this issuer too",
        ),
        (OTHER.format(name="Corp", issuer="https://x.example"), "expected a name"),
    ],
)
def test_what_cannot_work_is_refused(minimal: str, write: Write, lines: str, why: str) -> None:
    """With the table and the key, and how to mend it."""
    with pytest.raises(ConfigurationError) as raised:
        loaded(write(f"{minimal}{CREW}{TABLE}{lines}\n"))
    assert why in str(raised.value)
    assert "identity_provider" in str(raised.value)
