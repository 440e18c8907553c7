"""Which tokens of an identity provider prove a subject, and which do not."""

import base64
import hmac
import json
import re
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from identity_provider_world import ISSUER, KEYS, NOW, RSA_KEY, claims, id_token, provider
from jwt.algorithms import OKPAlgorithm

from crewgate import limits
from crewgate.core.tokens.claims import is_text
from crewgate.core.tokens.subjects import encode_subject, provider_in
from crewgate.errors import SubjectTokenError
from crewgate.identity_provider.subject_tokens import SubjectTokenVerifier


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, signature: bytes) -> str:
    """A compact JWS of any content."""
    parts = [
        each if isinstance(each, bytes) else json.dumps(each).encode() for each in (header, payload)
    ]
    return ".".join(map(base64url, (*parts, signature)))


def with_public_key_as_secret() -> str:
    """HS256 with the public key of the provider as the secret."""
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    token = raw({"alg": "HS256", "kid": "rsa-1"}, claims(), b"").removesuffix(".")
    return f"{token}.{base64url(hmac.digest(pem, token.encode(), 'sha256'))}"


def of_another_key() -> str:
    """With the kid of the provider's key, and a signature of another."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims(), other, "RS256", headers={"kid": "rsa-1"})


def signed_as_sent(payload: bytes) -> str:
    """The provider's own signature over a payload that parsers read differently."""
    return jwt.PyJWS().encode(payload, KEYS["ed-1"][0], "EdDSA", headers={"kid": "ed-1"})


def edited(old: str, new: str) -> str:
    """The provider's own signature over claims with another text in them."""
    assert old in TEXT
    return signed_as_sent(TEXT.replace(old, new, 1).encode())


TEXT = json.dumps(claims())
REFUSED: dict[str, tuple[str, str]] = {
    "another issuer": (id_token(iss=f"{ISSUER}/"), "`iss` names no configured"),
    "no issuer": (id_token(iss=None), "`iss` names no configured"),
    "an issuer that is a list": (edited(f'"{ISSUER}"', "[]"), "`iss` names"),
    "another key with the same kid": (of_another_key(), "not that of a key"),
    "no signature": (raw({"alg": "none"}, claims(), b""), "`alg` is not in algorithms"),
    "an HMAC with the public key": (with_public_key_as_secret(), "`alg` is not in algorithms"),
    "an algorithm that was not configured": (
        jwt.encode(claims(), RSA_KEY, "PS256", headers={"kid": "rsa-1"}), "`alg` is not in",
    ),
    "an algorithm that does not fit the key": (
        raw({"alg": "ES256", "kid": "rsa-1"}, claims(), b"\1" * 64), "no key with this `kid`",
    ),
    "an unknown kid": (id_token(header={"kid": "rsa-2"}), "no key with this `kid`"),
    "a logout token": (id_token(header={"typ": "logout+jwt"}), "`typ` is neither"),
    "an event in a token without a type": (id_token(events={}), "reports an event"),
    "an extension": (id_token(header={"crit": ["b64"], "b64": True}), "`crit` asks for"),
    "another audience": (id_token(aud="another-app"), "`aud` has no value"),
    "no audience": (id_token(aud=None), "missing required field `aud`"),
    "several audiences": (id_token(aud=["crew-app", "x"]), "so `azp` must be in"),
    "several audiences for another": (id_token(aud=["crew-app", "x"], azp="x"), "so `azp` must"),
    "an expired one": (id_token(exp=NOW - limits.subject_token_leeway_seconds - 1), "expired"),
    "one without an end": (id_token(exp=None), "missing required field `exp`"),
    "an end that is a text": (id_token(exp=str(NOW + 60)), "$.exp"),
    "an end that is true": (id_token(exp=True), "$.exp"),
    "an end that is no number": (edited(str(NOW + 300), "NaN"), "JSON object"),
    "an end without an end": (edited(str(NOW + 300), "1e400"), "$.exp"),
    "an end of 400 digits": (id_token(exp=10**400), "$.exp"),
    "a future one": (id_token(iat=NOW + limits.subject_token_leeway_seconds + 1), "not valid yet"),
    "one for later": (id_token(nbf=NOW + limits.subject_token_leeway_seconds + 1), "not valid yet"),
    "an old one": (
        id_token(iat=NOW - 3600 - limits.subject_token_leeway_seconds - 1), "older than max_age",
    ),
    "no subject": (id_token(sub=None), "`sub` must be a text"),
    "an empty subject": (id_token(sub=""), "`sub` must be a text"),
    "a subject that is a list": (edited('"ada"', '["ada"]'), "`sub` must be"),
    "a long subject": (id_token(sub="a" * limits.claim_chars_max), "cannot name the subject"),
    "half a character": (edited('"ada"', '"\\ud800"'), "no text in Unicode"),
    "a claim twice": (edited("{", '{"sub": "eve", '), "distinct names"),
    "nested without end": (signed_as_sent(b'{"a":' * 2400), "a part is not a JSON object"),
    "no object": (signed_as_sent(b'"ada"'), "a part is not a JSON object"),
    "no UTF-8": (signed_as_sent(TEXT.encode("utf-16")), "a part is not a JSON object"),
    "no JSON": (signed_as_sent(b"\xff"), "a part is not a JSON object"),
    "no token": ("crew-secret", "no signed JWT"),
    "five parts": (id_token() + ".x.x", "no signed JWT"),
    "other characters": (id_token() + "é", "not in base64url"),
    "an endless one": ("a" * 20_000, "more than 16384 characters"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_no_other_token_proves_a_subject(tmp_path: Path, what: str) -> None:
    """The error says which rule it breaks, in one line, and repeats no part of it."""
    token, why = REFUSED[what]
    with pytest.raises(SubjectTokenError, match=re.escape(why)) as raised:
        SubjectTokenVerifier([provider(tmp_path)]).verify(token, "article", NOW)
    said = str(raised.value)
    assert said.startswith("subject token: ")
    assert "\n" not in said
    assert not [part for part in token.split(".") if len(part) > 3 and part in said]
    assert "ada" not in said.split()


@pytest.mark.parametrize(
    ("kid", "changes"),
    [
        ("rsa-1", {}),
        ("ec-1", {"aud": ["x", "crew-app"], "azp": "crew-app"}),
        ("ed-1", {"header": {"typ": "at+jwt"}}),
        ("ed-1", {"header": {"kid": None}}),
        ("rsa-1", {"header": {"typ": None}}),
        ("rsa-1", {"exp": NOW - limits.subject_token_leeway_seconds, "nbf": NOW + 5}),
        ("rsa-1", {"exp": NOW + 0.5, "iat": NOW - 0.5}),
    ],
)
def test_a_good_token_proves_its_subject(tmp_path: Path, kid: str, changes: Any) -> None:
    """By each type of key, for one of several applications, and with clocks that differ."""
    verifier = SubjectTokenVerifier([provider(tmp_path)])
    token = id_token(kid, **changes)
    assert verifier.verify(f" {token}\n", "article", NOW).text == "corp:ada"
    assert verifier.claims_known_provider(f"{token}\n")
    assert not verifier.claims_known_provider(id_token(iss="https://crew.example"))


def test_each_algorithm_has_a_key_that_fits(tmp_path: Path) -> None:
    """Also the newer name of Ed25519 (RFC 9864); those that are not configured have none."""
    names = ("RS512", "PS256", "Ed25519")
    verifier = SubjectTokenVerifier([provider(tmp_path, algorithms=names)])
    signer = jwt.PyJWS()
    if "Ed25519" not in signer.get_algorithms():
        signer.register_algorithm("Ed25519", OKPAlgorithm())
    for kid, name in (("rsa-1", "RS512"), ("rsa-1", "PS256"), ("ed-1", "Ed25519")):
        token = signer.encode(TEXT.encode(), KEYS[kid][0], name, headers={"kid": kid})
        assert verifier.verify(token, "article", NOW).text == "corp:ada"
    with pytest.raises(SubjectTokenError, match="`alg` is not in algorithms"):
        verifier.verify(id_token("ed-1"), "article", NOW)


def test_a_provider_is_for_its_crews(tmp_path: Path) -> None:
    """An orchestrator of another crew that has got hold of the token begins no run with it."""
    verifier = SubjectTokenVerifier([provider(tmp_path, crews=("article",))])
    assert verifier.verify(id_token(), "article", NOW).text == "corp:ada"
    with pytest.raises(SubjectTokenError, match=r"crew finance is not in crews of \[identity_prov"):
        verifier.verify(id_token(), "finance", NOW)


def test_an_address_names_a_person_only_if_it_was_verified(tmp_path: Path) -> None:
    """Else everyone who may choose their address at the provider could be everyone."""
    verifier = SubjectTokenVerifier([provider(tmp_path, subject_claim="email")])
    for unverified in ({}, {"email_verified": False}, {"email_verified": "true"}):
        with pytest.raises(SubjectTokenError, match="`email_verified` is true"):
            verifier.verify(id_token(email="ada@corp.example", **unverified), "article", NOW)
    token = id_token(email="ada+x@corp.example", email_verified=True)
    assert verifier.verify(token, "article", NOW).text == "corp:ada/2Bx@corp.example"


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_two_persons_never_have_one_name(one: str, other: str) -> None:
    """Whatever their provider calls them, a token can hold the name, and it differs."""
    names = []
    for text in (one, other):
        try:
            names.append(encode_subject("corp", text))
        except ValueError:
            return
    assert (names[0] == names[1]) is (one == other)
    assert all(is_text(name) and provider_in(name, ["corp"]) == "corp" for name in names)


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("a/2Fb", "corp:a/2F2Fb"),
        ("a//b", "corp:a/2F/2Fb"),
        ("auth0|5f", "corp:auth0/7C5f"),
        ("corp:ada", "corp:corp:ada"),
        ("a\0b", "corp:a/00b"),
        ("ä", "corp:/C3/A4"),
        ("a\u0308", "corp:a/CC/88"),
        ("under_score", "corp:under_score"),
    ],
)
def test_odd_characters_are_escaped(subject: str, name: str) -> None:
    """Two ways to write one letter are two persons: the provider says so."""
    assert encode_subject("corp", subject) == name


def test_no_other_prefix_is_the_provider_s() -> None:
    """Upper case could deceive a reader, so it counts; a name without a colon is no prefix."""
    assert provider_in("CORP:ada", ["corp"]) == "corp"
    assert provider_in("corporation:ada", ["corp"]) is None
    assert provider_in("corp", ["corp"]) is None
    assert provider_in("article/article-1", ["article"]) is None
