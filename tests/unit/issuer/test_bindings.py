"""Keys to which tokens are bound: what is minted, what proves them, and what a client remembers."""

import stat
import time
from pathlib import Path
from typing import Any

import proofs
import pytest
import slow_token
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from msgspec import structs

from crewgate import limits
from crewgate._native.proof import KeyBinding, Origin, Proof
from crewgate.core.reasons import Reason
from crewgate.errors import ConfigurationError, IssuerError
from crewgate.issuer import Confirmation, Minter, ProofKey
from crewgate.issuer.bindings import binding_of_certificate, binding_of_key
from crewgate.issuer.token_schemes import DPoPScheme

TOKEN = "e30.e30.c2ln"
JKT = Confirmation(jkt="A" * 43)
GRANT: dict[str, Any] = {"role": "r", "tools": ["search.*"], "quota": 1, "process": "p", "now": 1e9}


def found(key: ProofKey, text: str, method: bytes = b"POST", path: bytes = b"/a") -> Reason | None:
    """What the gate says of a proof for https://gateway.example."""
    assert key.binding.jkt is not None
    proof = Proof(text.encode(), method, Origin("https", b"gateway.example"), path)
    return proof.check(KeyBinding(key.binding.jkt, TOKEN.encode()), int(time.time()))


def test_a_proof_is_good_for_its_request() -> None:
    key = ProofKey.generate()
    for url in ("https://gateway.example/a?q=1#x", "https://GATEWAY.example:443/a"):
        text = key.proof(TOKEN, "POST", url)
        assert found(key, text) is None
        assert found(key, text, b"GET") is Reason.INVALID_PROOF
        assert found(key, text, path=b"/b") is Reason.INVALID_PROOF
        assert found(ProofKey.generate(), text) is Reason.INVALID_PROOF
    assert found(key, key.proof(TOKEN, "POST", "https://gateway.example"), path=b"/") is None
    assert repr(key) == f"<ProofKey {key.binding.jkt}>"


def test_all_tokens_of_a_branch_are_bound_to_its_key(minter: Minter) -> None:
    root = minter.root(**GRANT, binding=JKT)
    assert root.claims.cnf == JKT
    assert minter.extend(root.claims, now=1e9 + 1).claims.cnf == JKT
    assert minter.child(root.claims, **GRANT).claims.cnf is None  # it has a key of its own, or none
    assert minter.child(root.claims, **GRANT, binding=JKT).claims.cnf == JKT


def test_a_crew_that_requires_keys_mints_no_token_without(minter: Minter) -> None:
    minter.crew = structs.replace(minter.crew, requires_binding=True)
    with pytest.raises(IssuerError, match="requires tokens that are bound to a key"):
        minter.root(**GRANT)
    minter.root(**GRANT, binding=JKT)


@pytest.mark.parametrize("client", [proofs.Ed25519Client(), proofs.P256Client()], ids=["Ed", "P"])
def test_a_key_file_private_or_public(client: proofs.Client, tmp_path: Path) -> None:
    private = client._key
    (tmp_path / "private").write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "public").write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    for name in ("private", "public"):
        assert binding_of_key(tmp_path / name).jkt == proofs.thumbprint(client)


def test_a_proof_key_in_a_file(tmp_path: Path) -> None:
    """Only its owner can read the file, and no key is ever overwritten."""
    key, path = ProofKey.generate(), tmp_path / "agent.key"
    key.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ProofKey.load(path).binding == key.binding == binding_of_key(path)
    with pytest.raises(FileExistsError):
        ProofKey.generate().write(path)


def test_files_without_a_key_that_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with pytest.raises(ConfigurationError, match="key: "):
        binding_of_key(file)
    file.write_text("nonsense")
    with pytest.raises(ConfigurationError, match="not a key in PEM"):
        binding_of_key(file)
    with pytest.raises(ConfigurationError, match="not a certificate in PEM"):
        binding_of_certificate(file)
    others = (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1()))
    for other in others:
        file.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        with pytest.raises(ConfigurationError, match="expected an Ed25519 or P-256 key"):
            binding_of_key(file)


def test_a_client_remembers_the_nonces_of_some_servers() -> None:
    scheme = DPoPScheme(ProofKey(Ed25519PrivateKey.generate()))
    answer = {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}
    assert not scheme.take_nonce("https://a/x", 401, answer)
    assert not scheme.take_nonce("https://a/x", 200, {"DPoP-Nonce": "one"})
    assert scheme.take_nonce("https://a/y", 401, {**answer, "DPoP-Nonce": "two"})
    for number in range(limits.proof_servers_max - 1):
        scheme.take_nonce(f"https://{number}/", 200, {"DPoP-Nonce": "x"})

    def has_nonce() -> bool:
        payload = scheme.fields(TOKEN, "GET", "https://a/z")["DPoP"].split(".")[1]
        return b'"nonce":"two"' in slow_token.decode(payload.encode())

    assert has_nonce()
    scheme.take_nonce("https://last/", 200, {"DPoP-Nonce": "x"})
    assert not has_nonce()
