"""Checks DPoP proofs (RFC 9449, section 4.3): that a caller has the key its token is bound to.

libsodium checks signatures of Ed25519, and the package cryptography those of P-256. A client sends
the same header with each of its proofs, so a binding keeps the header that had its key. All other
work is bounded by the size of a proof. Every fault is one reason, so a refusal helps no forger.
"""

import hashlib
from base64 import urlsafe_b64encode

import msgspec

from crewgate import limits
from crewgate.core.reasons import Reason
from crewgate._native import p256
from crewgate.core.tokens.proof import Ed25519Key, decode_header, decode_proof, thumbprint

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcmp

from crewgate._native.signature cimport verify_joined
from crewgate._native.token cimport ascii_text

cdef extern from "proof_target.h" nogil:
    int target_matches(const unsigned char *, size_t, const target_origin *, const unsigned char *,
                       size_t) noexcept

cdef extern from "compact_jws.h" nogil:
    const int SIGNATURE_BYTES
    ctypedef struct jws_lengths:
        size_t header, payload
    void base64url_prepare() noexcept
    size_t base64url_size(size_t) noexcept
    int base64url_decode(const unsigned char *, size_t, unsigned char *) noexcept
    int jws_measure(const unsigned char *, size_t, size_t, jws_lengths *) noexcept
    int jws_join(const unsigned char *, jws_lengths, unsigned char *) noexcept
    int json_scan_object(const unsigned char *, size_t) noexcept

cdef enum:
    PROOF_BYTES_MAX = 2048

if PROOF_BYTES_MAX != limits.proof_bytes_max:
    raise ImportError("proof.pyx and crewgate/limits differ: make PROOF_BYTES_MAX equal")

base64url_prepare()

cdef object INVALID = Reason.INVALID_PROOF
cdef int64_t AGE_MAX = limits.proof_age_seconds_max
cdef int64_t LEEWAY = limits.leeway_seconds
cdef tuple FAULTS = (msgspec.DecodeError, ValueError)
cdef char *HTTPS_PORT = b":443"
cdef char *HTTP_PORT = b":80"
cdef char *NO_PORT = b""


class _BadProofError(ValueError):
    """A proof is refused. The error never says which check failed."""


cdef bytes decoded(const unsigned char *text, size_t n):
    """Return the bytes of a canonical base64url text; raise _BadProofError."""
    cdef unsigned char out[PROOF_BYTES_MAX]
    if n > PROOF_BYTES_MAX or base64url_decode(text, n, out) != 0:
        raise _BadProofError
    return PyBytes_FromStringAndSize(<const char *>out, <Py_ssize_t>base64url_size(n))


cdef bytes strict_json(const unsigned char *text, size_t n):
    """Return a segment that is one strict JSON object; raise _BadProofError."""
    cdef bytes document = decoded(text, n)
    if json_scan_object(<const unsigned char *>PyBytes_AS_STRING(document), len(document)) < 0:
        raise _BadProofError
    return document


cdef bytes digest_of(str text):
    cdef size_t n = 0
    cdef unsigned char out[33]
    cdef const unsigned char *characters = ascii_text(text, &n)
    if characters == NULL or n != 43 or base64url_decode(characters, n, out) != 0:
        raise ValueError("expected the base64url of 32 bytes: 43 characters")
    return PyBytes_FromStringAndSize(<const char *>out, 32)


cdef class Origin:
    """See the stub."""

    def __init__(self, str scheme not None, bytes authority not None):
        cdef char *port = HTTPS_PORT if scheme == "https" else HTTP_PORT
        if scheme not in ("https", "http"):
            raise ValueError(f"the scheme of an origin is https or http, not {scheme!r}")
        host = authority.lower().removesuffix(<bytes>port)
        has_port = b":" in host.rpartition(b"]")[2]
        self.text = scheme.encode() + b"://" + host
        self.target.text = <const unsigned char *>PyBytes_AS_STRING(self.text)
        self.target.size = len(self.text)
        self.target.default_port = NO_PORT if has_port else port


@cython.no_gc
@cython.final
cdef class KeyBinding:
    """See the stub."""

    def __init__(self, str jkt not None, bytes token not None):
        self.thumbprint = digest_of(jkt)
        self.token_hash = urlsafe_b64encode(hashlib.sha256(token).digest()).rstrip(b"=")

    cdef int read_header(self, const unsigned char *text, size_t n) except -1:
        """Keep the header of a proof and its key; raise _BadProofError if it has another key."""
        if self.header is not None and <size_t>PyBytes_GET_SIZE(self.header) == n and memcmp(
                PyBytes_AS_STRING(self.header), text, n) == 0:
            return 0
        header = decode_header(strict_json(text, n))
        key = header.jwk
        is_ed25519 = type(key) is Ed25519Key
        if is_ed25519 is (header.alg == "ES256") or thumbprint(key) != self.thumbprint:
            raise _BadProofError
        x = digest_of(key.x)
        if is_ed25519:
            self.ed25519, self.p256 = x, None
        else:
            self.ed25519, self.p256 = None, p256.public_key(x, digest_of(key.y))
        self.header = PyBytes_FromStringAndSize(<const char *>text, <Py_ssize_t>n)
        return 0

    cdef bint signed(self, const unsigned char *joined, size_t n) except -1:
        """Return whether the first 64 of `n` bytes sign the others."""
        cdef int good
        cdef bytes key = self.ed25519  # another thread may read another header meanwhile
        cdef const unsigned char *public
        if self.p256 is None:
            public = <const unsigned char *>PyBytes_AS_STRING(key)
            with nogil:
                good = verify_joined(joined, n, public)
            return good
        cdef bytes whole = PyBytes_FromStringAndSize(<const char *>joined, <Py_ssize_t>n)
        return p256.is_signed(self.p256, whole[:64], whole[64:])


@cython.no_gc
@cython.final
cdef class Proof:
    """See the stub."""

    def __init__(self, bytes text not None, bytes method not None, Origin origin,
                 bytes path not None):
        self.text = text
        self.method = method
        self.origin = origin
        self.path = path

    def check(self, KeyBinding binding not None, int64_t now):
        return self.fault(binding, now)

    cdef object fault(self, KeyBinding binding, int64_t now):
        if self.claims is None and not self.is_bad:
            try:
                self.read(binding, now)
            except FAULTS:
                self.is_bad = True
        return INVALID if self.is_bad else None

    cdef int read(self, KeyBinding binding, int64_t now) except -1:
        """Check all of it, the signature last; raise _BadProofError or msgspec.DecodeError."""
        cdef unsigned char joined[64 + PROOF_BYTES_MAX]
        cdef const unsigned char *text = <const unsigned char *>PyBytes_AS_STRING(self.text)
        cdef jws_lengths lengths
        if not (jws_measure(text, PyBytes_GET_SIZE(self.text), PROOF_BYTES_MAX, &lengths)
                and jws_join(text, lengths, joined)):
            raise _BadProofError
        binding.read_header(text, lengths.header)
        claims = decode_proof(strict_json(text + lengths.header + 1, lengths.payload))
        if not self.is_about_request(claims, binding, now):
            raise _BadProofError
        if not binding.signed(joined, SIGNATURE_BYTES + lengths.header + 1 + lengths.payload):
            raise _BadProofError
        self.claims = claims
        return 0

    cdef bint is_about_request(self, object claims, KeyBinding binding, int64_t now) except -1:
        cdef size_t n = 0
        cdef int64_t issued = int(claims.iat)
        cdef const unsigned char *url = ascii_text(claims.htu, &n)
        return (
            url != NULL and self.origin is not None
            and claims.htm.encode() == self.method
            and claims.ath.encode() == binding.token_hash
            and now - AGE_MAX <= issued <= now + LEEWAY
            and target_matches(
                url, n, &self.origin.target,
                <const unsigned char *>PyBytes_AS_STRING(self.path), PyBytes_GET_SIZE(self.path))
        )
