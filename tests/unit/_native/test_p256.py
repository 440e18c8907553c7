"""P-256 proofs where the package cryptography is missing: none is good, and the log says why."""

import proofs
import pytest

from crewgate._native import p256
from crewgate._native.proof import KeyBinding, Origin, Proof
from crewgate.core.reasons import Reason


def test_without_the_package_no_proof_with_such_a_key_is_good(
    monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    monkeypatch.setattr(p256, "find_spec", lambda _: None)
    p256.is_available.cache_clear()
    try:
        for client, expected in (
            (proofs.P256Client(), Reason.INVALID_PROOF),
            (proofs.P256Client(), Reason.INVALID_PROOF),
            (proofs.Ed25519Client(), None),
        ):
            origin = Origin("https", b"gateway.example")
            proof = Proof(proofs.proof(client), b"POST", origin, b"/search/web")
            binding = KeyBinding(proofs.thumbprint(client), proofs.TOKEN)
            assert proof.check(binding, proofs.NOW) is expected
        (line,) = log_lines
        assert "install it, or use Ed25519 keys" in line
    finally:
        p256.is_available.cache_clear()
