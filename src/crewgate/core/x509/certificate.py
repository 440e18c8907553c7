"""What a client's certificate says, read from the DER that a TLS handshake has proved.

Trusts the handshake for signature, chain and form (RFC 5280): this reads what a verdict needs and
refuses what is not where it belongs. Never a substitute for verification: who hands bytes over that
no handshake proved gets an identity that anybody could have written.
"""

from datetime import UTC, datetime

import msgspec

from crewgate import limits
from crewgate.core.ids import certificate_key, orchestrator_key
from crewgate.core.terminal_text import printable
from crewgate.core.x509 import der
from crewgate.core.x509.identity import OID, Identity, decode

CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"  # RFC 5280 §4.2.1.12
_VERSION_3 = 2
_VERSION = 0xA0
_EXTENSIONS = 0xA3
_UNIQUE_IDS = (0x81, 0x82)
_BASIC_CONSTRAINTS = der.identifier("2.5.29.19")
_EXTENDED_KEY_USAGE = der.identifier("2.5.29.37")
_IDENTITY = der.identifier(OID)
_CLIENT_AUTH = der.identifier(CLIENT_AUTH)
_ATTRIBUTES = {
    der.identifier("2.5.4.3"): "CN",
    der.identifier("2.5.4.10"): "O",
    der.identifier("2.5.4.11"): "OU",
    der.identifier("2.5.4.6"): "C",
    der.identifier("2.5.4.5"): "serialNumber",
}


class Certificate(msgspec.Struct, frozen=True):
    """The parts of a leaf that a verdict is made of. Times are seconds since the epoch.

    `subject` is for people: RFC 4514 in spirit, one printable line. `identity` is the raw value of
    the extension, None if there is none.
    """

    serial: int
    subject: str
    not_before: int
    not_after: int
    is_authority: bool
    is_client: bool  # the extended key usage says so
    identity: bytes | None

    @property
    def serial_text(self) -> str:
        """The serial as commands and logs write it: upper-case hexadecimal, as OpenSSL does."""
        return serial_text(self.serial)

    @property
    def issued(self) -> int:
        """When the internal CA signed it (seconds), which dates it a little before."""
        return self.not_before + limits.certificate_backdate_seconds

    def is_valid(self, now: float) -> bool:
        """Whether the wall clock (seconds) is within its validity."""
        return self.not_before <= now <= self.not_after

    def speaks_for(self) -> Identity:
        """Who it speaks for; ValueError if that is missing or malformed."""
        if self.identity is None:
            raise ValueError("the certificate has no identity extension")
        return decode(self.identity)


def serial_text(serial: int) -> str:
    """Upper-case hexadecimal with an even number of digits, as `openssl x509 -serial` has it."""
    text = f"{serial:X}"
    return text if len(text) % 2 == 0 else f"0{text}"


def revocable_by(identity: Identity, serial: int, issued: int) -> tuple[tuple[bytes, int], ...]:
    """What a table may have revoked a certificate by: keys, each with the second it is asked of.

    The certificate's own, for whatever time; and its orchestrator's, which ends what was issued
    until then. Tokens may be dated ahead and are revoked by so much more: a certificate is not.
    """
    return (
        (certificate_key(identity.crew, serial), 0),
        (orchestrator_key(identity.crew, identity.label), issued + limits.leeway_seconds),
    )


def read(data: bytes) -> Certificate:
    """Read a certificate's DER; ValueError for what is none."""
    if len(data) > limits.certificate_bytes_max:
        raise ValueError("a certificate over its bound")
    outer = der.DERReader(data).enter()
    body = outer.enter()
    version = body.enter(_VERSION)
    if version.integer() != _VERSION_3:
        raise ValueError("not an X.509 certificate of version 3")
    serial = body.integer()
    body.take(der.SEQUENCE)  # signature algorithm
    body.take(der.SEQUENCE)  # issuer
    validity = body.enter()
    not_before, not_after = time_of(validity), time_of(validity)
    subject = _name(body.enter())
    body.take(der.SEQUENCE)  # public key
    for tag in _UNIQUE_IDS:
        if body.tag == tag:
            body.take_any()
    found = _extensions(body.enter(_EXTENSIONS).enter()) if body.tag == _EXTENSIONS else {}
    body.end()
    return Certificate(
        serial=serial,
        subject=subject,
        not_before=not_before,
        not_after=not_after,
        is_authority=_is_authority(found.get(_BASIC_CONSTRAINTS)),
        is_client=_CLIENT_AUTH in _identifiers(found.get(_EXTENDED_KEY_USAGE)),
        identity=found.get(_IDENTITY),
    )


def _extensions(reader: der.DERReader) -> dict[bytes, bytes]:
    """Values by identifier; none may stand there twice (RFC 5280 §4.2)."""
    found: dict[bytes, bytes] = {}
    while reader.tag != -1:
        if len(found) == limits.certificate_parts_max:
            raise ValueError("a certificate with more extensions than its bound")
        extension = reader.enter()
        name = extension.take(der.OBJECT_IDENTIFIER)
        if extension.tag == der.BOOLEAN:
            extension.take_any()
        value = extension.take(der.OCTET_STRING)
        extension.end()
        if name in found:
            raise ValueError("an extension that stands there twice")
        found[name] = value
    return found


def _is_authority(value: bytes | None) -> bool:
    if value is None:
        return False
    constraints = der.DERReader(value).enter()
    return constraints.tag == der.BOOLEAN and constraints.take_any() == b"\xff"


def _identifiers(value: bytes | None) -> list[bytes]:
    if value is None:
        return []
    reader, found = der.DERReader(value).enter(), []
    while reader.tag != -1:
        found.append(reader.take(der.OBJECT_IDENTIFIER))
    return found


def time_of(reader: der.DERReader) -> int:
    """The next value as seconds since 1970; ValueError.

    RFC 5280 §4.1.2.5: two digits of the year mean 1950 to 2049.
    """
    if reader.tag == der.UTC_TIME:
        text = reader.take_any().decode("ascii")
        text = ("19" if text >= "5" else "20") + text
    else:
        text = reader.take(der.GENERALIZED_TIME).decode("ascii")
    moment = datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    return int(moment.timestamp())


def _name(reader: der.DERReader) -> str:
    """A distinguished name as one bounded, printable line; a stranger may have made it long."""
    parts: list[str] = []
    most = limits.certificate_subject_chars_max
    while reader.tag != -1:
        attributes = reader.enter(der.SET)
        while attributes.tag != -1:
            if len(parts) == limits.certificate_parts_max:
                raise ValueError("a name with more attributes than its bound")
            attribute = attributes.enter()
            kind = attribute.take(der.OBJECT_IDENTIFIER)
            text = attribute.take_any()[:most].decode("utf-8", "replace")
            parts.append(f"{_ATTRIBUTES.get(kind) or kind[:most].hex()}={text}")
    return printable(",".join(parts)[:most])[:most]
