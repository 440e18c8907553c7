"""Reads the fields of a client certificate that a verdict needs, from its DER.

It is not a verification: it relies on the TLS handshake for signature, chain and form (RFC 5280).
In bytes that no handshake has verified, anybody could have written the identity.
"""

from datetime import UTC, datetime
from ipaddress import ip_address

import msgspec

from crewgate import limits
from crewgate.core.ids import branch_key, certificate_key, orchestrator_key
from crewgate.core.terminal_text import printable
from crewgate.core.x509 import der
from crewgate.core.x509.identity_extension import Identity, decode
from crewgate.core.x509.identity_oids import STANDARD, IdentityOIDs

# RFC 5280, section 4.2.1.12.
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
_IPV6 = 6
_VERSION_3 = 2
_VERSION = 0xA0
_EXTENSIONS = 0xA3
_UNIQUE_IDS = (0x81, 0x82)
_BASIC_CONSTRAINTS = der.identifier("2.5.29.19")
_EXTENDED_KEY_USAGE = der.identifier("2.5.29.37")
_SUBJECT_ALTERNATIVE_NAME = der.identifier("2.5.29.17")
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87  # of GeneralName (RFC 5280, section 4.2.1.6)
_CLIENT_AUTH = der.identifier(CLIENT_AUTH)
_ATTRIBUTES = {
    der.identifier("2.5.4.3"): "CN",
    der.identifier("2.5.4.10"): "O",
    der.identifier("2.5.4.11"): "OU",
    der.identifier("2.5.4.6"): "C",
    der.identifier("2.5.4.5"): "serialNumber",
}


class Certificate(msgspec.Struct, frozen=True):
    """The fields of a leaf that a verdict needs. Times are seconds since the epoch.

    `subject` is one printable line for people, similar to RFC 4514. `is_client`: the extended key
    usage allows client authentication. `identity` is the value of the identity extension (DER), or
    None. `alternative_name` is the value of the subject alternative name (DER), or None.
    """

    serial: int
    subject: str
    not_before: int
    not_after: int
    is_authority: bool
    is_client: bool
    identity: bytes | None
    alternative_name: bytes | None

    @property
    def serial_text(self) -> str:
        """The serial in upper-case hexadecimal, as commands, logs and OpenSSL write it."""
        return serial_text(self.serial)

    @property
    def issued(self) -> int:
        """When the internal CA signed it (seconds); its begin is a little earlier."""
        return self.not_before + limits.certificate_backdate_seconds

    def hosts(self) -> tuple[str, ...]:
        """Return the host names and IP addresses of the subject, as a URL has them, in lower case.

        A name may begin with the label "*". Raises ValueError if the extension is malformed.
        """
        if self.alternative_name is None:
            return ()
        reader, found = der.DERReader(self.alternative_name).enter(), []
        while reader.tag != -1:
            kind, content = reader.tag, reader.take_any()
            if kind == _DNS_NAME:
                found.append(content.decode("ascii").lower())
            elif kind == _IP_ADDRESS:
                address = ip_address(content)
                found.append(f"[{address}]" if address.version == _IPV6 else str(address))
        return tuple(found)

    def speaks_for(self) -> Identity:
        """Return the identity. Raises ValueError if the extension is missing or malformed."""
        if self.identity is None:
            raise ValueError("the certificate has no identity extension")
        return decode(self.identity)


def serial_text(serial: int) -> str:
    """Return upper-case hexadecimal with an even number of digits, as `openssl x509 -serial`."""
    text = f"{serial:X}"
    return text if len(text) % 2 == 0 else f"0{text}"


def revocable_by(identity: Identity, serial: int, issued: int) -> tuple[tuple[bytes, int], ...]:
    """Return the table keys that can revoke a certificate, each with the time to look up.

    A revocation of the certificate itself, or of an agent's branch, counts at any time. The
    certificate does not name the branches above that one: tokens do. A revocation of the
    orchestrator counts if it covers the time of issue. Those of orchestrators also cover the leeway
    by which tokens may be dated ahead; certificates are not, so the leeway is added here.
    """
    keys = (
        (certificate_key(identity.crew, serial), 0),
        (orchestrator_key(identity.crew, identity.holder), issued + limits.leeway_seconds),
    )
    if identity.branch:
        return (*keys, (branch_key(identity.crew, identity.branch), 0))
    return keys


def read(data: bytes, oids: IdentityOIDs = STANDARD) -> Certificate:
    """Read a certificate (DER). Raises ValueError if it is malformed.

    `oids` are those of the configuration, under which its identity may be.
    """
    if len(data) > limits.certificate_bytes_max:
        raise ValueError(f"the certificate is larger than {limits.certificate_bytes_max} bytes")
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
    identities = [value for name, value in found.items() if name in oids.readable]
    if len(identities) > 1:
        raise ValueError("there are two identity extensions")
    return Certificate(
        serial=serial,
        subject=subject,
        not_before=not_before,
        not_after=not_after,
        is_authority=_is_authority(found.get(_BASIC_CONSTRAINTS)),
        is_client=_CLIENT_AUTH in _identifiers(found.get(_EXTENDED_KEY_USAGE)),
        identity=identities[0] if identities else None,
        alternative_name=found.get(_SUBJECT_ALTERNATIVE_NAME),
    )


def _extensions(reader: der.DERReader) -> dict[bytes, bytes]:
    """Return the values by identifier, each at most once (RFC 5280, section 4.2)."""
    found: dict[bytes, bytes] = {}
    while reader.tag != -1:
        if len(found) == limits.certificate_parts_max:
            raise ValueError(f"more than {limits.certificate_parts_max} extensions")
        extension = reader.enter()
        name = extension.take(der.OBJECT_IDENTIFIER)
        if extension.tag == der.BOOLEAN:
            extension.take_any()
        value = extension.take(der.OCTET_STRING)
        extension.end()
        if name in found:
            raise ValueError("an extension occurs twice")
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
    """Return the next value, a time, as seconds since the epoch. Raises ValueError.

    A year of two digits is one of 1950 to 2049 (RFC 5280, section 4.1.2.5).
    """
    if reader.tag == der.UTC_TIME:
        text = reader.take_any().decode("ascii")
        text = ("19" if text >= "5" else "20") + text
    else:
        text = reader.take(der.GENERALIZED_TIME).decode("ascii")
    moment = datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    return int(moment.timestamp())


def _name(reader: der.DERReader) -> str:
    """Return a distinguished name as one printable line of bounded length."""
    parts: list[str] = []
    chars_max = limits.certificate_subject_chars_max
    while reader.tag != -1:
        attributes = reader.enter(der.SET)
        while attributes.tag != -1:
            if len(parts) == limits.certificate_parts_max:
                raise ValueError(f"a name with more than {limits.certificate_parts_max} attributes")
            attribute = attributes.enter()
            kind = attribute.take(der.OBJECT_IDENTIFIER)
            text = attribute.take_any()[:chars_max].decode("utf-8", "replace")
            parts.append(f"{_ATTRIBUTES.get(kind) or kind[:chars_max].hex()}={text}")
    return printable(",".join(parts)[:chars_max])[:chars_max]
