"""OCSP requests (RFC 6960, section 4.1), read strictly: whose status is asked for, and the nonce.

Written by hand, because `cryptography` reads requests for one certificate only, and an answer
repeats the question byte for byte. A requestor's name and signature are skipped: whoever asks is
answered, and only the issuer's word counts.
"""

import base64
import hashlib
from urllib.parse import unquote_to_bytes

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from crewgate import limits
from crewgate.core.x509 import der

NONCE = der.identifier("1.3.6.1.5.5.7.48.1.2")  # RFC 9654 §2.1
_HASHES = {
    der.identifier("1.3.14.3.2.26"): "sha1",
    der.identifier("2.16.840.1.101.3.4.2.1"): "sha256",
    der.identifier("2.16.840.1.101.3.4.2.2"): "sha384",
    der.identifier("2.16.840.1.101.3.4.2.3"): "sha512",
}
_VERSION = 0xA0
_REQUESTOR = 0xA1
_REQUEST_EXTENSIONS = 0xA2
_SINGLE_EXTENSIONS = 0xA0
_SIGNATURE = 0xA0


class CertID(msgspec.Struct, frozen=True):
    """One CertID: `raw` is its DER; `hash_name` as hashlib has it, empty for one we do not know."""

    raw: bytes
    hash_name: str
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int


class OCSPRequest(msgspec.Struct, frozen=True):
    """What a request asks: at least one question; `nonce` is to be repeated, None if there is none.

    The nonce is without its OCTET STRING.
    """

    questions: tuple[CertID, ...]
    nonce: bytes | None = None


def issuer_names(issuer: x509.Certificate, hash_name: str) -> tuple[bytes, bytes]:
    """How a CertID names an issuer: the digests of its subject and of its key."""
    subject = issuer.subject.public_bytes()
    name = hashlib.new(hash_name, subject, usedforsecurity=False).digest()
    return name, key_digest(issuer.public_key(), hash_name)


def key_digest(key: CertificatePublicKeyTypes, hash_name: str = "sha1") -> bytes:
    """The digest by which OCSP names a key: of its bits, without what kind of key it is."""
    info = der.DERReader(
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).enter()
    info.take(der.SEQUENCE)  # its kind
    bits = info.take(der.BIT_STRING)[1:]  # the first byte counts the bits that are not used
    return hashlib.new(hash_name, bits, usedforsecurity=False).digest()


def read_request(data: bytes) -> OCSPRequest:
    """Read a request's DER; ValueError for what is none, or over a bound."""
    if len(data) > limits.ocsp_request_bytes_max:
        raise ValueError(f"an OCSP request over {limits.ocsp_request_bytes_max} bytes")
    outer = der.DERReader(data)
    request = outer.enter()
    outer.end()
    body = request.enter()
    if request.tag == _SIGNATURE:
        request.take_any()
    request.end()
    if body.tag == _VERSION and body.enter(_VERSION).integer() != 0:
        raise ValueError("an OCSP request of another version than 1")
    if body.tag == _REQUESTOR:
        body.take_any()
    questions = _questions(body.enter())
    nonce = None
    if body.tag == _REQUEST_EXTENSIONS:
        nonce = _nonce(body.enter(_REQUEST_EXTENSIONS).enter())
    body.end()
    return OCSPRequest(questions, nonce)


def read_path(tail: str) -> bytes:
    """The request in the path of a GET, after the responder's own path and its slash.

    It is base64, then percent-encoded (RFC 6960, appendix A.1). ValueError for what is not.
    """
    if len(tail) > limits.ocsp_request_bytes_max * 4:  # base64, and every third byte encoded
        raise ValueError("a path longer than any OCSP request")
    return base64.b64decode(unquote_to_bytes(tail), validate=True)  # binascii.Error is a ValueError


def _questions(reader: der.DERReader) -> tuple[CertID, ...]:
    found = []
    while reader.tag != -1:
        single = reader.enter()
        raw = single.take(der.SEQUENCE)
        if single.tag == _SINGLE_EXTENSIONS:
            _nonce(single.enter(_SINGLE_EXTENSIONS).enter())
        single.end()
        found.append(_question(raw))
    if not 0 < len(found) <= limits.ocsp_questions_max:
        raise ValueError(f"{len(found)} questions; at most {limits.ocsp_questions_max}, and one")
    return tuple(found)


def _question(content: bytes) -> CertID:
    reader = der.DERReader(content)
    algorithm = reader.enter().take(der.OBJECT_IDENTIFIER)
    question = CertID(
        raw=der.write(der.SEQUENCE, content),
        hash_name=_HASHES.get(algorithm, ""),
        issuer_name_hash=reader.take(der.OCTET_STRING),
        issuer_key_hash=reader.take(der.OCTET_STRING),
        serial=reader.integer(),
    )
    reader.end()
    return question


def _nonce(extensions: der.DERReader) -> bytes | None:
    """The nonce among extensions; ValueError for a critical one that is not understood."""
    nonce = None
    while extensions.tag != -1:
        extension = extensions.enter()
        name = extension.take(der.OBJECT_IDENTIFIER)
        is_critical = extension.tag == der.BOOLEAN and extension.take_any() != b"\0"
        value = extension.take(der.OCTET_STRING)
        extension.end()
        if name == NONCE:
            if nonce is not None:
                raise ValueError("two nonces")
            nonce = _octets(value)
        elif is_critical:
            raise ValueError("a critical extension that is not understood (RFC 6960 §4.4)")
    return nonce


def _octets(value: bytes) -> bytes:
    reader = der.DERReader(value)
    nonce = reader.take(der.OCTET_STRING)
    reader.end()
    if not 0 < len(nonce) <= limits.ocsp_nonce_bytes_max:
        raise ValueError(f"a nonce of {len(nonce)} bytes")
    return nonce
