"""Rewrites the card of an agent, so that clients come to the gateway and not to the agent.

A card says where and how an agent is called (A2A 1.0, sections 4.4 and 8). A client that follows
the addresses of the agent's own card goes around the gateway. So the card for clients has the
addresses of the gateway, and its security scheme, and no interface or capability that the endpoint
does not serve. A signature of the agent does not fit any more; the gateway may make one of its own.

A card of version 0.3 has `url` and `additionalInterfaces`, one of version 1.0 has
`supportedInterfaces`. A card may have both, as those of the official SDKs have. Then a signature
covers the members of version 1.0 only, which is what these SDKs sign and check. A client that names
its version gets the members of this version only: strict readers of one version refuse or misread
those of the other.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, cast

import msgspec

from crewgate import limits
from crewgate.core.a2a.canonical_json import canonical
from crewgate.core.a2a.errors import INVALID_AGENT_RESPONSE, A2AError
from crewgate.core.a2a.methods import Binding, Version
from crewgate.core.json_member_names import folded_words
from crewgate.core.raw_json import UNREADABLE

SCHEME = "crewgate"  # the name of the security scheme
_BEARER = {"scheme": "Bearer", "bearerFormat": "JWT"}
_DEFAULT_BINDING = Binding.JSONRPC.value  # of a card of version 0.3 that names none
_INTERFACES, _OF_V0_3 = "supportedInterfaces", ("url", "preferredTransport", "additionalInterfaces")
# Members that a card of version 1.0 has even if they are empty or false (`a2a.proto`).
_REQUIRED = frozenset(
    {"name", "description", _INTERFACES, "version", "capabilities", "defaultInputModes",
     "defaultOutputModes", "skills"}
)  # fmt: skip
_REQUIRED_OF_SKILL = frozenset({"id", "name", "description", "tags"})
_OPTIONAL_CAPABILITIES = frozenset({"streaming", "pushNotifications", "extendedAgentCard"})
# Members of version 0.3 that version 1.0 has no more.
_ONLY_V0_3 = frozenset(
    {*_OF_V0_3, "protocolVersion", "supportsAuthenticatedExtendedCard", "security"}
)
_CAPABILITY_ONLY_V0_3 = "stateTransitionHistory"
_ONLY_V1_0 = (_INTERFACES, "securityRequirements", "signatures")
# The members that the gateway writes anew, by their folded names.
_REWRITTEN = {
    folded_words(name): name
    for name in (*_ONLY_V1_0, *_OF_V0_3, "capabilities", "security", "securitySchemes", "skills")
}

_Card = dict[str, Any]
_object: msgspec.json.Decoder[_Card] = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode
# Signs the canonical text of a card, and returns the member of `signatures`.
CardSigner = Callable[[bytes], Mapping[str, str]]


class CardView(NamedTuple):
    """The parts of a card that depend on its endpoint and its reader.

    Attributes:
        url: The URL of the endpoint, for JSON-RPC and HTTP+JSON.
        authority: Host and port of the gateway, for gRPC.
        scope: What a token must allow: a pattern for the endpoint.
        bindings: The bindings that the endpoint serves.
        versions: The versions that it serves.
        tenants: The tenants that it lets through.
        allows_push: Whether the agent may push to some address.
        extensions: Further members of `capabilities.extensions`.
        asked: The version that the client asks for; None if it names none.
    """

    url: str
    authority: str
    scope: str
    bindings: Collection[Binding]
    versions: Collection[Version]
    tenants: Collection[str] = ()
    allows_push: bool = False
    extensions: tuple[Mapping[str, object], ...] = ()
    asked: Version | None = None

    def serves(self, binding: object, version: object, tenant: object) -> bool:
        """Return whether the endpoint serves an interface of the agent."""
        return (
            any(binding == each.value for each in self.bindings)
            and any(str(version).startswith(each.value) for each in self.versions)
            and (not tenant or tenant in self.tenants)
        )

    def address(self, binding: object) -> str:
        """Return where clients find the gateway for a binding."""
        return self.authority if binding == Binding.GRPC.value else self.url


def rewrite(data: bytes, view: CardView, sign: CardSigner | None = None) -> bytes:
    """Return the card for clients; `sign` makes the signature of the gateway.

    Raises:
        A2AError: The card cannot be read, or has no interface that the endpoint serves.
    """
    card = _read(data)
    has_v1_0, has_v0_3 = _serve_interfaces(card, view), _serve_v0_3_interfaces(card, view)
    if not has_v1_0 and not has_v0_3:
        raise unusable("it has no interface that this endpoint serves")
    if has_v1_0 and has_v0_3 and view.asked is not None:
        has_v1_0, has_v0_3 = view.asked is Version.V1_0, view.asked is Version.V0_3
    _limit_capabilities(card, view)
    _remove_security(card)
    if has_v1_0:
        card["securitySchemes"] = {SCHEME: {"httpAuthSecurityScheme": _BEARER}}
        card["securityRequirements"] = [{"schemes": {SCHEME: {"list": [view.scope]}}}]
        if sign is not None:
            card["signatures"] = [_signature(card, sign)]
    else:
        for name in _ONLY_V1_0:
            card.pop(name, None)
    if has_v0_3:
        # The official SDKs too write one scheme in both forms.
        schemes = card.setdefault("securitySchemes", {})
        schemes[SCHEME] = {**schemes.get(SCHEME, {}), "type": "http", **_BEARER}
        card["security"] = [{SCHEME: [view.scope]}]
    elif view.asked is Version.V1_0:
        card = _v1_0_members(card)
    return _encode(card)


def _read(data: bytes) -> _Card:
    check_size(data)
    try:
        card = _object.decode(data)
    except UNREADABLE:
        raise unusable("it is not a JSON object") from None
    for name in [*card]:
        # Some client could read the agent's addresses in such a member.
        if _REWRITTEN.get(folded_words(name), name) != name:
            del card[name]
    if not isinstance(card.get("name"), str) or not card["name"]:
        raise unusable("it has no name")
    if not isinstance(card.setdefault("capabilities", {}), dict):
        raise unusable("its capabilities are not an object")
    return card


def _serve_interfaces(card: _Card, view: CardView) -> bool:
    """Put the gateway's addresses into a card of version 1.0; return whether any is left."""
    if _INTERFACES not in card:
        return False
    card[_INTERFACES] = [
        {**each, "url": view.address(each.get("protocolBinding"))}
        for each in _objects(card[_INTERFACES], _INTERFACES)
        if view.serves(each.get("protocolBinding"), each.get("protocolVersion"), each.get("tenant"))
    ]
    return bool(card[_INTERFACES])


def _serve_v0_3_interfaces(card: _Card, view: CardView) -> bool:
    """Put the gateway's addresses into a card of version 0.3; return whether any is left."""
    if "url" not in card:
        return False
    others = _objects(card.get("additionalInterfaces") or [], "additionalInterfaces")
    named = [card.get("preferredTransport") or _DEFAULT_BINDING]
    named += [each.get("transport") for each in others]
    found = dict.fromkeys(each for each in named if view.serves(each, Version.V0_3.value, ""))
    for name in _OF_V0_3:
        card.pop(name, None)
    if not found:
        return False
    preferred = next(iter(found))
    card["url"], card["preferredTransport"] = view.address(preferred), preferred
    card["additionalInterfaces"] = [
        {"url": view.address(each), "transport": each} for each in found
    ]
    return True


def _limit_capabilities(card: _Card, view: CardView) -> None:
    capabilities = card["capabilities"]
    if not view.allows_push and "pushNotifications" in capabilities:
        capabilities["pushNotifications"] = False
    if view.extensions:
        known = _objects(capabilities.get("extensions") or [], "capabilities.extensions")
        capabilities["extensions"] = [*known, *view.extensions]


def _remove_security(card: _Card) -> None:
    """Remove the agent's own schemes, which end at the gateway, and its signatures."""
    for skill in _objects(card.get("skills") or [], "skills"):
        skill.pop("security", None)
        skill.pop("securityRequirements", None)
    for name in ("security", "securityRequirements", "securitySchemes", "signatures"):
        card.pop(name, None)


def _signature(card: _Card, sign: CardSigner) -> Mapping[str, str]:
    """Return the signature of the members of version 1.0."""
    _drop_defaults(card)
    try:
        return sign(canonical(_v1_0_members(card)))
    except ValueError as error:
        raise unusable(f"it cannot be signed: {error}") from None


def _v1_0_members(card: _Card) -> _Card:
    """Return the card without the members that only version 0.3 has."""
    capabilities = {**card["capabilities"]}
    capabilities.pop(_CAPABILITY_ONLY_V0_3, None)
    kept = {name: value for name, value in card.items() if name not in _ONLY_V0_3}
    return kept | {"capabilities": capabilities}


def _drop_defaults(card: _Card) -> None:
    """Drop what has the default value of its type and need not be there (section 8.4.1).

    A reader that parses the card and writes it again, to check the signature, drops them as well.
    """
    _drop(card, _REQUIRED)
    _drop(card["capabilities"], _OPTIONAL_CAPABILITIES)
    for extension in card["capabilities"].get("extensions", ()):
        _drop(extension, frozenset())
    for skill in card.get("skills") or ():
        _drop(skill, _REQUIRED_OF_SKILL)
    for interface in card[_INTERFACES]:
        _drop(interface, frozenset({"url", "protocolBinding", "protocolVersion"}))


def _drop(members: _Card, required: Collection[str]) -> None:
    for name in [*members]:
        value = members[name]
        if name not in required and (value is None or value is False or value in ("", [], {})):
            del members[name]


def _objects(value: object, name: str) -> list[_Card]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise unusable(f"{name} is not a list of objects")
    return cast("list[_Card]", value)


def check_size(card: bytes) -> None:
    """Raise A2AError for a card that is too large."""
    if len(card) > limits.a2a_card_bytes_max:
        raise unusable(f"it has more than {limits.a2a_card_bytes_max} bytes")


def unusable(why: str) -> A2AError:
    """Return the error for a card that no client can get."""
    return A2AError(INVALID_AGENT_RESPONSE, f"the agent card: {why}")
