"""The signature of the gateway on a card, as the official SDK checks it."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from a2a.client.card_resolver import parse_agent_card
from a2a.compat.v0_3 import types as v0_3
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier
from jwt.api_jwk import PyJWK

from crewgate.core.a2a import agent_card
from crewgate.core.a2a.methods import Binding, Version
from crewgate.gateway.a2a.card_signing import read_card_signer
from crewgate.issuer import SigningKey

VIEW = agent_card.CardView(
    "https://gate.example/a2a/agent", "gate.example", "agent.*", [Binding.JSONRPC], [*Version]
)
SKILL = AgentSkill(id="echo", name="Echo", description="Echoes.", tags=["test"])


def card_for(*versions: str) -> bytes:
    """The card of an agent of the official SDK, which has members of both versions."""
    card = AgentCard(
        name="Agent ü",
        description="An agent.",
        version="1.0.0",
        supported_interfaces=[
            AgentInterface(url="http://a/", protocol_binding="JSONRPC", protocol_version=version)
            for version in versions
        ],
        capabilities=AgentCapabilities(streaming=False),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[SKILL],
    )
    return json.dumps(agent_card_to_dict(card)).encode()


@pytest.mark.parametrize("versions", [("1.0",), ("1.0", "0.3")])
def test_the_official_client_accepts_the_signature(
    tmp_path: Path, versions: tuple[str, ...]
) -> None:
    """It accepts no other card; the key id is the thumbprint of RFC 7638."""
    key = SigningKey.generate("any")
    key.write(tmp_path / "card.key")
    sign = read_card_signer(tmp_path / "card.key")
    shown = agent_card.rewrite(card_for(*versions), VIEW, sign)
    asked: list[tuple[str | None, str | None]] = []

    def key_of(kid: str | None, jku: str | None) -> PyJWK:
        asked.append((kid, jku))
        return PyJWK(key.jwk())

    verify = create_signature_verifier(key_of, ["EdDSA"])
    verify(parse_agent_card(json.loads(shown)))
    ((kid, jku),) = asked
    public = f'{{"crv":"Ed25519","kty":"OKP","x":"{key.jwk()["x"]}"}}'
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(public.encode()).digest())
    assert kid == thumbprint.rstrip(b"=").decode()
    assert jku is None
    with pytest.raises(InvalidSignaturesError):
        verify(parse_agent_card(json.loads(shown) | {"name": "Agent u"}))


def test_clients_of_both_versions_read_one_card() -> None:
    """Each finds the gateway, and the token that it wants, in its own members."""
    shown = json.loads(agent_card.rewrite(card_for("1.0", "0.3"), VIEW))
    old = v0_3.AgentCard.model_validate(shown)
    assert old.url == VIEW.url
    assert old.security == [{"crewgate": ["agent.*"]}]
    assert old.security_schemes is not None
    assert old.security_schemes["crewgate"].root == v0_3.HTTPAuthSecurityScheme(
        scheme="Bearer", bearer_format="JWT"
    )
    new = parse_agent_card(shown)
    assert {each.url for each in new.supported_interfaces} == {VIEW.url}
    scheme = new.security_schemes["crewgate"].http_auth_security_scheme
    assert (scheme.scheme, scheme.bearer_format) == ("Bearer", "JWT")
    assert new.security_requirements[0].schemes["crewgate"].list == ["agent.*"]
