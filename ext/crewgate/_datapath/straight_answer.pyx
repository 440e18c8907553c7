"""Passes the whole answer to a straight call on to its client, with the fields that may go back.

The client gets the same fields as from `ResponseRelay` and `headers.downstream_headers`.
"""

from crewgate import limits
from crewgate.core import credits
from crewgate.core.rules import finding_text

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp

from crewgate._datapath.http2_protocol cimport HTTP2Protocol
from crewgate._datapath.nghttp2_library cimport (
    NGHTTP2_NV_FLAG_NO_INDEX, NGHTTP2_NV_FLAG_NONE, nghttp2_nv,
)
from crewgate._datapath.straight_routes cimport StraightRoute
from crewgate._datapath.whole_answer cimport WHOLE_FIELDS_MAX, WHOLE_NAMES_BYTES, WholeAnswer
from crewgate._native.call_digester cimport answer_digest
from crewgate._native.fields cimport Filter, message_field
from crewgate._native.permit cimport Permit
from crewgate._native.rules cimport CG_CALL_EXEMPT

cdef extern from "credit_text.h" nogil:
    char *credits_put(char *to, uint64_t micro) noexcept

cdef enum:
    CREDIT_CHARS = 28  # CREDIT_CHARS_MAX
    OWN_FIELDS = 6  # the status, Via, two of credits, the warning and the Date

cdef bytes USED = credits.CREDITS_USED
cdef bytes LEFT = credits.CREDITS_LEFT
cdef bytes WARNING = finding_text.WARNING_FIELD
cdef int64_t RETRY_SECONDS_MAX = limits.rule_retry_seconds_max


cdef inline void add(nghttp2_nv *field, const char *name, size_t name_size, const char *value,
                     size_t value_size) noexcept:
    field.name, field.namelen = <uint8_t *>name, name_size
    field.value, field.valuelen = <uint8_t *>value, value_size
    field.flags = NGHTTP2_NV_FLAG_NONE


cdef bint send_answer(HTTP2Protocol protocol, int32_t stream, StraightRoute route, Permit permit,
                      WholeAnswer answer) except -1:
    cdef char names[WHOLE_NAMES_BYTES]
    cdef message_field fields[WHOLE_FIELDS_MAX]
    cdef const message_field *kept[WHOLE_FIELDS_MAX]
    cdef nghttp2_nv sent[WHOLE_FIELDS_MAX + OWN_FIELDS]
    cdef char status[3]
    cdef char used[CREDIT_CHARS]
    cdef char left[CREDIT_CHARS]
    cdef int code = answer.status_code()
    cdef Filter filter = route.with_length if code != 204 else route.without_length
    cdef Py_ssize_t count = answer.slices(fields, names), at
    cdef size_t total = 1
    cdef bint is_dated = False
    cdef bytes via = route.via, date, warning
    if count >= 0:
        count = filter.select(fields, <size_t>count, NULL, 0, kept)
    if count < 0:
        return False
    cdef int64_t retry_seconds = 0
    if permit.entry.rules:
        retry_seconds = retry_after(kept, count)
        if retry_seconds < 0:  # a date, which Python reads
            return False
    status[0], status[1], status[2] = c"0" + code // 100, c"0" + code // 10 % 10, c"0" + code % 10
    add(&sent[0], b":status", 7, status, 3)
    for at in range(count):
        add(&sent[total], <const char *>kept[at].name, kept[at].name_size,
            <const char *>kept[at].value, kept[at].value_size)
        if kept[at].is_never_indexed:
            sent[total].flags = NGHTTP2_NV_FLAG_NO_INDEX
        is_dated = is_dated or (kept[at].name_size == 4 and memcmp(kept[at].name, b"date", 4) == 0)
        total += 1
    add(&sent[total], b"via", 3, PyBytes_AS_STRING(via), PyBytes_GET_SIZE(via))
    add(&sent[total + 1], PyBytes_AS_STRING(USED), PyBytes_GET_SIZE(USED), used,
        credits_put(used, permit.price_micro) - used)
    add(&sent[total + 2], PyBytes_AS_STRING(LEFT), PyBytes_GET_SIZE(LEFT), left,
        credits_put(left, permit.branch_unspent()) - left)
    total += 3
    if permit.finding is not None:
        warning = finding_text.warning_value(permit.finding)
        add(&sent[total], PyBytes_AS_STRING(WARNING), PyBytes_GET_SIZE(WARNING),
            PyBytes_AS_STRING(warning), PyBytes_GET_SIZE(warning))
        total += 1
    if not is_dated:
        date = protocol.date()
        add(&sent[total], b"date", 4, PyBytes_AS_STRING(date), PyBytes_GET_SIZE(date))
        total += 1
    cdef bytes body = answer.joined_body() if answer.body_bytes() else None
    protocol.engine.submit_head(stream, sent, total, body is None)
    if body is not None:
        protocol.engine.submit_body(stream, body, True)
    protocol.answered_native(stream)
    if permit.entry.rules:
        permit.was_answered(digest_of(permit, body), code, False, <uint64_t>retry_seconds,
                            permit.price_micro)
    return True


cdef uint64_t digest_of(Permit permit, bytes body) noexcept:
    """Return the digest of an answer; 0 if no rule on branches compares it."""
    if body is None or permit.answered.call <= CG_CALL_EXEMPT:
        return 0
    return answer_digest(permit.holder.table.t.header.proof_key,
                         <const unsigned char *>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))


cdef int64_t retry_after(const message_field **fields, Py_ssize_t count) noexcept:
    """Return the seconds of Retry-After; 0 if there is none, -1 if they are not written plainly."""
    cdef const message_field *field
    cdef Py_ssize_t at
    cdef size_t digit
    cdef int64_t seconds = 0
    for at in range(count):
        field = fields[at]
        if field.name_size != 11 or memcmp(field.name, b"retry-after", 11) != 0:
            continue
        if not 1 <= field.value_size <= 5:
            return -1
        for digit in range(field.value_size):
            if not c"0" <= field.value[digit] <= c"9":
                return -1
            seconds = 10 * seconds + field.value[digit] - c"0"
        return min(seconds, RETRY_SECONDS_MAX)
    return 0
