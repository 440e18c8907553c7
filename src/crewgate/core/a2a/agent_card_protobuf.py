"""Rewrites the card of an agent in protobuf, as `agent_card` does in JSON.

Such a card answers `GetExtendedAgentCard` by gRPC. It has no signature, which is one of its JSON.
"""

from collections.abc import Iterable
from typing import NamedTuple

from crewgate.core import protobuf_wire as wire
from crewgate.core.a2a.agent_card import SCHEME, CardView, check_size, unusable
from crewgate.core.a2a.methods import Binding, Version


class _Numbers(NamedTuple):
    """The numbers of the fields of AgentCard, and of those of a skill or interface."""

    interfaces: int
    signatures: int
    url: int = 0  # of version 0.3 only
    preferred: int = 0
    capabilities: int = 7
    schemes: int = 8
    requirements: int = 9
    skills: int = 12


_NUMBERS = {
    Version.V1_0: _Numbers(interfaces=3, signatures=13),
    Version.V0_3: _Numbers(interfaces=15, signatures=17, url=3, preferred=14),
}
_URL, _BINDING, _TENANT, _VERSION = 1, 2, 3, 4  # of AgentInterface
_PUSH, _EXTENSIONS = 2, 3  # of AgentCapabilities
_REQUIREMENTS_OF_SKILL = 8


def rewrite(data: bytes, version: Version, view: CardView) -> bytes:
    """Return the card for clients.

    Raises:
        A2AError: The card cannot be read, or has no interface that the endpoint serves.
    """
    check_size(data)
    try:
        return _rewritten([*wire.fields(data)], version, view)
    except ValueError as error:  # UnicodeDecodeError as well
        raise unusable(str(error)) from None


def _rewritten(found: list[wire.WireField], version: Version, view: CardView) -> bytes:
    at = _NUMBERS[version]
    is_v1_0 = version is Version.V1_0
    interfaces = _interfaces(found, at) if is_v1_0 else _v0_3_interfaces(found, at)
    served = [each for each in interfaces if view.serves(*each)]
    if not served:
        raise unusable("it has no interface that this endpoint serves")
    parts = []
    for each in found:
        if each.number == at.capabilities:
            parts.append(wire.delimited(each.number, _capabilities(each.value, view)))
        elif each.number == at.skills:
            kept = [one.raw for one in wire.fields(each.value)
                    if one.number != _REQUIREMENTS_OF_SKILL]  # fmt: skip
            parts.append(wire.delimited(each.number, b"".join(kept)))
        elif each.number not in at:
            parts.append(each.raw)
    parts += _served_interfaces(served, at, view, is_v1_0=is_v1_0)
    return b"".join([*parts, *_security(at, view.scope)])


# Binding, version and tenant.
_Interface = tuple[str, str, str]


def _interfaces(found: Iterable[wire.WireField], at: _Numbers) -> list[_Interface]:
    return [
        (_text(each.value, _BINDING), _text(each.value, _VERSION), _text(each.value, _TENANT))
        for each in found
        if each.number == at.interfaces
    ]


def _v0_3_interfaces(found: list[wire.WireField], at: _Numbers) -> list[_Interface]:
    preferred = [each.value.decode() for each in found if each.number == at.preferred]
    others = [_text(each.value, _BINDING) for each in found if each.number == at.interfaces]
    named = [(preferred or [""])[-1] or Binding.JSONRPC.value, *others]
    return [(each, Version.V0_3.value, "") for each in dict.fromkeys(named)]


def _served_interfaces(
    served: list[_Interface], at: _Numbers, view: CardView, *, is_v1_0: bool
) -> list[bytes]:
    parts = []
    for binding, version, tenant in served:
        interface = _string(_URL, view.address(binding)) + _string(_BINDING, binding)
        if is_v1_0:
            interface += _string(_TENANT, tenant) + _string(_VERSION, version)
        parts.append(wire.delimited(at.interfaces, interface))
    if not is_v1_0:
        preferred = served[0][0]
        parts += [_string(at.url, view.address(preferred)), _string(at.preferred, preferred)]
    return parts


def _capabilities(data: bytes, view: CardView) -> bytes:
    parts = []
    for each in wire.fields(data):
        if each.number != _PUSH or view.allows_push:
            parts.append(each.raw)
        else:
            parts.append(wire.integer(_PUSH, 0))
    for extension in view.extensions:
        uri, description = str(extension["uri"]), str(extension["description"])
        parts.append(wire.delimited(_EXTENSIONS, _string(1, uri) + _string(2, description)))
    return b"".join(parts)


def _security(at: _Numbers, scope: str) -> list[bytes]:
    """Say that clients need a token of the gateway: one scheme, and that it is required."""
    http = _string(2, "Bearer") + _string(3, "JWT")
    scheme = _string(1, SCHEME) + wire.delimited(2, wire.delimited(2, http))
    requirement = wire.delimited(1, _string(1, SCHEME) + wire.delimited(2, _string(1, scope)))
    return [wire.delimited(at.schemes, scheme), wire.delimited(at.requirements, requirement)]


def _text(data: bytes, number: int) -> str:
    values = [each.value for each in wire.fields(data) if each.number == number]
    return values[-1].decode() if values else ""


def _string(number: int, text: str) -> bytes:
    return wire.delimited(number, text.encode()) if text else b""
