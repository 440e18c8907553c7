"""The card of an agent leads clients to the gateway, in JSON and in protobuf."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from a2a.client.card_resolver import parse_agent_card
from a2a.compat.v0_3 import a2a_v0_3_pb2
from a2a.compat.v0_3.types import AgentCard as OldAgentCard
from a2a.types import a2a_pb2
from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import json_format

from crewgate.core.a2a import agent_card, agent_card_protobuf
from crewgate.core.a2a.agent_card import CardView
from crewgate.core.a2a.budget_extension import CARD_EXTENSION, URI
from crewgate.core.a2a.errors import INVALID_AGENT_RESPONSE, A2AError
from crewgate.core.a2a.methods import Binding, Version

URL = "https://gateway.example/a2a/research"
VIEW = CardView(
    URL,
    "gateway.example:8443",
    "research.*",
    tuple(Binding),
    tuple(Version),
    extensions=(CARD_EXTENSION,),
)
SKILL: dict[str, Any] = {
    "id": "s", "name": "Search", "description": "d", "tags": [],
    "securityRequirements": [{"schemes": {"oidc": {"list": ["x"]}}}],
}  # fmt: skip
CARD: dict[str, Any] = {
    "name": "Researcher", "description": "", "version": "1.2",
    "supportedInterfaces": [
        {"url": "http://agent:9/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        {"url": "agent:10", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
        {"url": "http://agent:9/t", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0",
         "tenant": "acme"},
        {"url": "wss://agent/", "protocolBinding": "urn:ws", "protocolVersion": "1.0"},
        {"url": "http://agent:9/2", "protocolBinding": "JSONRPC", "protocolVersion": "2.0"},
    ],
    "capabilities": {"streaming": True, "pushNotifications": True},
    "securitySchemes": {"oidc": {"openIdConnectSecurityScheme": {"openIdConnectUrl": "https://i"}}},
    "securityRequirements": [{"schemes": {"oidc": {"list": []}}}],
    "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
    "skills": [SKILL], "signatures": [{"protected": "a", "signature": "b"}],
}  # fmt: skip
CARD_V0_3: dict[str, Any] = {
    "name": "Researcher", "description": "d", "version": "1", "protocolVersion": "0.3.0",
    "url": "http://agent:9/rpc", "preferredTransport": "JSONRPC",
    "additionalInterfaces": [
        {"url": "http://agent:9/rpc", "transport": "JSONRPC"},
        {"url": "http://agent:9/rest", "transport": "HTTP+JSON"},
    ],
    "capabilities": {"pushNotifications": True}, "security": [{"key": []}],
    "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x"}},
    "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"], "skills": [],
}  # fmt: skip


def rewritten(card: Mapping[str, Any], view: CardView = VIEW, **options: Any) -> dict[str, Any]:
    """The card for clients."""
    found = json.loads(agent_card.rewrite(json.dumps(card).encode(), view, **options))
    assert isinstance(found, dict)
    return found


def test_a_card_leads_to_the_gateway() -> None:
    """No address, scheme, signature or capability is left that goes around the gateway."""
    found = rewritten({**CARD, "supported_interfaces": CARD["supportedInterfaces"], "URL": "x"})
    assert not {"supported_interfaces", "URL"} & found.keys()
    assert [(each["url"], each["protocolBinding"]) for each in found["supportedInterfaces"]] == [
        (URL, "JSONRPC"),
        ("gateway.example:8443", "GRPC"),
    ]
    assert "signatures" not in found
    assert found["capabilities"]["pushNotifications"] is False
    assert found["capabilities"]["extensions"][-1]["uri"] == URI
    assert list(found["securitySchemes"]) == ["crewgate"]
    assert not {"agent:", "oidc"} & {*json.dumps(found).replace("/", " ").split('"')}
    read = parse_agent_card(found)
    assert read.supported_interfaces[0].url == URL
    assert read.skills[0].name == "Search"


def test_a_tenant_is_shown_if_the_endpoint_lets_it_through() -> None:
    """The interface of another tenant is not there."""
    found = rewritten(CARD, VIEW._replace(tenants=["acme"], bindings=[Binding.HTTP_JSON]))
    assert found["supportedInterfaces"] == [
        {"url": URL, "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0", "tenant": "acme"}
    ]


def test_pushes_are_shown_where_they_are_allowed() -> None:
    """The agent says whether it can push at all."""
    assert rewritten(CARD, VIEW._replace(allows_push=True))["capabilities"]["pushNotifications"]
    assert "pushNotifications" not in rewritten({**CARD, "capabilities": {}})["capabilities"]


def test_a_card_of_version_0_3_leads_to_the_gateway() -> None:
    """The preferred binding is one that the endpoint serves."""
    found = rewritten(CARD_V0_3, VIEW._replace(bindings=[Binding.HTTP_JSON]))
    assert (found["url"], found["preferredTransport"]) == (URL, "HTTP+JSON")
    assert found["additionalInterfaces"] == [{"url": URL, "transport": "HTTP+JSON"}]
    assert found["security"] == [{"crewgate": ["research.*"]}]
    assert found["securitySchemes"]["crewgate"]["type"] == "http"
    both = rewritten({**CARD_V0_3, **CARD})
    assert both["url"] == both["supportedInterfaces"][0]["url"] == URL
    new_only = rewritten({**CARD_V0_3, **CARD}, VIEW._replace(versions=[Version.V1_0]))
    assert not {"url", "additionalInterfaces", "preferredTransport"} & new_only.keys()


def test_a_client_that_names_its_version_gets_members_of_this_version_only() -> None:
    """Strict readers of one version refuse or misread those of the other."""
    card = {**CARD_V0_3, **CARD, "capabilities": {"stateTransitionHistory": True}}
    both = rewritten(card)
    bearer = {"scheme": "Bearer", "bearerFormat": "JWT"}
    new_form, old_form = {"httpAuthSecurityScheme": bearer}, {"type": "http", **bearer}
    assert both["securitySchemes"] == {"crewgate": {**new_form, **old_form}}
    new = rewritten(card, VIEW._replace(asked=Version.V1_0))
    assert new["securitySchemes"] == {"crewgate": new_form}
    json_format.ParseDict(new, a2a_pb2.AgentCard())  # it refuses unknown members
    key = Ed25519PrivateKey.generate()
    old = rewritten(card, VIEW._replace(asked=Version.V0_3), sign=signer(key))
    assert old["securitySchemes"] == {"crewgate": old_form}
    assert not {"supportedInterfaces", "securityRequirements", "signatures"} & old.keys()
    assert OldAgentCard.model_validate(old).url == URL
    # An agent may have one form only, or the endpoint serve one.
    assert rewritten(CARD_V0_3, VIEW._replace(asked=Version.V1_0))["url"] == URL
    only_new = rewritten(CARD, VIEW._replace(asked=Version.V0_3))
    assert only_new["supportedInterfaces"][0]["url"] == URL
    only_old = rewritten(card, VIEW._replace(versions=[Version.V0_3]))
    assert "supportedInterfaces" not in only_old
    assert parse_agent_card(only_old).supported_interfaces[0].url == URL


@pytest.mark.parametrize(
    "card",
    [
        b"[]", b"{", b'{"name":"x"}', b'{"name":"x","supportedInterfaces":[]}', b"x" * 300_000,
        b'{"name":"","url":"http://x"}', b'{"name":"x","url":"http://x","capabilities":[]}',
        b'{"name":"x","supportedInterfaces":[1]}', b'{"name":"x","url":"u","skills":{"a":1}}',
        b'{"name":"x","url":"u","preferredTransport":"OTHER"}',
    ],
)  # fmt: skip
def test_a_card_that_cannot_be_shown_is_an_error_of_the_agent(card: bytes) -> None:
    """The client learns that the card of the agent is wrong, and gets nothing of it."""
    with pytest.raises(A2AError) as caught:
        agent_card.rewrite(card, VIEW)
    assert caught.value.kind is INVALID_AGENT_RESPONSE


def signer(key: Ed25519PrivateKey) -> Callable[[bytes], Mapping[str, str]]:
    """Signs as section 8.4.2 says."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    def sign(payload: bytes) -> Mapping[str, str]:
        protected = encoded(b'{"alg":"EdDSA","typ":"JOSE","kid":"k"}')
        whole = f"{protected}.{encoded(payload)}".encode()
        return {"protected": protected, "signature": encoded(key.sign(whole))}

    return sign


def test_the_official_sdk_accepts_the_signature_of_the_gateway() -> None:
    """The canonical form is that of the specification, and a changed card does not fit."""
    key = Ed25519PrivateKey.generate()
    extension = {"uri": "urn:x", "required": False, "params": {"n": 1.5, "b": False}}
    card = {**CARD, "description": "d", "iconUrl": "", "skills": [{**SKILL, "tags": ["t"]}]}
    card["capabilities"] = {**CARD["capabilities"], "extensions": [extension]}
    found = rewritten(card, sign=signer(key))
    verify = create_signature_verifier(lambda kid, jku: key.public_key(), ["EdDSA"])
    verify(parse_agent_card(json.loads(json.dumps(found))))
    found["name"] = "Another"
    with pytest.raises(InvalidSignaturesError):
        verify(parse_agent_card(found))
    with pytest.raises(A2AError):
        rewritten({**card, "x": 2**60}, sign=signer(key))


def test_a_card_in_protobuf_leads_to_the_gateway_too() -> None:
    """The card of both forms says the same, except for the signature."""
    shown = {name: value for name, value in CARD.items() if name != "signatures"}
    card = json_format.ParseDict(CARD, a2a_pb2.AgentCard())
    got = a2a_pb2.AgentCard.FromString(
        agent_card_protobuf.rewrite(card.SerializeToString(), Version.V1_0, VIEW)
    )
    assert got == json_format.ParseDict(rewritten(shown), a2a_pb2.AgentCard())


def test_a_card_of_version_0_3_in_protobuf_leads_to_the_gateway_too() -> None:
    """Its first interface is the preferred one."""
    card = a2a_v0_3_pb2.AgentCard(
        name="Researcher", url="http://agent:9", preferred_transport="GRPC", security=[{}],
        additional_interfaces=[{"url": "http://agent:9/r", "transport": "HTTP+JSON"}],
        capabilities={"push_notifications": True, "streaming": True},
        signatures=[{"protected": "a"}],
    )  # fmt: skip
    got = a2a_v0_3_pb2.AgentCard.FromString(
        agent_card_protobuf.rewrite(card.SerializeToString(), Version.V0_3, VIEW)
    )
    assert (got.url, got.preferred_transport) == ("gateway.example:8443", "GRPC")
    assert [each.url for each in got.additional_interfaces] == ["gateway.example:8443", URL]
    assert (got.capabilities.streaming, got.capabilities.push_notifications) == (True, False)
    assert list(got.security_schemes) == ["crewgate"]
    assert not got.signatures
    for bad in (b"\x0a", b"", b"x" * 300_000):
        with pytest.raises(A2AError):
            agent_card_protobuf.rewrite(bad, Version.V1_0, VIEW)
