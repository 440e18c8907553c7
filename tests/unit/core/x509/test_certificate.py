"""What a certificate says, against `cryptography` as the slow model; and whatever else it is."""

import datetime as dt
from ipaddress import ip_address
from typing import Any

import forged_certificates
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.x509 import der
from crewgate.core.x509.certificate import Certificate, read, serial_text
from crewgate.core.x509.identity_extension import Identity, Role, encode
from crewgate.core.x509.identity_oids import DEFAULT, FORMER, IdentityOIDs

KEY = ec.generate_private_key(ec.SECP256R1())
USAGES = [
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.OCSP_SIGNING,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
]
TYPES = [_ASN1Type.UTF8String, _ASN1Type.PrintableString, _ASN1Type.T61String, _ASN1Type.IA5String]
names = st.lists(
    st.lists(
        st.builds(
            x509.NameAttribute,
            st.sampled_from(
                [NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.SURNAME, NameOID.TITLE]
            ),
            st.text("abcXYZ019 '()+,-./:=?", min_size=1, max_size=60),  # a PrintableString
            st.sampled_from(TYPES),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda attribute: attribute.oid,
    ).map(x509.RelativeDistinguishedName),
    max_size=4,
).map(x509.Name)  # fmt: skip
moments = st.integers(-630_000_000, 7_000_000_000).map(  # 1950 to 2191
    lambda seconds: dt.datetime.fromtimestamp(seconds, dt.UTC)
)
spans = st.tuples(moments, moments).filter(lambda span: span[0] <= span[1])
extras = st.lists(
    st.builds(
        x509.UnrecognizedExtension,
        st.integers(1, 10**9).map(lambda arc: x509.ObjectIdentifier(f"1.3.6.1.4.1.{arc}")),
        st.binary(max_size=300),
    ),
    max_size=6,
    unique_by=lambda extension: extension.oid,
)


def build(
    span: tuple[dt.datetime, dt.datetime],
    subject: x509.Name,
    serial: int,
    extensions: list[tuple[Any, bool]],
    key: Any = KEY,
) -> bytes:
    """The DER of a certificate that says so."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "some CA")]))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(span[0])
        .not_valid_after(span[1])
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


@given(
    spans,
    names,
    st.integers(1, 2**159 - 1),
    st.none() | st.booleans(),
    st.none() | st.lists(st.sampled_from(USAGES), min_size=1, unique=True),
    st.none() | st.binary(max_size=200),
    extras,
)
def test_it_reads_what_the_slow_model_reads(
    span: tuple[dt.datetime, dt.datetime],
    subject: x509.Name,
    serial: int,
    authority: bool | None,
    usages: list[x509.ObjectIdentifier] | None,
    identity: bytes | None,
    more: list[x509.UnrecognizedExtension],
) -> None:
    """Names of several parts and kinds of text, times of both forms, extensions of all sorts."""
    extensions: list[tuple[Any, bool]] = [(extension, False) for extension in more]
    if authority is not None:
        extensions.append((x509.BasicConstraints(ca=authority, path_length=None), True))
    if usages is not None:
        extensions.append((x509.ExtendedKeyUsage(usages), False))
    if identity is not None:
        oid = x509.ObjectIdentifier(DEFAULT)
        extensions.append((x509.UnrecognizedExtension(oid, identity), False))
    data = build(span, subject, serial, extensions)
    model, found = x509.load_der_x509_certificate(data), read(data)
    assert found.serial == model.serial_number
    assert found.not_before == model.not_valid_before_utc.timestamp()
    assert found.not_after == model.not_valid_after_utc.timestamp()
    assert found.is_authority is bool(authority)
    assert found.is_client is (ExtendedKeyUsageOID.CLIENT_AUTH in (usages or ()))
    assert found.identity == identity
    assert len(found.subject) <= limits.certificate_subject_chars_max
    first = [attribute for part in model.subject.rdns for attribute in part][:1]
    assert all(str(attribute.value) in found.subject for attribute in first)


GOOD = build(
    (
        forged_certificates.now() - forged_certificates.HOUR,
        forged_certificates.now() + forged_certificates.HOUR,
    ),
    x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bd/bd-1")]),
    77,
    [
        (x509.ExtendedKeyUsage(forged_certificates.CLIENT), False),
        (
            x509.UnrecognizedExtension(forged_certificates.OID, encode(forged_certificates.bd())),
            False,
        ),
    ],
)


@given(st.data())
def test_whatever_it_is_it_is_read_or_a_value_error(data: st.DataObject) -> None:
    """Bytes changed, cut out and put in: nothing but ValueError leaves it."""
    value = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value) - 1))
        size = data.draw(st.integers(0, 4))
        value[at : at + size] = data.draw(st.binary(max_size=4))
    try:
        found = read(bytes(value))
        found.speaks_for()
    except ValueError:
        return
    assert isinstance(found, Certificate)


@given(st.integers(0, len(GOOD) - 1))
def test_a_cut_one_is_refused(size: int) -> None:
    """At every byte."""
    with pytest.raises(ValueError, match="DER"):
        read(GOOD[:size])


def test_it_knows_whom_it_speaks_for() -> None:
    """And shows its subject and serial to people."""
    found = read(GOOD)
    assert found.speaks_for() == Identity(
        Role.ORCHESTRATOR, "bd-1", forged_certificates.INSTANCE, "bd"
    )
    assert (found.subject, found.serial_text) == ("CN=bd/bd-1", "4D")


@pytest.mark.parametrize("kind", ["rsa", "ed25519", "p384"])
def test_other_cas_have_other_keys(kind: str) -> None:
    """The key is none of its business."""
    keys: dict[str, Any] = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    }
    span = (forged_certificates.now(), forged_certificates.now())
    assert read(build(span, x509.Name([]), 1, [], keys[kind]())).subject == ""


def test_a_name_drives_no_terminal_and_is_short() -> None:
    """A stranger may have made it of escapes, as long as a certificate can be."""
    name = der.write(
        der.SEQUENCE,
        der.write(der.OBJECT_IDENTIFIER, der.identifier("2.5.4.3")),
        der.write(der.UTF8_STRING, "\x1b[31m\u202e".encode() * 1500),
    )
    found = read(_with_subject(der.write(der.SET, name)))
    assert found.subject.startswith("CN=\\x1b[31m\\u202e")
    assert len(found.subject) == limits.certificate_subject_chars_max
    assert found.subject.isascii()


def test_what_would_cost_a_stranger_little_and_us_much_is_refused() -> None:
    """Hundreds of attributes or extensions within the bound of bytes."""
    attribute = der.write(
        der.SEQUENCE,
        der.write(der.OBJECT_IDENTIFIER, b"\x55\x04\x03"),
        der.write(der.UTF8_STRING, b""),
    )
    most = limits.certificate_parts_max
    assert read(_with_subject(der.write(der.SET, attribute) * most)).subject.startswith("CN=,CN=")
    with pytest.raises(ValueError, match=f"more than {most} attributes"):
        read(_with_subject(der.write(der.SET, attribute) * (most + 1)))
    more: list[tuple[Any, bool]] = [
        (x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.3.6.1.4.1.{arc}"), b""), False)
        for arc in range(1, most + 2)
    ]
    span = (forged_certificates.now(), forged_certificates.now())
    read(build(span, x509.Name([]), 1, more[:most]))
    with pytest.raises(ValueError, match=f"more than {most} extensions"):
        read(build(span, x509.Name([]), 1, more))
    with pytest.raises(ValueError, match="the certificate is larger than"):
        read(bytes(limits.certificate_bytes_max + 1))


def _with_subject(content: bytes, version: bytes = b"\x02", tail: bytes = b"") -> bytes:
    """A certificate of nothing but a name."""
    algorithm = der.write(der.SEQUENCE)
    time = der.write(der.UTC_TIME, b"260101000000Z")
    body = der.write(
        der.SEQUENCE,
        der.write(0xA0, der.write(der.INTEGER, version)),
        der.write_integer(1),
        algorithm,
        der.write(der.SEQUENCE),
        der.write(der.SEQUENCE, time, time),
        der.write(der.SEQUENCE, content),
        algorithm,
        tail,
    )
    return der.write(der.SEQUENCE, body, algorithm, der.write(0x03, b"\0"))


def test_odd_forms_are_refused() -> None:
    """Version 1, an extension twice, something after the extensions; unique ids are passed over."""
    assert read(_with_subject(b"", tail=der.write(0x81, b"\0") + der.write(0x82, b"\0")))
    with pytest.raises(ValueError, match="version 3"):
        read(_with_subject(b"", b"\x01"))
    extension = der.write(
        der.SEQUENCE,
        der.write(der.OBJECT_IDENTIFIER, der.identifier("2.5.29.19")),
        der.write(der.OCTET_STRING, der.write(der.SEQUENCE)),
    )
    one = der.write(0xA3, der.write(der.SEQUENCE, extension))
    assert not read(_with_subject(b"", tail=one)).is_authority
    with pytest.raises(ValueError, match="twice"):
        read(_with_subject(b"", tail=der.write(0xA3, der.write(der.SEQUENCE, extension * 2))))
    with pytest.raises(ValueError, match="surplus"):
        read(_with_subject(b"", tail=one + der.write_integer(1)))


@pytest.mark.parametrize(
    ("text", "year"), [(b"491231235959Z", 2049), (b"500101000000Z", 1950)], ids=["2049", "1950"]
)
def test_two_digits_of_a_year(text: bytes, year: int) -> None:
    """RFC 5280, section 4.1.2.5.1."""
    data = _with_subject(b"").replace(b"260101000000Z", text)
    assert dt.datetime.fromtimestamp(read(data).not_after, dt.UTC).year == year


@given(st.integers(1, 2**160))
def test_a_serial_is_whole_bytes_in_upper_case(serial: int) -> None:
    """As OpenSSL prints it."""
    assert bytes.fromhex(serial_text(serial)) == serial.to_bytes((serial.bit_length() + 7) // 8)
    assert serial_text(serial) == serial_text(serial).upper()


def signed(*extensions: x509.ExtensionType) -> bytes:
    """The DER of a certificate that has these extensions and no other."""
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 7, begin, begin)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def identity_as(dotted: str, value: bytes = b"x") -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), value)


def test_the_identity_may_be_under_each_oid_of_the_configuration() -> None:
    own, previous, other = "1.3.6.1.4.1.32473.1", "1.3.6.1.4.1.32473.2", "1.3.6.1.4.1.32473.3"
    oids = IdentityOIDs.of(own, [previous])
    for oid in (own, previous, DEFAULT, FORMER):
        assert read(signed(identity_as(oid)), oids).identity == b"x"
    assert read(signed(identity_as(other)), oids).identity is None
    assert read(signed(identity_as(own))).identity is None
    for pair in ((own, previous), (own, DEFAULT), (DEFAULT, FORMER)):
        with pytest.raises(ValueError, match="two identity extensions"):
            read(signed(*map(identity_as, pair)), oids)


def test_hosts_are_written_as_in_urls() -> None:
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("Gateway.Example"),
            x509.DNSName("*.tools.example"),
            x509.UniformResourceIdentifier("spiffe://x/y"),
            x509.IPAddress(ip_address("192.0.2.1")),
            x509.IPAddress(ip_address("2001:DB8::1")),
        ]
    )
    assert read(signed(names)).hosts() == (
        "gateway.example",
        "*.tools.example",
        "192.0.2.1",
        "[2001:db8::1]",
    )
    assert read(signed()).hosts() == ()
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x03\x87\x01\x01")
    with pytest.raises(ValueError, match="IPv4 or IPv6"):
        read(signed(odd)).hosts()
