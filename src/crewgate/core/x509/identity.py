"""Who a certificate speaks for: the identity extension of Crewgate's certificates, byte by byte.

The extension is not critical, because OpenSSL refuses critical ones that it does not know; that it
is there is for the reader to demand. Its value is the DER of

    Identity ::= SEQUENCE {
        version   INTEGER (1),
        role      ENUMERATED { orchestrator (0), gateway (1), operator (2) },
        crew      UTF8String,               -- of an orchestrator; empty for the others
        name      UTF8String,               -- within the crew, or of the gateway or operator
        instance  OCTET STRING (SIZE (16)), -- one a process: two lives of one name are told apart
        key       [0] OCTET STRING (SIZE (32)) OPTIONAL,  -- Ed25519, a gateway's own
        rights    [1] SEQUENCE OF UTF8String OPTIONAL }   -- never empty

with implicit tags. The subject alternative name says the same for others, as a SPIFFE ID.
`docs/explanation/certificates.md` has a worked example.
"""

import enum
import re
from hashlib import blake2b

import msgspec

from crewgate import limits
from crewgate.core.x509 import der

# 2.25 and a random UUID (ITU-T X.667 §6): c8525eec-88a3-4ccc-8389-d9993c6360f2.
OID = "2.25.266273292786019505986471385047834517746"
VERSION = 1
INSTANCE_BYTES = 16
KEY_BYTES = 32
MAY_REVOKE = "revoke"  # the right of a gateway whose revocations all the others obey
_MEMBER = b"crewgate member\0"
_MEMBER_BYTES = 8  # two of 4,096 members have the same in one of 2**41 clusters
_KEY = 0x80
_RIGHTS = 0xA1
_CREW = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)


class Role(enum.StrEnum):
    """What a certificate is for; the order is that of the enumeration in the extension."""

    ORCHESTRATOR = "orchestrator"
    GATEWAY = "gateway"
    OPERATOR = "operator"


_ROLES = tuple(Role)


class Identity(msgspec.Struct, frozen=True):
    """A process that the internal CA knows. `crew` is empty but for an orchestrator."""

    role: Role
    name: str
    instance: bytes
    crew: str = ""
    key: bytes = b""
    rights: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How people and logs name it: `bd/bd-1`, `gateway/edge-1`, `operator/ada`."""
        return f"{self.crew or self.role.value}/{self.name}"

    def spiffe_id(self, domain: str) -> str:
        """The URI of its certificate (SPIFFE-ID §2): role, crew and name as the path."""
        parts = [self.role.value, *([self.crew] if self.crew else []), self.name]
        return f"spiffe://{domain}/{'/'.join(parts)}"


def member_id(name: str) -> bytes:
    """8 bytes that stand for a gateway among its peers, from the name in its certificate.

    Datagrams carry it instead of a name; members are counted by it, so that whoever has two
    certificates of one name, as over a renewal, is one member.
    """
    return blake2b(_MEMBER + name.encode(), digest_size=_MEMBER_BYTES).digest()


def check(identity: Identity) -> None:
    """ValueError for what no certificate may say: words for whoever asked for one."""
    if (identity.role is Role.ORCHESTRATOR) != bool(identity.crew):
        raise ValueError("an orchestrator has a crew, and nobody else has one")
    for what, text, pattern, more in (
        ("crew", identity.crew, _CREW, "- and _"),
        ("name", identity.name, _NAME, "-, _ and ."),
    ):
        if len(text) > limits.name_chars_max or (
            not pattern.fullmatch(text) and (what == "name" or text)
        ):
            raise ValueError(
                f"the {what} {text[: limits.name_chars_max]!r}: expected 1 to "
                f"{limits.name_chars_max} of a-z, 0-9, {more}, the first a letter or digit"
            )
    if len(identity.instance) != INSTANCE_BYTES:
        raise ValueError(f"an instance has {INSTANCE_BYTES} bytes")
    if len(identity.key) not in {0, KEY_BYTES} or (identity.key and identity.crew):
        raise ValueError(f"a key has {KEY_BYTES} bytes, and an orchestrator has none here")
    if len(identity.rights) > limits.certificate_rights_max or not all(
        _NAME.fullmatch(right) and len(right) <= limits.name_chars_max for right in identity.rights
    ):
        raise ValueError(f"rights are at most {limits.certificate_rights_max} names")


def encode(identity: Identity) -> bytes:
    """The value of the extension; ValueError as `check`."""
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
    """What the extension says; ValueError for anything that `encode` would not have written."""
    outer = der.DERReader(value)
    reader = outer.enter()
    outer.end()
    if reader.integer() != VERSION:
        raise ValueError(f"not version {VERSION} of the identity extension")
    role = reader.integer(der.ENUMERATED)
    if role >= len(_ROLES):
        raise ValueError("no such role")
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
            raise ValueError("more rights than a certificate has")
    return tuple(rights)
