"""Splits and decodes a token (a compact JWS) of canonical form, and checks its claims.

It accepts one form only, and does not check signatures and times. `MalformedTokenError` never says
which check failed, since anyone may see it. All work is in C
buffers, and the token's 4 KiB bound it.
"""

import msgspec

from crewgate import limits
from crewgate.core.tokens.claims import decode_claims, refuse_null

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t
from libc.string cimport memcmp

cdef extern from "Python.h":
    bint PyUnicode_Check(object text) noexcept
    bint PyUnicode_IS_COMPACT_ASCII(object text) noexcept
    const unsigned char* PyUnicode_1BYTE_DATA(object text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept
    void PyObject_GC_UnTrack(void* container) noexcept

cdef extern from "token_bounds.h" nogil:
    const int TOKEN_BYTES_MAX, JSON_DEPTH_MAX, JSON_MEMBERS_MAX, CLAIM_CHARS_MAX, BRANCH_DEPTH_MAX

cdef extern from "compact_jws.h" nogil:
    const int SIGNATURE_BYTES
    void base64url_prepare() noexcept
    void claim_prepare() noexcept
    int claim_is_text(const unsigned char*, size_t) noexcept
    int claim_is_pattern(const unsigned char*, size_t) noexcept
    int claim_uuid(const unsigned char*, size_t, unsigned char*) noexcept
    int claim_matches(const unsigned char*, size_t, const unsigned char*, size_t) noexcept
    int claim_reaches(const unsigned char*, size_t, const unsigned char*, size_t) noexcept
    int jws_split(const unsigned char*, size_t, jws_parts*) noexcept
    int json_scan_object(const unsigned char*, size_t) noexcept

cdef int64_t LEEWAY = limits.leeway_seconds

base64url_prepare()
claim_prepare()

if (TOKEN_BYTES_MAX, JSON_DEPTH_MAX, JSON_MEMBERS_MAX, CLAIM_CHARS_MAX, BRANCH_DEPTH_MAX) != (
    limits.token_bytes_max, limits.json_depth_max, limits.json_members_max,
    limits.claim_chars_max, limits.depth_max,
):
    raise ImportError("token_bounds.h and crewgate/limits differ: make them equal and rebuild")


class MalformedTokenError(Exception):
    """See token.pyi."""


cdef int split_parts(const unsigned char* token, size_t n, jws_parts* parts) noexcept nogil:
    return jws_split(token, n, parts)


cdef int uuid_bytes(const unsigned char* text, size_t n, unsigned char* out16) noexcept nogil:
    return claim_uuid(text, n, out16)


cdef int tool_matches(
    const unsigned char* pattern, size_t n, const unsigned char* tool, size_t m
) noexcept nogil:
    return claim_matches(pattern, n, tool, m)


cdef int pattern_reaches(
    const unsigned char* pattern, size_t n, const unsigned char* endpoint, size_t m
) noexcept nogil:
    return claim_reaches(pattern, n, endpoint, m)


cdef const unsigned char* ascii_text(object text, size_t* n) noexcept:
    if not PyUnicode_Check(text) or not PyUnicode_IS_COMPACT_ASCII(text):
        return NULL
    n[0] = <size_t> PyUnicode_GET_LENGTH(text)
    return PyUnicode_1BYTE_DATA(text)


cdef bint _is_text(object value) noexcept:
    cdef size_t n = 0
    cdef const unsigned char* text = ascii_text(value, &n)
    return text != NULL and claim_is_text(text, n)


cdef bint _is_id(object value, unsigned char* out16) noexcept:
    cdef size_t n = 0
    cdef const unsigned char* text = ascii_text(value, &n)
    return text != NULL and claim_uuid(text, n, out16)


cdef bint _are_patterns(list values) noexcept:
    cdef size_t n = 0
    cdef const unsigned char* text
    for value in values:
        text = ascii_text(value, &n)
        if text == NULL or not claim_is_pattern(text, n):
            return False
    return True


cdef bint _is_audience(object audience):
    if isinstance(audience, str):
        return _is_text(audience)
    for value in <list> audience:
        if not _is_text(value):
            return False
    return True


cdef bint _are_older(object claims):
    """Whether no ancestor's grant is newer than this one, for clocks that differ by the leeway."""
    cdef int64_t latest = <int64_t> claims.iat + LEEWAY
    for element in <list> claims.branch_path:
        issued = element.iat
        if issued is not None and <int64_t> issued > latest:
            return False
    return True


cdef bint _are_distinct(object claims, Ids* ids):
    """Fill `ids`; return False if an id is not a UUID, or occurs twice."""
    cdef size_t i, j
    if not _is_id(claims.execution_branch_id, ids.branch):
        return False
    cdef list path = claims.branch_path
    ids.depth = <size_t> len(path)
    for i in range(ids.depth):
        if not _is_id(path[i].id, ids.path[i]) or not memcmp(ids.path[i], ids.branch, 16):
            return False
        for j in range(i):
            if not memcmp(ids.path[i], ids.path[j], 16):
                return False
    return True


cdef bint _names_a_key(object confirmation):
    """Whether `cnf` names a key, or is absent. The decoder has checked how."""
    return confirmation is None or confirmation.jkt is not None or confirmation.x5t is not None


cdef bint _are_actors(object actor, size_t depth) except -1:
    """Whether `act` is absent, or names an actor for the branch and for each of its ancestors."""
    cdef size_t count = 0
    if actor is None:
        return True
    while actor is not None:
        if not _is_text(actor.sub):
            return False
        count += 1
        actor = actor.act
    return count == depth + 1


cdef bint _are_well_formed(object claims, Ids* ids):
    return (
        _is_text(claims.iss)
        and _is_audience(claims.aud)
        and _is_text(claims.sub)
        and _is_text(claims.client_id)
        and _is_text(claims.jti)
        and _is_text(claims.crew)
        and _is_text(claims.process_id)
        and _is_text(claims.agent_role)
        and _are_patterns(claims.allowed_tools)
        and _are_distinct(claims, ids)
        and _are_older(claims)
        and _names_a_key(claims.cnf)
        and _are_actors(claims.act, ids.depth)
        and claims.process_proven is not False
    )


cdef object decode(const unsigned char* payload, size_t n, Ids* ids):
    cdef int nulls = json_scan_object(payload, n)
    if nulls < 0:
        raise MalformedTokenError
    cdef bytes text = PyBytes_FromStringAndSize(<const char*> payload, <Py_ssize_t> n)
    try:
        claims = decode_claims(text)
        if nulls:
            refuse_null(text)
    except msgspec.DecodeError:
        raise MalformedTokenError from None
    if not _are_well_formed(claims, ids):
        raise MalformedTokenError
    # Frozen claims have only texts and structs without references, so no cycle can pass through
    # their two lists. Without this, the collector would visit thousands of cached lists each time.
    PyObject_GC_UnTrack(<void *> claims.allowed_tools)
    PyObject_GC_UnTrack(<void *> claims.branch_path)
    return claims


def split(bytes token not None):
    """See token.pyi."""
    cdef jws_parts parts
    if not jws_split(<const unsigned char*> PyBytes_AS_STRING(token), len(token), &parts):
        raise MalformedTokenError
    return (
        parts.kid[:parts.kid_size].decode("ascii"),
        <bytes> parts.joined[SIGNATURE_BYTES:parts.joined_size],
        <bytes> parts.payload[:parts.payload_size],
        <bytes> parts.joined[:SIGNATURE_BYTES],
    )


def claims(bytes payload not None):
    """See token.pyi."""
    cdef Ids ids
    return decode(<const unsigned char*> PyBytes_AS_STRING(payload), len(payload), &ids)


cdef bint covers_name(tuple patterns, const unsigned char *name, size_t n):
    cdef size_t m = 0
    cdef const unsigned char *text
    for pattern in patterns:
        text = ascii_text(pattern, &m)
        if text != NULL and tool_matches(text, m, name, n):
            return True
    return False
