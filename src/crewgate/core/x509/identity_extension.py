"""Encodes and decodes the identity extension of Crewgate's certificates.

The extension is not critical, because OpenSSL refuses unknown critical extensions; so the reader
must require its presence. Its value is the DER of

    Identity ::= SEQUENCE {
        version   INTEGER (1),
        role      ENUMERATED { orchestrator (0), gateway (1), operator (2), agent (3) },
        crew      UTF8String,               -- of an orchestrator or an agent; else empty
        name      UTF8String,               -- within the crew, or of the gateway or operator;
                                            -- of an agent: its orchestrator's
        instance  OCTET STRING (SIZE (16)), -- random, one for each process of a name;
                                            -- of an agent: the UUID of its branch, not nil
        key       [0] OCTET STRING (SIZE (32)) OPTIONAL,  -- Ed25519, a gateway's own
        rights    [1] SEQUENCE OF UTF8String OPTIONAL }   -- never empty

with implicit tags. The subject alternative name has role, crew and name for other software, as a
SPIFFE ID.
`docs/explanation/certificates.md` has a worked example.
"""

import enum
import re
from hashlib import blake2b

import msgspec

from crewgate import limits
from crewgate.core.ids import uuid_text
from crewgate.core.x509 import der

VERSION = 1
INSTANCE_BYTES = 16
KEY_BYTES = 32
# The right of a gateway whose revocations all other gateways apply.
MAY_REVOKE = "revoke"
_MEMBER = b"crewgate member\0"
# Two of 4,096 members have the same id in one of 2**41 clusters.
_MEMBER_BYTES = 8
_KEY = 0x80
_RIGHTS = 0xA1
_CREW = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)


class Role(enum.StrEnum):
    """The role of a certificate's holder, in the order of the enumeration in the extension."""

    ORCHESTRATOR = "orchestrator"
    GATEWAY = "gateway"
    OPERATOR = "operator"
    AGENT = "agent"


_OF_CREW = frozenset({Role.ORCHESTRATOR, Role.AGENT})
_ROLES = tuple(Role)


class Identity(msgspec.Struct, frozen=True):
    """The identity of a process that the internal CA certifies.

    Only an orchestrator and an agent have a `crew`. An agent is the sub-agent of one branch: its
    `name` is that of its orchestrator, and its `instance` the id of the branch. `key` is a
    gateway's Ed25519 public key (32 bytes), if any.
    """

    role: Role
    name: str
    instance: bytes
    crew: str = ""
    key: bytes = b""
    rights: tuple[str, ...] = ()

    @property
    def holder(self) -> str:
        """The name without a branch: `bd/bd-1`, `gateway/edge-1`, `operator/ada`.

        Of an orchestrator and an agent, it is the `client_id` of the orchestrator's tokens.
        """
        return f"{self.crew or self.role.value}/{self.name}"

    @property
    def branch(self) -> str:
        """The branch of an agent, as UUID text; empty for other roles."""
        return uuid_text(self.instance) if self.role is Role.AGENT else ""

    @property
    def label(self) -> str:
        """The name for people and logs: that of the holder, and of an agent `bd/bd-1#UUID`."""
        return f"{self.holder}#{self.branch}" if self.branch else self.holder

    def spiffe_id(self, domain: str) -> str:
        """Return the SPIFFE ID (section 2 there): role, crew, name and branch are its path."""
        parts = [self.role.value, self.crew, self.name, self.branch]
        return f"spiffe://{domain}/{'/'.join(filter(None, parts))}"


def member_id(name: str) -> bytes:
    """Return the 8-byte id of a gateway among cluster members, from the name in its certificate.

    Datagrams have it instead of the name. It also identifies members, so a gateway with two
    certificates of one name, as during a renewal, is one member.
    """
    return blake2b(_MEMBER + name.encode(), digest_size=_MEMBER_BYTES).digest()


def check(identity: Identity) -> None:
    """Raise ValueError, with a text for the requester, if no certificate may have this identity."""
    if (identity.role in _OF_CREW) != bool(identity.crew):
        raise ValueError(
            "an orchestrator needs a crew, as an agent does, and no other role may have one"
        )
    for what, text, pattern, more in (
        ("crew", identity.crew, _CREW, "- and _"),
        ("name", identity.name, _NAME, "-, _ and ."),
    ):
        if len(text) > limits.name_chars_max or (
            not pattern.fullmatch(text) and (what == "name" or text)
        ):
            raise ValueError(
                f"the {what} {text[: limits.name_chars_max]!r}: expected 1 to "
                f"{limits.name_chars_max} of a-z, 0-9, {more}, starting with a letter or digit"
            )
    if len(identity.instance) != INSTANCE_BYTES:
        raise ValueError(f"an instance must have {INSTANCE_BYTES} bytes")
    if identity.role is Role.AGENT and (not any(identity.instance) or identity.rights):
        raise ValueError("an agent's identity has a branch that is not nil, and no rights")
    if len(identity.key) not in {0, KEY_BYTES} or (identity.key and identity.crew):
        raise ValueError(
            f"a key must have {KEY_BYTES} bytes, and an identity with a crew has no key"
        )
    if len(identity.rights) > limits.certificate_rights_max or not all(
        _NAME.fullmatch(right) and len(right) <= limits.name_chars_max for right in identity.rights
    ):
        raise ValueError(f"expected at most {limits.certificate_rights_max} rights, each a name")


def encode(identity: Identity) -> bytes:
    """Return the value of the extension. Raises ValueError as `check` does."""
    check(identity)
    optional = []
    if identity.key:
        optional.append(der.write(_KEY, identity.key))
    if identity.rights:
        texts = (der.write(der.UTF8_STRING, right.encode()) for right in identity.rights)
        optional.append(der.write(_RIGHTS, *texts))
    return der.write(
        der.SEQUENCE,
        der.write_integer(VERSION),
        der.write_integer(_ROLES.index(identity.role), der.ENUMERATED),
        der.write(der.UTF8_STRING, identity.crew.encode()),
        der.write(der.UTF8_STRING, identity.name.encode()),
        der.write(der.OCTET_STRING, identity.instance),
        *optional,
    )


def decode(value: bytes) -> Identity:
    """Decode the extension. Raises ValueError for bytes that `encode` would not write."""
    outer = der.DERReader(value)
    reader = outer.enter()
    outer.end()
    if reader.integer() != VERSION:
        raise ValueError(f"the identity extension is not of version {VERSION}")
    role = reader.integer(der.ENUMERATED)
    if role >= len(_ROLES):
        raise ValueError("the identity extension has an unknown role")
    crew, name = reader.text(), reader.text()
    instance = reader.octets(INSTANCE_BYTES)
    key = reader.octets(KEY_BYTES, _KEY) if reader.tag == _KEY else b""
    rights = _rights(reader.enter(_RIGHTS)) if reader.tag == _RIGHTS else ()
    reader.end()
    identity = Identity(_ROLES[role], name, instance, crew, key, rights)
    check(identity)
    return identity


def _rights(reader: der.DERReader) -> tuple[str, ...]:
    rights = [reader.text()]
    while reader.tag != -1:
        rights.append(reader.text())
        if len(rights) > limits.certificate_rights_max:
            raise ValueError(
                f"the identity extension has more than {limits.certificate_rights_max} rights"
            )
    return tuple(rights)
