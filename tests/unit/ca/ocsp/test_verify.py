"""Every way in which a response can fail to settle a status, and those that settle it."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509 import ocsp
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from ocsp_world import NOW, World, refusal, resigned

from crewgate import limits
from crewgate.ca.certificates import CertificateAndKey, is_issued
from crewgate.ca.ocsp.verify import ExpectedResponse, OCSPIssuer, verify
from crewgate.core.x509.ocsp_result import (
    CertificateStatus,
    GoodStatus,
    RevokedStatus,
    UndeterminedReason,
    UndeterminedStatus,
    UnknownStatus,
)

NONCE = bytes(range(32))
WORLD = World()
S = timedelta(seconds=1)
LEEWAY = limits.leeway_seconds
Make = Callable[[], bytes]
PRINTABLE = _ASN1Type.PrintableString  # as old CAs write their names
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def judged(
    data: bytes, *, nonce: bytes | None = None, lack: bool = False, late: float = 0
) -> CertificateStatus:
    """What is made of a response about the leaf, `late` seconds after now.

    It may lack a nonce unless `nonce` is given.
    """
    when, may_lack = NOW.timestamp() + late, lack or nonce is None
    asking = ExpectedResponse(WORLD.leaf.certificate, when, nonce or NONCE, may_lack)
    return verify(data, WORLD.issuer, asking)


def flaw(status: CertificateStatus) -> UndeterminedReason | None:
    return status.flaw if isinstance(status, UndeterminedStatus) else None


def without_signing_usage() -> CertificateAndKey:
    return WORLD.make_delegate(usages=[ExtendedKeyUsageOID.CLIENT_AUTH])


def test_a_good_answer_is_good_until_its_next_update() -> None:
    """A delegate's signed word about this certificate, with our nonce, settles it."""
    assert judged(WORLD.respond(nonce=NONCE), nonce=NONCE) == GoodStatus(NOW.timestamp() + 60)


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384()])
def test_the_certificate_may_be_named_by_any_known_hash(algorithm: hashes.HashAlgorithm) -> None:
    """A responder may answer in terms of another hash than it was asked in."""
    assert isinstance(judged(WORLD.respond(algorithm=algorithm)), GoodStatus)


@pytest.mark.parametrize("encoding", list(ocsp.OCSPResponderEncoding))
def test_the_issuer_itself_may_sign(encoding: ocsp.OCSPResponderEncoding) -> None:
    """Without a delegate, named by key or by name, its certificate sent along or not."""
    for certificates in (None, []):
        data = WORLD.respond(signer=WORLD.issuing, encoding=encoding, certificates=certificates)
        assert isinstance(judged(data), GoodStatus)


def test_a_delegate_may_be_named_by_its_name() -> None:
    """A responder's id is a key's digest or a name; both are taken."""
    assert isinstance(judged(WORLD.respond(encoding=ocsp.OCSPResponderEncoding.NAME)), GoodStatus)


def test_revoked_says_when_and_why_and_is_believed_however_old() -> None:
    """No revocation is taken back, so neither age nor nonce weakens it."""
    data = WORLD.respond(status=ocsp.OCSPCertStatus.REVOKED)
    told = RevokedStatus(NOW.timestamp(), "keyCompromise", NOW.timestamp() + 60)
    assert judged(data) == judged(data, nonce=NONCE, late=86_400) == told


def test_unknown_is_neither_good_nor_in_doubt() -> None:
    """The issuer's word that it never issued it is an answer of its own."""
    assert judged(WORLD.respond(status=ocsp.OCSPCertStatus.UNKNOWN)) == UnknownStatus()


def reversed_times() -> bytes:
    """The library's builder would not make one, so the times of a signed one are swapped."""
    one, two = (f"{NOW + n * S:%Y%m%d%H%M%SZ}".encode() for n in (1, 2))

    def swap(tbs: bytes) -> bytes:
        return tbs.replace(one, b"*").replace(two, one).replace(b"*", two)

    return resigned(WORLD.respond(begin=S, end=2 * S), WORLD.delegate.key, swap)


def _no_signatures() -> x509.KeyUsage:
    values = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
         "key_agreement", "crl_sign", "encipher_only", "decipher_only"), False
    )  # fmt: skip
    return x509.KeyUsage(**values, key_cert_sign=True)


REJECTED: dict[str, tuple[UndeterminedReason, Make]] = {
    "another serial": (UndeterminedReason.SERIAL, lambda: WORLD.respond(leaf=WORLD.sibling)),
    "another issuer of the same name": (
        UndeterminedReason.ISSUER,
        lambda: WORLD.respond(issuer=WORLD.stranger),
    ),
    "stale": (
        UndeterminedReason.STALE,
        lambda: WORLD.respond(begin=-60 * S, end=-(LEEWAY + 1) * S),
    ),
    "future": (UndeterminedReason.FUTURE, lambda: WORLD.respond(begin=(LEEWAY + 1) * S)),
    "no next update": (UndeterminedReason.NO_NEXT_UPDATE, lambda: WORLD.respond(end=None)),
    "ends before it begins": (UndeterminedReason.MALFORMED, reversed_times),
    "signed by another CA": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(signer=WORLD.stranger),
    ),
    "a delegate of another CA of the same name": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(signer=WORLD.make_delegate(signer=WORLD.stranger)),
    ),
    "a delegate of a delegate": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(signer=WORLD.make_delegate(signer=WORLD.delegate)),
    ),
    "without the OCSP-signing usage": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(signer=without_signing_usage()),
    ),
    "signed by the leaf itself": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(signer=WORLD.leaf),
    ),
    "any usage is not the OCSP-signing usage": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(
            signer=WORLD.make_delegate(usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
        ),
    ),
    "no usage at all": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(signer=WORLD.make_delegate(usages=None)),
    ),
    "a key that is not for signatures": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(signer=WORLD.make_delegate(more=[(_no_signatures(), True)])),
    ),
    "a delegate with a critical extension that nobody knows": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(signer=WORLD.make_delegate(more=[(STRANGE, True)])),
    ),
    "a delegate whose certificate has ended": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(signer=WORLD.make_delegate(begins=-2 * S * 86_400)),
    ),
    "a delegate whose certificate is yet to begin": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(signer=WORLD.make_delegate(begins=S * 86_400)),
    ),
    "a delegate that is named and not shown": (
        UndeterminedReason.SIGNER,
        lambda: WORLD.respond(certificates=[]),
    ),
    "signed with another key than the delegate's": (
        UndeterminedReason.SIGNATURE,
        lambda: WORLD.respond(key=WORLD.stranger.key),
    ),
    "signed with another key than the issuer's": (
        UndeterminedReason.SIGNATURE,
        lambda: WORLD.respond(signer=WORLD.issuing, key=WORLD.stranger.key),
    ),
    "a critical extension that nobody knows": (
        UndeterminedReason.MALFORMED,
        lambda: WORLD.respond(more=[(STRANGE, True)]),
    ),
    "try later": (UndeterminedReason.TRY_LATER, lambda: refusal(ocsp.OCSPResponseStatus.TRY_LATER)),
    "malformed request": (
        UndeterminedReason.REFUSED,
        lambda: refusal(ocsp.OCSPResponseStatus.MALFORMED_REQUEST),
    ),
    "internal error": (
        UndeterminedReason.REFUSED,
        lambda: refusal(ocsp.OCSPResponseStatus.INTERNAL_ERROR),
    ),
    "signature required": (
        UndeterminedReason.REFUSED,
        lambda: refusal(ocsp.OCSPResponseStatus.SIG_REQUIRED),
    ),
    "unauthorized": (
        UndeterminedReason.REFUSED,
        lambda: refusal(ocsp.OCSPResponseStatus.UNAUTHORIZED),
    ),
    "nothing": (UndeterminedReason.MALFORMED, lambda: b""),
    "no DER": (UndeterminedReason.MALFORMED, lambda: b"<html>"),
    "a byte too many": (UndeterminedReason.MALFORMED, lambda: WORLD.respond() + b"\0"),
    "too long": (UndeterminedReason.MALFORMED, lambda: bytes(limits.ocsp_response_bytes_max + 1)),
}


@pytest.mark.parametrize("case", REJECTED)
def test_what_settles_nothing_is_a_doubt_that_says_why(case: str) -> None:
    """Each flaw alone is enough, and it is named."""
    expected, make = REJECTED[case]
    assert flaw(judged(make())) is expected


@pytest.mark.parametrize(
    ("begin", "end"), [(LEEWAY * S, 60 * S), (-60 * S, -LEEWAY * S)], ids=["future", "past"]
)
def test_clocks_may_differ_a_little(begin: timedelta, end: timedelta) -> None:
    """Within the leeway an answer of the future and one just ended are good."""
    assert isinstance(judged(WORLD.respond(begin=begin, end=end)), GoodStatus)


def test_another_nonce_is_never_taken_and_a_missing_one_only_where_that_is_said() -> None:
    """A replay is told from an answer; without nonces the way there must say who speaks."""
    assert (
        flaw(judged(WORLD.respond(nonce=bytes(32)), nonce=NONCE, lack=True))
        is UndeterminedReason.NONCE
    )
    assert flaw(judged(WORLD.respond(), nonce=NONCE)) is UndeterminedReason.NONCE
    assert isinstance(judged(WORLD.respond(), nonce=NONCE, lack=True), GoodStatus)


def test_a_weak_signature_is_none() -> None:
    """An RSA issuer's word passes with SHA-256; the same with SHA-1 does not."""
    key = rsa.generate_private_key(65_537, 2048)
    certificate, data = other_issuer(key, hashes.SHA256())
    assert isinstance(
        verify(
            data,
            OCSPIssuer(certificate),
            ExpectedResponse(certificate, NOW.timestamp(), NONCE, may_lack_nonce=True),
        ),
        GoodStatus,
    )
    weak = verify(
        resigned(data, key),
        OCSPIssuer(certificate),
        ExpectedResponse(certificate, NOW.timestamp(), NONCE, may_lack_nonce=True),
    )
    assert flaw(weak) is UndeterminedReason.SIGNATURE


def test_an_ed25519_issuer_is_believed() -> None:
    """Keys of the kinds that responders have are all verified."""
    certificate, data = other_issuer(ed25519.Ed25519PrivateKey.generate(), None)
    assert isinstance(
        verify(
            data,
            OCSPIssuer(certificate),
            ExpectedResponse(certificate, NOW.timestamp(), NONCE, may_lack_nonce=True),
        ),
        GoodStatus,
    )


def other_issuer(
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, algorithm: hashes.SHA256 | None
) -> tuple[x509.Certificate, bytes]:
    """A CA that answers about its own certificate, number 7."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an old CA", _type=PRINTABLE)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(7)
    builder = builder.not_valid_before(NOW - S).not_valid_after(NOW + 600 * S)
    certificate = builder.public_key(key.public_key()).sign(key, algorithm)
    response = ocsp.OCSPResponseBuilder().add_response(
        certificate, certificate, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, NOW, NOW + 60 * S,
        None, None,
    )  # fmt: skip
    response = response.responder_id(ocsp.OCSPResponderEncoding.HASH, certificate)
    return certificate, response.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    "status",
    [
        GoodStatus(1.0),
        RevokedStatus(1.0, "", 2.0),
        UnknownStatus(),
        UndeterminedStatus(UndeterminedReason.STALE),
    ],
)
def test_a_status_is_no_truth_value(status: CertificateStatus) -> None:
    """Whoever writes `if status:` learns it at once."""
    with pytest.raises(TypeError, match="has no truth value"):
        bool(status)


GOOD = WORLD.respond(nonce=NONCE)
SIGNED = ocsp.load_der_ocsp_response(GOOD).tbs_response_bytes


@settings(max_examples=400)
@given(at=st.integers(0, len(GOOD) - 1), value=st.integers(1, 255))
def test_no_changed_byte_is_good(at: int, value: int) -> None:
    """With any one byte changed it is a doubt, and nothing is raised.

    Unless what was signed is untouched: nobody signs the number of a signature's unused bits.
    """
    changed = bytearray(GOOD)
    changed[at] ^= value
    status = judged(bytes(changed), nonce=NONCE)
    if not isinstance(status, UndeterminedStatus):
        assert status == judged(GOOD)
        assert ocsp.load_der_ocsp_response(bytes(changed)).tbs_response_bytes == SIGNED


@settings(max_examples=200)
@given(data=st.binary(max_size=400), at=st.integers(0, len(GOOD)), cut=st.integers(0, 40))
def test_no_garbage_is_good(data: bytes, at: int, cut: int) -> None:
    """Bytes put in, taken out, or alone are a doubt, and raise nothing."""
    spliced = GOOD[:at] + data + GOOD[at + cut :]
    assert spliced == GOOD or isinstance(judged(spliced, nonce=NONCE), UndeterminedStatus)
    assert isinstance(judged(data, nonce=NONCE), UndeterminedStatus)


def test_a_request_names_the_issuer_as_every_responder_reads_it() -> None:
    """SHA-1, serial and nonce, unsigned."""
    leaf = WORLD.leaf.certificate
    request = ocsp.load_der_ocsp_request(WORLD.issuer.request(leaf, NONCE))
    assert (request.serial_number, request.hash_algorithm.name) == (leaf.serial_number, "sha1")
    assert request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE


def test_whose_a_certificate_is_says_the_signature_and_not_the_name() -> None:
    """Another CA of the same name is another issuer."""
    assert is_issued(WORLD.leaf.certificate, WORLD.issuing.certificate)
    assert not is_issued(WORLD.make_leaf(WORLD.stranger).certificate, WORLD.issuing.certificate)
