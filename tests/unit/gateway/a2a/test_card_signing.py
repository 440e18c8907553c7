"""The signature of the gateway on a card, as the official SDK checks it."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from a2a.client.card_resolver import parse_agent_card
from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier
from jwt.api_jwk import PyJWK

from crewgate.core.a2a import agent_card
from crewgate.core.a2a.methods import Binding, Version
from crewgate.gateway.a2a.card_signing import read_card_signer
from crewgate.issuer import SigningKey

CARD = {
    "name": "Agent ü",
    "description": "An agent.",
    "version": "1.0.0",
    "supportedInterfaces": [
        {"url": "http://agent/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    ],
    "capabilities": {"streaming": False},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
    "skills": [{"id": "echo", "name": "Echo", "description": "Echoes.", "tags": ["test"]}],
    "signatures": [{"protected": "e30", "signature": "AA"}],
}
VIEW = agent_card.CardView(
    "https://gate.example/a2a/agent", "gate.example", "agent.*", [Binding.JSONRPC], [Version.V1_0]
)


def test_the_official_client_accepts_the_signature(tmp_path: Path) -> None:
    """It accepts no other card; the key id is the thumbprint of RFC 7638."""
    key = SigningKey.generate("any")
    key.write(tmp_path / "card.key")
    signed = agent_card.rewrite(
        json.dumps(CARD).encode(), VIEW, read_card_signer(tmp_path / "card.key")
    )
    asked: list[tuple[str | None, str | None]] = []

    def key_of(kid: str | None, jku: str | None) -> PyJWK:
        asked.append((kid, jku))
        return PyJWK(key.jwk())

    verify = create_signature_verifier(key_of, ["EdDSA"])
    found = json.loads(signed)
    verify(parse_agent_card(found))
    ((kid, jku),) = asked
    public = f'{{"crv":"Ed25519","kty":"OKP","x":"{key.jwk()["x"]}"}}'
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(public.encode()).digest())
    assert kid == thumbprint.rstrip(b"=").decode()
    assert jku is None
    found["name"] = "Agent u"
    with pytest.raises(InvalidSignaturesError):
        verify(parse_agent_card(found))
