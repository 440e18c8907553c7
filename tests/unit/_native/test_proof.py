"""DPoP proofs: the good ones of both algorithms, and attacks of which none is good."""

import json
from collections.abc import Callable
from functools import partial

import proofs
import pytest
import tokens
from hypothesis import given
from hypothesis import strategies as st
from proofs import NOW, TOKEN, Ed25519Client, P256Client

from crewgate import limits
from crewgate._native.proof import KeyBinding, Origin, Proof
from crewgate.core.reasons import Reason

ED25519, P256 = Ed25519Client(), P256Client()
OTHER = {Ed25519Client: Ed25519Client(b"\2" * 32), P256Client: P256Client(8)}
ORIGIN = Origin("https", b"gateway.example")
PATH = b"/search/web"
Client = Ed25519Client | P256Client

each_client = pytest.mark.parametrize("client", [ED25519, P256], ids=["Ed25519", "P-256"])


def fault(
    client: Client,
    proof: bytes,
    *,
    method: bytes = b"POST",
    origin: Origin = ORIGIN,
    path: bytes = PATH,
    token: bytes = TOKEN,
    now: int = NOW,
) -> Reason | None:
    """What is wrong with a proof for a request with a token that is bound to the client's key."""
    binding = KeyBinding(proofs.thumbprint(client), token)
    return Proof(proof, method, origin, path).check(binding, now)


@each_client
def test_a_good_proof(client: Client) -> None:
    assert fault(client, proofs.proof(client)) is None


@each_client
@pytest.mark.parametrize(
    "changes",
    [
        {"iat": NOW - limits.proof_age_seconds_max},
        {"iat": NOW + limits.leeway_seconds},
        {"iat": NOW + 0.5},
        {"htu": "HTTPS://Gateway.EXAMPLE:443/search/web"},
        {"htu": "https://gateway.example:/search/%77eb"},
        {"htu": proofs.URL + "?q=1#part"},
        {"jti": "x" * limits.proof_id_chars_max},
        {"nonce": "any"},
        {"unknown": {"a": [1, None]}},
    ],
    ids=str,
)
def test_what_a_good_proof_may_say(client: Client, changes: dict[str, object]) -> None:
    assert fault(client, proofs.proof(client, **changes)) is None


@each_client
@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "GET"},
        {"htm": "post"},
        {"htm": "POST\0"},
        {"htu": "https://gateway.example/search/web/"},
        {"htu": "https://gateway.example/search"},
        {"htu": "https://gateway.example/search%2Fweb"},
        {"htu": "https://gateway.example:8443/search/web"},
        {"htu": "https://gateway.example.evil/search/web"},
        {"htu": "https://evil@gateway.example/search/web"},
        {"htu": "http://gateway.example/search/web"},
        {"htu": "https://gateway.example"},
        {"htu": "/search/web"},
        {"htu": ""},
        {"htu": "https://gateway.example/search/wéb"},
        {"iat": NOW - limits.proof_age_seconds_max - 1},
        {"iat": NOW + limits.leeway_seconds + 1},
        {"iat": 0},
        {"iat": 2**62},
        {"iat": -1},
        {"iat": str(NOW)},
        {"iat": True},
        {"iat": None},
        {"ath": tokens.base64url(b"\0" * 32).decode()},
        {"ath": proofs.CLAIMS["ath"] + "="},
        {"ath": ""},
        {"jti": ""},
        {"jti": "x" * (limits.proof_id_chars_max + 1)},
        {"jti": 7},
        {"nonce": None},
        *({name: ...} for name in proofs.CLAIMS),
    ],
    ids=str,
)
def test_a_proof_that_is_not_about_this_request(client: Client, changes: dict[str, object]) -> None:
    assert fault(client, proofs.proof(client, **changes)) is Reason.INVALID_PROOF


@each_client
def test_a_proof_for_another_request(client: Client) -> None:
    proof = proofs.proof(client)
    check = partial(fault, client, proof)
    assert check(method=b"GET") is Reason.INVALID_PROOF
    assert check(path=b"/search/web/more") is Reason.INVALID_PROOF
    assert check(origin=Origin("https", b"other.example")) is Reason.INVALID_PROOF
    assert check(origin=Origin("http", b"gateway.example")) is Reason.INVALID_PROOF
    assert check(token=tokens.token(jti="another")) is Reason.INVALID_PROOF
    assert check(now=NOW + limits.proof_age_seconds_max + 1) is Reason.INVALID_PROOF
    assert check() is None


@each_client
def test_the_proof_of_another_key(client: Client) -> None:
    thief = OTHER[type(client)]
    assert fault(client, proofs.proof(thief)) is Reason.INVALID_PROOF
    named = proofs.header_of(client)  # the right key, and a signature of the wrong one
    assert fault(client, proofs.proof(thief, named)) is Reason.INVALID_PROOF


@each_client
@pytest.mark.parametrize(
    "changes",
    [
        {"typ": "JWT"},
        {"typ": "DPoP+JWT"},
        {"typ": ...},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"alg": "ES384"},
        {"alg": ...},
        {"alg": None},
        {"jwk": ...},
        {"jwk": {}},
        {"jwk": None},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
    ],
    ids=str,
)
def test_a_header_that_is_refused(client: Client, changes: dict[str, object]) -> None:
    header = proofs.header_of(client, **changes)
    assert fault(client, proofs.proof(client, header)) is Reason.INVALID_PROOF


@each_client
@pytest.mark.parametrize(
    "changes",
    [
        {"d": "AAAA"},
        {"d": None},
        {"kty": "RSA"},
        {"kty": "oct"},
        {"crv": "P-384"},
        {"crv": "X25519"},
        {"x": "A" * 43},
        {"x": "A" * 42},
        {"x": "B" * 42 + "B"},  # bits left over
        {"x": "A" * 43 + "="},
        {"x": 7},
    ],
    ids=str,
)
def test_a_key_that_is_refused(client: Client, changes: dict[str, object]) -> None:
    header = proofs.header_of(client, jwk={**client.jwk, **changes})
    assert fault(client, proofs.proof(client, header)) is Reason.INVALID_PROOF


def test_the_algorithm_of_another_kind_of_key() -> None:
    header = proofs.header_of(ED25519, alg="ES256")
    assert fault(ED25519, proofs.proof(ED25519, header)) is Reason.INVALID_PROOF
    header = proofs.header_of(P256, alg="EdDSA")
    assert fault(P256, proofs.proof(P256, header)) is Reason.INVALID_PROOF


def test_a_point_that_is_not_on_the_curve() -> None:
    jwk = {**P256.jwk, "y": tokens.base64url(b"\5" * 32).decode()}
    header = proofs.header_of(P256, jwk=jwk)
    text = tokens.compact({name: jwk[name] for name in sorted(jwk)})
    client = P256Client()
    client.jwk = json.loads(text)
    assert fault(client, proofs.proof(client, header)) is Reason.INVALID_PROOF


def test_a_signature_with_zeros() -> None:
    """CVE-2022-21449: r and s are zero."""
    text = proofs.proof(P256)
    zeros = text[: text.rindex(b".") + 1] + tokens.base64url(bytes(64))
    assert fault(P256, zeros) is Reason.INVALID_PROOF


@each_client
@pytest.mark.parametrize(
    "spoil",
    [
        lambda head, body, tail: b"",
        lambda head, body, tail: head + b"." + body,
        lambda head, body, tail: head + b"." + body + b".",
        lambda head, body, tail: head + b"." + body + b"." + tail + b".",
        lambda head, body, tail: head + b"=." + body + b"." + tail,
        lambda head, body, tail: head + b"." + body + b"." + tail[:-1],
        lambda head, body, tail: b" " + head + b"." + body + b"." + tail,
        lambda head, body, tail: head + b"." + body + b"." + tail + b", " + head,
        lambda head, body, tail: body + b"." + head + b"." + tail,
        lambda head, body, tail: head + b"." + body * 9 + b"." + tail,
    ],
)
def test_a_form_that_is_refused(
    client: Client, spoil: Callable[[bytes, bytes, bytes], bytes]
) -> None:
    head, body, tail = proofs.proof(client).split(b".")
    assert fault(client, spoil(head, body, tail)) is Reason.INVALID_PROOF


@each_client
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"htm":"POST"', b'"htm":"GET","htm":"POST"'),
        (b'"htm":"POST"', b'"htm":"POST","\\u0068tm":"GET"'),
        (b'"jti":', b'"x":{"y":1,"y":1},"jti":'),
        (b'"jti":"', b'"jti":"\\u0000'),
        (b'"htm":"POST"', b'"htm":"POST",'),
        (b"{", b"\xef\xbb\xbf{"),
    ],
)
def test_json_that_two_readers_would_read_differently(
    client: Client, before: bytes, after: bytes
) -> None:
    payload = tokens.compact(proofs.claims()).replace(before, after, 1)
    proof = proofs.signed(client, tokens.compact(proofs.header_of(client)), payload)
    assert fault(client, proof) is Reason.INVALID_PROOF


@each_client
def test_members_of_the_header_that_occur_twice(client: Client) -> None:
    header = tokens.compact(proofs.header_of(client))
    for member in (b'"alg":"none"', b'"jwk":{}', b'"typ":"JWT"'):
        twice = header.replace(b"{", b"{" + member + b",", 1)
        proof = proofs.signed(client, twice, tokens.compact(proofs.claims()))
        assert fault(client, proof) is Reason.INVALID_PROOF


def test_a_binding_keeps_no_key_of_a_refused_header() -> None:
    """A thief's header between two good proofs changes nothing."""
    binding = KeyBinding(proofs.thumbprint(ED25519), TOKEN)
    for client, expected in (
        (ED25519, None),
        (OTHER[Ed25519Client], Reason.INVALID_PROOF),
        (P256, Reason.INVALID_PROOF),
        (ED25519, None),
    ):
        proof = Proof(proofs.proof(client), b"POST", ORIGIN, PATH)
        assert proof.check(binding, NOW) is expected
    reordered = dict(reversed(proofs.header_of(ED25519).items()))
    assert (
        Proof(proofs.proof(ED25519, reordered), b"POST", ORIGIN, PATH).check(binding, NOW) is None
    )


@given(position=st.integers(0, 10_000), bits=st.integers(1, 255), client=st.sampled_from([0, 1]))
def test_no_changed_byte_is_accepted(position: int, bits: int, client: int) -> None:
    signer = (ED25519, P256)[client]
    changed = bytearray(proofs.proof(signer))
    changed[position % len(changed)] ^= bits
    assert fault(signer, bytes(changed)) is Reason.INVALID_PROOF


@pytest.mark.parametrize(
    ("scheme", "authority", "url", "same"),
    [
        ("https", b"[::1]:8443", "https://[::1]:8443/", True),
        ("https", b"[::1]", "https://[::1]:443/", True),
        ("https", b"[::1]", "https://[::1]", True),
        ("https", b"a.example:8443", "https://a.example:8443:443/", False),
        ("https", b"a.example:8443", "https://a.example:84430/", False),
        ("https", b"a.example", "https://a.example:80/", False),
        ("http", b"a.example:80", "http://A.example/", True),
        ("http", b"a.example", "http://a.example:80?x", True),
        ("http", b"a.example", "http://a.example:443/", False),
    ],
)
def test_origins(scheme: str, authority: bytes, url: str, *, same: bool) -> None:
    proof = proofs.proof(ED25519, htu=url)
    result = fault(ED25519, proof, origin=Origin(scheme, authority), path=b"/")
    assert (result is None) is same


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="https or http"):
        Origin("ftp", b"a.example")
    for jkt in ("", "A" * 42, "A" * 44, "B" * 43, "é" * 43):
        with pytest.raises(ValueError, match="base64url of 32 bytes"):
            KeyBinding(jkt, TOKEN)
