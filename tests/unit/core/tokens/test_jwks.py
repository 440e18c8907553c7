import json
from typing import Any

import pytest
import tokens

from crewgate import limits
from crewgate.core.policy.policy import VerificationKey
from crewgate.core.tokens.jwks import parse_jwks
from crewgate.errors import ConfigurationError

JWK: dict[str, Any] = {
    "kty": "OKP",
    "crv": "Ed25519",
    "kid": "article-1",
    "x": tokens.base64url(tokens.PUBLIC).decode(),
}


def jwks(*keys: object) -> bytes:
    """A JWKS of these members."""
    return json.dumps({"keys": keys}).encode()


def parse(data: bytes) -> tuple[VerificationKey, ...]:
    """The keys of crew article in a file of this content."""
    return parse_jwks(data, "article", "keys/article.json")


def refusal(**changes: object) -> str:
    """What is said about the key with some members changed; `...` leaves one out."""
    members = {**JWK, **changes}
    jwk = {name: value for name, value in members.items() if value is not ...}
    with pytest.raises(ConfigurationError) as refused:
        parse(jwks(jwk))
    message = str(refused.value)
    assert message.startswith("keys/article.json: key 1")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"alg": "EdDSA"},
        {"alg": "Ed25519"},
        {"use": "sig"},
        {"key_ops": ["verify"]},
        {"unknown": {"x5c": []}},
        {"orchestrator": None},
    ],
)
def test_a_public_key_becomes_a_key(more: dict[str, object]) -> None:
    """Both names of the algorithm, and what other tools write beside it, are accepted."""
    assert parse(jwks({**JWK, **more})) == (VerificationKey("article-1", "article", tokens.PUBLIC),)


def test_a_key_may_name_its_orchestrator() -> None:
    """Such a key speaks for that `client_id` alone."""
    (key,) = parse(jwks({**JWK, "orchestrator": "article/article-1"}))
    assert key.orchestrator == "article/article-1"


def test_keys_keep_their_order() -> None:
    """A file may hold several, or none: a crew whose last key was withdrawn."""
    assert [key.kid for key in parse(jwks(JWK, {**JWK, "kid": "two"}))] == ["article-1", "two"]
    assert parse(jwks()) == ()


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({"kty": "RSA"}, 'kty must be "OKP"'),
        ({"kty": ["OKP"]}, 'kty must be "OKP"'),
        ({"kty": ...}, 'kty must be "OKP"'),
        ({"crv": "X25519"}, 'crv must be "Ed25519"'),
        ({"alg": "RS256"}, 'alg must be "EdDSA" or "Ed25519"'),
        ({"alg": None}, 'alg must be "EdDSA" or "Ed25519"'),
        ({"use": "enc"}, 'use must be "sig"'),
        ({"key_ops": ["sign"]}, 'key_ops must contain "verify"'),
        ({"key_ops": "verify"}, 'key_ops must contain "verify"'),
        ({"kid": ...}, "kid is required"),
        ({"kid": 1}, "kid is required"),
        ({"kid": ""}, "kid is required"),
        ({"kid": "a b"}, "kid is required"),
        ({"x": ...}, "43 characters of base64url"),
        ({"x": 1}, "43 characters of base64url"),
        ({"x": JWK["x"] + "="}, "43 characters of base64url"),
        ({"x": JWK["x"][:-1]}, "43 characters of base64url"),
        ({"x": "A" * 42 + "B"}, "43 characters of base64url"),
        ({"x": "/" + "A" * 42}, "43 characters of base64url"),
        ({"x": "é" * 43}, "43 characters of base64url"),
        ({"orchestrator": "bd/bd-1"}, '"article/" followed by a name'),
        ({"orchestrator": "article 1"}, '"article/" followed by a name'),
        ({"orchestrator": 1}, '"article/" followed by a name'),
        ({"orchestrator": "article/"}, '"article/" followed by a name'),
    ],
)
def test_anything_else_is_refused_with_its_mend(changes: dict[str, Any], mend: str) -> None:
    """The error names the file, the key and what was expected."""
    assert mend in refusal(**changes)


def test_a_private_key_is_refused_without_being_repeated() -> None:
    """A private member is named, its value is not."""
    secret = tokens.base64url(bytes(range(32))).decode()
    message = refusal(d=secret)
    assert "private key" in message
    assert secret not in message


def test_a_kid_names_one_key() -> None:
    """Two keys of one file cannot share a kid."""
    with pytest.raises(ConfigurationError, match="kid 'article-1' names two keys"):
        parse(jwks(JWK, JWK))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"keys":{}}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":[1]}',
        b"\xff",
        b"[" * 60_000,
        b" " * (limits.jwks_bytes_max + 1),
        jwks(*[{**JWK, "kid": str(number)} for number in range(limits.jwks_keys_max + 1)]),
    ],
    ids=range(11),
)
def test_files_that_are_no_jwks_are_refused(data: bytes) -> None:
    """Not JSON, not a JWKS, ambiguous or too large: one line that names the file."""
    with pytest.raises(ConfigurationError, match=r"^keys/article\.json: "):
        parse(data)
