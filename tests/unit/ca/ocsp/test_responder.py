"""The responder's answers, read by the library and by OpenSSL's command."""

import base64
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ocsp_world import NOW, HTTPResponder, World, serving, write_pair

from crewgate import limits
from crewgate.ca.certificate_db import CertificateDB
from crewgate.ca.certificates import CertificateAndKey, make_issuing, make_root
from crewgate.ca.ocsp.responder import Responder
from crewgate.core.x509 import der
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import CAError

WORLD = World()
NONCE = bytes(range(32))
HASHES = [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
STATUS = ocsp.OCSPResponseStatus
openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")


@pytest.fixture
def register(tmp_path: Path) -> Iterator[CertificateDB]:
    """A register that has the leaf, and not its sibling."""
    with CertificateDB(tmp_path / "issued.sqlite", is_new=True) as register:
        WORLD.enter(register, WORLD.leaf)
        yield register


@pytest.fixture
def responder(register: CertificateDB) -> Responder:
    return Responder(WORLD.issuing, register)


def request(
    leaf: CertificateAndKey = WORLD.leaf,
    issuer: CertificateAndKey = WORLD.issuing,
    algorithm: hashes.HashAlgorithm | None = None,
    more: list[tuple[x509.ExtensionType, bool]] | None = None,
) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        leaf.certificate, issuer.certificate, algorithm or hashes.SHA256()
    )
    for value, is_critical in more or []:
        builder = builder.add_extension(value, critical=is_critical)
    return builder.build().public_bytes(serialization.Encoding.DER)


def asked(responder: Responder, data: bytes, now: datetime = NOW) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(responder.answer(data, now))


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda each: each.name)
def test_good_in_terms_of_every_hash_that_is_asked_in(
    responder: Responder, algorithm: hashes.HashAlgorithm
) -> None:
    """The answer names the certificate as the question did, and is good for a minute."""
    response = asked(responder, request(algorithm=algorithm))
    assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert response.serial_number == WORLD.leaf.certificate.serial_number
    assert response.hash_algorithm.name == algorithm.name
    assert response.this_update_utc == NOW
    assert response.next_update_utc == NOW + timedelta(seconds=limits.ocsp_life_seconds)


def test_a_delegate_of_the_issuer_signs_and_is_shown(responder: Responder) -> None:
    """Its certificate is for OCSP alone, by the issuer, and its key has signed."""
    response = asked(responder, request())
    (delegate,) = response.certificates
    delegate.verify_directly_issued_by(WORLD.issuing.certificate)
    usages = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING]
    assert delegate.extensions.get_extension_for_class(x509.OCSPNoCheck)
    key = delegate.public_key()
    assert response.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(key).digest


def test_revoked_with_time_and_reason(responder: Responder, register: CertificateDB) -> None:
    """What the register says, from the moment it says so."""
    serial = serial_text(WORLD.leaf.certificate.serial_number)
    register.revoke([serial], "keyCompromise", int(NOW.timestamp()))
    response = asked(responder, request(), NOW + timedelta(seconds=9))
    assert response.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert response.revocation_time_utc == NOW
    assert response.revocation_reason is x509.ReasonFlags.key_compromise


def test_an_unspecified_reason_is_said_by_silence(
    responder: Responder, register: CertificateDB
) -> None:
    """RFC 5280 §5.3.1."""
    register.revoke([serial_text(WORLD.leaf.certificate.serial_number)], "unspecified", 1)
    assert asked(responder, request()).revocation_reason is None


@pytest.mark.parametrize(
    "data",
    [
        request(WORLD.sibling),
        request(issuer=WORLD.stranger),
        request(WORLD.make_leaf(WORLD.stranger), WORLD.stranger),
    ],
    ids=["a serial that was never issued", "our serial, another issuer", "all of another issuer"],
)
def test_foreign_serials_and_issuers_are_unknown(responder: Responder, data: bytes) -> None:
    """A signed word, and neither good nor revoked."""
    assert asked(responder, data).certificate_status is ocsp.OCSPCertStatus.UNKNOWN


@pytest.mark.parametrize("size", [1, 16, 32, 128])
def test_a_nonce_comes_back(responder: Responder, size: int) -> None:
    """Of every size that RFC 9654 has; and none where none was sent."""
    nonce = x509.OCSPNonce(bytes(size))
    response = asked(responder, request(more=[(nonce, False)]))
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value == nonce
    assert len(asked(responder, request()).extensions) == 0


def sequence(*parts: bytes) -> bytes:
    return der.write(der.SEQUENCE, *parts)


def extension(oid: str, value: bytes, *critical: bytes) -> bytes:
    name = der.write(der.OBJECT_IDENTIFIER, der.identifier(oid))
    return sequence(name, *critical, der.write(der.OCTET_STRING, value))


NONCE_EXTENSION = extension("1.3.6.1.5.5.7.48.1.2", der.write(der.OCTET_STRING, NONCE))
STRANGE_EXTENSION = extension("1.2.3", b"\x05\x00", der.write(der.BOOLEAN, b"\xff"))


def question(serial: bytes = b"\1", key_hash: bytes = bytes(20), *extensions: bytes) -> bytes:
    """One question in terms of SHA-1 about a foreign issuer, its parts as they are given."""
    hash_name = sequence(der.write(der.OBJECT_IDENTIFIER, der.identifier("1.3.14.3.2.26")))
    digests = (der.write(der.OCTET_STRING, each) for each in (bytes(20), key_hash))
    certificate = sequence(hash_name, *digests, der.write(der.INTEGER, serial))
    own = (der.write(0xA0, sequence(*extensions)),) if extensions else ()
    return sequence(certificate, *own)


def raw(
    *questions: bytes, before: bytes = b"", extensions: tuple[bytes, ...] = (), after: bytes = b""
) -> bytes:
    """A request with parts that the library's builder does not write."""
    asked = der.write(0xA2, sequence(*extensions)) if extensions else b""
    return sequence(sequence(before, sequence(*questions), asked), after)


MALFORMED = {
    "nothing": b"",
    "no DER": b"GET / HTTP/1.1",
    "a byte too many": request() + b"\0",
    "cut short": request()[:-1],
    "no question": raw(),
    "several questions": raw(question(), question(b"\2")),
    "a negative serial": raw(question(b"\xff")),
    "a padded serial": raw(question(b"\0\1")),
    "a digest of another size": raw(question(key_hash=bytes(19))),
    "the default version in DER": raw(question(), before=der.write(0xA0, der.write_integer(0))),
    "two nonces": raw(question(), extensions=(NONCE_EXTENSION, NONCE_EXTENSION)),
    "too long": request(more=[(x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.2.3"), bytes(limits.ocsp_request_bytes_max)), False)]),
    "a nonce that is empty": request(more=[(x509.OCSPNonce(b""), False)]),
    "a nonce that is too long": request(more=[(x509.OCSPNonce(bytes(129)), False)]),
    "a critical extension that nobody knows": request(
        more=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_request_is_said_to_be_malformed(responder: Responder, case: str) -> None:
    """An unsigned response (RFC 6960 §4.2.1), at no cost of a signature."""
    assert asked(responder, MALFORMED[case]).response_status is STATUS.MALFORMED_REQUEST


def test_a_hash_that_nobody_knows_is_not_authoritatively_answered(responder: Responder) -> None:
    """Whether the issuer is ours cannot be told from a digest of an unknown kind."""
    data = request().replace(
        der.identifier("2.16.840.1.101.3.4.2.1"), bytes.fromhex("60864801650304027f")
    )
    assert asked(responder, data).response_status is STATUS.UNAUTHORIZED


def test_what_a_request_may_have_besides_is_read_past(responder: Responder) -> None:
    """Who asks, a signature, and extensions of the question change nothing."""
    name = der.write(0xA1, der.write(0x82, b"client.example"))
    data = raw(
        question(b"\1", bytes(20), STRANGE_EXTENSION),
        before=name,
        extensions=(NONCE_EXTENSION,),
        after=der.write(0xA0, sequence(b"whatever")),
    )
    response = asked(responder, data)
    assert (response.serial_number, response.certificate_status.name) == (1, "UNKNOWN")
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE


def test_a_database_that_fails_is_an_internal_error(
    responder: Responder, register: CertificateDB, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is told more, and the log says why."""
    register.close()
    assert asked(responder, request()).response_status is STATUS.INTERNAL_ERROR
    assert "the CA's register cannot be used" in caplog.text


def test_the_form_of_a_get_is_base64_percent_encoded(responder: Responder) -> None:
    """As RFC 6960's appendix A.1 has it, escaped or not where a path allows both."""
    text = base64.b64encode(request()).decode()
    for tail in (quote(text, safe=""), text):
        response = ocsp.load_der_ocsp_response(responder.answer_path(tail, NOW))
        assert response.certificate_status is ocsp.OCSPCertStatus.GOOD


@pytest.mark.parametrize("tail", ["", "%", "a", "AAAA!", "é", "A" * 40_000], ids=repr)
def test_a_path_that_holds_no_request_is_malformed(responder: Responder, tail: str) -> None:
    """Whatever stands there, there is an answer."""
    response = ocsp.load_der_ocsp_response(responder.answer_path(tail, NOW))
    assert response.response_status is STATUS.MALFORMED_REQUEST


GOOD = request(more=[(x509.OCSPNonce(NONCE), False)])
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)


@many
@given(data=st.binary(max_size=200), at=st.integers(0, len(GOOD)), cut=st.integers(0, 40))
def test_hostile_bytes_have_an_answer(responder: Responder, data: bytes, at: int, cut: int) -> None:
    """Bytes alone, a request that is cut short, and bytes in a request's place raise nothing."""
    for hostile in (data, GOOD[:at], GOOD[:at] + data + GOOD[at + cut :]):
        assert asked(responder, hostile).response_status in STATUS


def test_a_changed_byte_has_an_answer_that_is_about_nothing_else(responder: Responder) -> None:
    """Only the question about the leaf is answered `good`, whatever else was changed."""
    for at in range(len(GOOD)):
        for value in (1, 0x80, 0xFF):
            changed = bytearray(GOOD)
            changed[at] ^= value
            response = asked(responder, bytes(changed))
            if response.response_status is STATUS.SUCCESSFUL:
                name = named(ocsp.load_der_ocsp_request(bytes(changed)))
                assert named(response) == name
                is_good = response.certificate_status is ocsp.OCSPCertStatus.GOOD
                assert is_good == (name == named(ocsp.load_der_ocsp_request(GOOD)))


def named(about: ocsp.OCSPRequest | ocsp.OCSPResponse) -> tuple[str, bytes, bytes, int]:
    """How a question or an answer names its certificate."""
    name = about.hash_algorithm.name
    return name, about.issuer_name_hash, about.issuer_key_hash, about.serial_number


@many
@given(tail=st.text(max_size=200))
def test_any_text_in_a_path_has_an_answer(responder: Responder, tail: str) -> None:
    """A text raises nothing."""
    response = ocsp.load_der_ocsp_response(responder.answer_path(tail, NOW))
    assert response.response_status in STATUS


def test_the_delegate_is_made_anew_long_before_it_ends(responder: Responder) -> None:
    """Kept for half of its life, so that no answer outlives its signer."""
    half = timedelta(seconds=limits.ocsp_responder_seconds / 2)
    first, second, third = (
        asked(responder, request(), NOW + late).certificates[0].serial_number
        for late in (timedelta(), half - timedelta(seconds=1), half)
    )
    assert first == second != third


def test_a_clock_that_was_set_back_has_another_delegate(responder: Responder) -> None:
    """One that begins in the future would be refused by everybody."""
    later = asked(responder, request(), NOW + timedelta(days=1)).certificates[0]
    now = asked(responder, request(), NOW).certificates[0]
    assert now.not_valid_before_utc <= NOW < later.not_valid_before_utc


def test_the_last_delegate_ends_with_the_issuer_and_no_answer_outlives_it(
    register: CertificateDB,
) -> None:
    """Then there is no answer, rather than one that nobody could verify."""
    born = NOW - timedelta(days=limits.ca_issuing_days)
    issuing = make_issuing(make_root(born), born)  # ends now
    responder = Responder(issuing, register)
    data = request(issuer=issuing)
    early = NOW - timedelta(seconds=20)
    first, again = (asked(responder, data, early) for _ in range(2))
    assert first.certificates == again.certificates
    assert first.next_update_utc == NOW == first.certificates[0].not_valid_after_utc
    assert asked(responder, data, NOW).response_status is STATUS.INTERNAL_ERROR


@openssl
@pytest.mark.parametrize("digest", ["-sha1", "-sha256"])
def test_openssl_as_a_client_believes_every_answer(
    tmp_path: Path, register: CertificateDB, digest: str
) -> None:
    """`openssl ocsp` asks over HTTP for a good, a revoked and an unknown one."""
    world = World(datetime.now(UTC).replace(microsecond=0))
    dead = world.make_leaf(world.issuing)
    world.enter(register, world.leaf)
    world.enter(register, dead)
    register.revoke([serial_text(dead.certificate.serial_number)], "keyCompromise", 1_700_000_000)
    for name, issued in (("root", world.root), ("issuing", world.issuing), ("good", world.leaf),
                         ("dead", dead), ("foreign", world.sibling)):  # fmt: skip
        write_pair(tmp_path, name, issued)
    responder = Responder(world.issuing, register)
    told = {"good": "good", "dead": "revoked", "foreign": "unknown"}
    with serving(HTTPResponder(lambda data: responder.answer(data, datetime.now(UTC)))) as server:
        for name, status in told.items():
            done = subprocess.run(
                ["openssl", "ocsp", "-issuer", f"{tmp_path}/issuing.pem", digest,
                 "-cert", f"{tmp_path}/{name}.pem",
                 "-url", server.url, "-CAfile", f"{tmp_path}/root.pem", "-verify_other",
                 f"{tmp_path}/issuing.pem", "-validity_period", "5"],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert "Response verify OK" in done.stderr
            assert "WARNING: no nonce" not in done.stderr
            assert f"{tmp_path}/{name}.pem: {status}" in done.stdout
            assert ("Reason: keyCompromise" in done.stdout) == (name == "dead")


def test_an_answer_is_refused_only_for_a_reason_that_can_be_mended(register: CertificateDB) -> None:
    """A responder of an issuer that has ended says so in the log's words."""
    born = NOW - timedelta(days=limits.ca_issuing_days + 1)
    with pytest.raises(CAError, match="make a new CA"):
        Responder(make_issuing(make_root(born), born), register)._signer(NOW)
