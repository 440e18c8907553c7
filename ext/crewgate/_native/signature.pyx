"""Ed25519 by PyNaCl's bundled libsodium, through its C function pointers, without the GIL.

libsodium decides which points and scalars are good. On import, the self-test checks that the linked
library is as strict as Crewgate needs. The C functions read 32 and 64 bytes blindly, so the lengths
are checked here.
"""

import hashlib

# This import initializes libsodium, which also selects its fast implementations.
import nacl.bindings
from nacl import _sodium

from crewgate.runtime.install_hint import unusable_library

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uintptr_t

cdef extern from "ed25519_test_vectors.h" nogil:
    ctypedef struct edge_signature:
        const char* name
        const unsigned char* public
        const unsigned char* joined
        size_t size
        int good
    ctypedef struct edge_point:
        const char* name
        const unsigned char* public
        int good
    const edge_signature EDGE_SIGNATURES[]
    const edge_point EDGE_POINTS[]
    const size_t EDGE_SIGNATURE_COUNT
    const size_t EDGE_POINT_COUNT

ctypedef int (*sign_open)(
    unsigned char*, unsigned long long*, const unsigned char*, unsigned long long,
    const unsigned char*,
) noexcept nogil
ctypedef int (*valid_point)(const unsigned char*) noexcept nogil
ctypedef int (*blake2b)(
    unsigned char*, size_t, const unsigned char*, unsigned long long, const unsigned char*,
    size_t, const unsigned char*, const unsigned char*,
) noexcept nogil


cdef uintptr_t address(str name) except 0:
    """Return the address of the function `name` of the bundled libsodium."""
    try:
        pointer = _sodium.ffi.addressof(_sodium.lib, name)
    except AttributeError as error:
        raise unusable_library("pynacl", f"its libsodium has no function {name!r}") from error
    return <uintptr_t> int(_sodium.ffi.cast("uintptr_t", pointer))


nacl.bindings.sodium_init()
cdef sign_open crypto_sign_open = <sign_open> address("crypto_sign_open")
cdef valid_point is_point = <valid_point> address("crypto_core_ed25519_is_valid_point")
cdef blake2b crypto_blake2b = <blake2b> address("crypto_generichash_blake2b_salt_personal")


cdef int verify_joined(
    const unsigned char* joined, size_t n, const unsigned char* public
) noexcept nogil:
    # Outputs may be NULL; a buffer shorter than a signature is refused by libsodium itself.
    return crypto_sign_open(NULL, NULL, joined, n, public) == 0


cdef void blake2b16(const unsigned char* data, size_t n, unsigned char* out16) noexcept nogil:
    # This cannot fail: the only errors are sizes of output and key. A missing salt or
    # personalization is the all-zero one.
    crypto_blake2b(out16, 16, data, n, NULL, 0, NULL, NULL)


def verify(bytes public not None, bytes message not None, bytes signature not None):
    """See signature.pyi."""
    if len(public) != 32:
        raise ValueError(f"an Ed25519 public key has 32 bytes, not {len(public)}")
    if len(signature) != 64:
        raise ValueError(f"an Ed25519 signature has 64 bytes, not {len(signature)}")
    cdef bytes joined = signature + message
    cdef const unsigned char* start = <const unsigned char*> PyBytes_AS_STRING(joined)
    cdef const unsigned char* key = <const unsigned char*> PyBytes_AS_STRING(public)
    cdef size_t n = len(joined)
    cdef int good
    with nogil:
        good = verify_joined(start, n, key)
    return good == 1


def is_valid_point(bytes public not None):
    """See signature.pyi."""
    if len(public) != 32:
        raise ValueError(f"an Ed25519 public key has 32 bytes, not {len(public)}")
    cdef const unsigned char* key = <const unsigned char*> PyBytes_AS_STRING(public)
    cdef int good
    with nogil:
        good = is_point(key)
    return good == 1


def self_test():
    """See signature.pyi."""
    cdef size_t i
    cdef const edge_signature* case
    for i in range(EDGE_SIGNATURE_COUNT):
        case = &EDGE_SIGNATURES[i]
        if verify_joined(case.joined, case.size, case.public) != case.good:
            _refuse(case.name)
    for i in range(EDGE_POINT_COUNT):
        if is_point(EDGE_POINTS[i].public) != EDGE_POINTS[i].good:
            _refuse(EDGE_POINTS[i].name)
    cdef unsigned char digest[16]
    blake2b16(<const unsigned char*> b"crewgate", 8, digest)
    if digest[:16] != hashlib.blake2b(b"crewgate", digest_size=16).digest():
        _refuse(b"BLAKE2b-128")


cdef int _refuse(const char* name) except -1:
    raise unusable_library(
        "pynacl", f"its libsodium judges {name.decode()!r} differently from what Crewgate relies on"
    )


# The import runs the test, so no caller can forget it before the first verification.
self_test()
