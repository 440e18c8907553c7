"""Writes the audit line of a permitted call; the part that many calls share is encoded only once.

core/audit/records and core/audit/json_line define the lines. A template is one of their lines, cut
where calls differ, so the escapes and the order of members are always the same.
"""

from crewgate import limits
from crewgate.core.audit import json_line as lines
from crewgate.core.audit import record_builder, records
from crewgate.core.audit.digest_texts import EXEMPT_CALL
from crewgate.core.reasons import Reason

from crewgate._native.metrics cimport CallBatch, CallSeries

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from crewgate._native.rules cimport CG_CALL_EXEMPT

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object, Py_ssize_t *) except NULL

cdef extern from "audit_format.h" nogil:
    const int TIME_CHARS_MAX, UUID_CHARS, NUMBER_CHARS_MAX
    char *text_put(char *to, const char *text, size_t n) noexcept
    char *text_number(char *to, int64_t number) noexcept
    char *text_time(char *to, int64_t time_ns) noexcept
    char *text_uuid(char *to, const unsigned char *id) noexcept
    char *text_hex(char *to, uint64_t number) noexcept

cdef object Outcome = records.CallOutcome
# Where a line is cut. No text of a line can contain one of these: quotes in a text are escaped, and
# no colon follows the quote that ends it.
cdef bytes TIME = b'"time":"'
cdef bytes REQUEST = b'"request":"'
cdef bytes OUTCOME = b'"outcome":"'
cdef bytes QUOTA = b',"quota_micro":'
cdef bytes DURATION = b',"duration_us":'
cdef bytes EXEMPT = b',"call_digest":"%b"' % EXEMPT_CALL.encode()

cdef char *put(char *to, bytes text) noexcept:
    return text_put(to, PyBytes_AS_STRING(text), <size_t>PyBytes_GET_SIZE(text))


cdef inline int64_t number(object value) except? -1:
    if not isinstance(value, int):  # a float would lose what follows its point
        raise TypeError("what a line counts is an int")
    return value


cdef bytes slug_of(object would):
    if would is None:
        return b""
    if type(would) is not Reason:
        raise TypeError("what would have been is a core.reasons.Reason, or None")
    return would.value.encode("ascii")


cdef Py_ssize_t serial_of(object certificate, const char **text) except -1:
    """Return the size of a serial, 0 for none. Other texts are refused, since they could forge a
    line."""
    cdef Py_ssize_t size = 0, at
    if type(certificate) is not str:
        raise TypeError("a certificate's serial is a text, or empty")
    text[0] = PyUnicode_AsUTF8AndSize(certificate, &size)
    for at in range(size):
        if not (c'0' <= text[0][at] <= c'9' or c'A' <= text[0][at] <= c'F'):
            raise ValueError("a certificate's serial is upper-case hexadecimal")
    return size


cdef Py_ssize_t trace_of(object trace, const char **text) except -1:
    """Return the size of a trace context's text, 0 for none. Texts that could forge a line are
    refused."""
    cdef Py_ssize_t size = 0, at
    if type(trace) is not str:
        raise TypeError("a trace context is a text, or empty")
    text[0] = PyUnicode_AsUTF8AndSize(trace, &size)
    for at in range(size):
        if not (c'0' <= text[0][at] <= c'9' or c'a' <= text[0][at] <= c'f' or text[0][at] == c'-'):
            raise ValueError("a trace context has dashes and lower-case hexadecimal digits")
    return size


cdef const unsigned char *id_of(bytes identifier) except? NULL:
    """Return the 16 bytes of an id; NULL if it is empty."""
    if PyBytes_GET_SIZE(identifier) == 16:
        return <const unsigned char *>PyBytes_AS_STRING(identifier)
    if PyBytes_GET_SIZE(identifier):
        raise ValueError("a request id has 16 bytes, or none")
    return NULL


def request_text(bytes identifier not None):
    """See the stub."""
    cdef char text[64]
    cdef const unsigned char *octets = id_of(identifier)
    return b"" if octets == NULL else text[:text_uuid(text, octets) - text]


cdef class AuditLineTemplate:
    """See the stub."""

    def __cinit__(self, request, grant):
        end = records.CallEnd(Outcome.DONE, 0)
        cdef bytes line = lines.encode(record_builder.permitted(request, grant, end))
        cdef Py_ssize_t time = line.index(TIME) + len(TIME)
        cdef Py_ssize_t named = line.index(REQUEST, time) + len(REQUEST)
        cdef Py_ssize_t outcome = line.rindex(OUTCOME) + len(OUTCOME)
        self.head = line[:time]
        self.middle = line[line.index(b'"', named):outcome]
        self.quota = line[line.rindex(QUOTA):line.rindex(DURATION) + len(DURATION)]

    def end(self, time_ns, bytes identifier not None, outcome, cost_micro, remaining_micro,
            duration_us, status, bytes_in, bytes_out, would=None, certificate="", trace="",
            uint64_t call=0, uint64_t answer=0, int64_t retry_seconds=0, bint failed=False):
        cdef Ending ending
        cdef bytes slug = slug_of(would)
        if type(outcome) is not Outcome:
            raise TypeError("an outcome is one of core.audit.records.CallOutcome")
        ending.outcome = PyUnicode_AsUTF8AndSize(outcome, &ending.outcome_size)
        ending.would = PyBytes_AS_STRING(slug)
        ending.would_size = PyBytes_GET_SIZE(slug)
        ending.certificate_size = serial_of(certificate, &ending.certificate)
        ending.trace_size = trace_of(trace, &ending.trace)
        ending.has_remaining = remaining_micro is not None
        ending.remaining_micro = number(remaining_micro) if ending.has_remaining else 0
        ending.id = id_of(identifier)
        ending.time_ns = number(time_ns)
        ending.cost_micro = number(cost_micro)
        ending.duration_us = number(duration_us)
        ending.status = number(status)
        ending.bytes_in = number(bytes_in)
        ending.bytes_out = number(bytes_out)
        ending.call, ending.answer = call, answer
        ending.retry_seconds, ending.failed = retry_seconds, failed
        return self.written(&ending)

    def count(self, CallBatch calls not None, outcome, int64_t status, Py_ssize_t line_bytes,
              int64_t arrived, int64_t started, int64_t sent, int64_t answered, int64_t ended,
              int64_t reserved, int64_t spent):
        cdef CallTimes times
        times.arrived, times.started, times.sent = arrived, started, sent
        times.answered, times.ended = answered, ended
        return self.count_call(calls, outcome, status, line_bytes, &times, reserved, spent)

    def remember(self, CallSeries series not None, outcome, int64_t status):
        self.series, self.outcome, self.status = series, outcome, status

    cdef bint count_call(self, CallBatch calls, object outcome, int64_t status,
                         Py_ssize_t line_bytes, const CallTimes *times, int64_t reserved,
                         int64_t spent) except -1:
        if self.series is None or outcome is not self.outcome or status != self.status:
            return False
        calls.put(self.series, line_bytes, times.ended - times.arrived,
                  times.answered - times.sent if times.answered else -1,
                  times.started - times.arrived, reserved, spent, 0)
        return True

    cdef bytes written(self, const Ending *ending):
        # The names of members, quotes, commas and digests take less than 320 bytes beside the rest.
        cdef Py_ssize_t room = (
            len(self.head) + TIME_CHARS_MAX + UUID_CHARS + len(self.middle) + ending.outcome_size
            + len(self.quota) + 7 * NUMBER_CHARS_MAX + ending.would_size
            + ending.certificate_size + ending.trace_size + 352)
        # A usual line fits here on the stack, and is copied once, into the result.
        cdef char small[2048]
        cdef bytes large = None
        cdef char *text = small
        if room > <Py_ssize_t>sizeof(small):
            large = PyBytes_FromStringAndSize(NULL, room)
            text = PyBytes_AS_STRING(large)
        cdef char *to = text_time(put(text, self.head), ending.time_ns)
        to = put(to, b'","request":"')
        if ending.id != NULL:
            to = text_uuid(to, ending.id)
        to = text_put(put(to, self.middle), ending.outcome, <size_t>ending.outcome_size)
        to = text_number(put(to, b'","cost_micro":'), ending.cost_micro)
        to = text_number(put(to, self.quota), ending.duration_us)
        if ending.has_remaining:
            to = text_number(put(to, b',"remaining_micro":'), ending.remaining_micro)
        if ending.would_size:
            to = text_put(put(to, b',"would":"'), ending.would, <size_t>ending.would_size)
            to = put(to, b'"')
        # A line leaves out a member that has its default, 0.
        if ending.status:
            to = text_number(put(to, b',"status":'), ending.status)
        if ending.bytes_in:
            to = text_number(put(to, b',"bytes_in":'), ending.bytes_in)
        if ending.bytes_out:
            to = text_number(put(to, b',"bytes_out":'), ending.bytes_out)
        if ending.certificate_size:
            to = text_put(
                put(to, b',"certificate":"'), ending.certificate, <size_t>ending.certificate_size)
            to = put(to, b'"')
        if ending.trace_size:
            to = text_put(put(to, b',"trace":"'), ending.trace, <size_t>ending.trace_size)
            to = put(to, b'"')
        if ending.call > CG_CALL_EXEMPT:
            to = put(text_hex(put(to, b',"call_digest":"'), ending.call), b'"')
        elif ending.call == CG_CALL_EXEMPT:
            to = put(to, EXEMPT)
        if ending.answer:
            to = put(text_hex(put(to, b',"answer_digest":"'), ending.answer), b'"')
        if ending.retry_seconds:
            to = text_number(put(to, b',"retry_seconds":'), ending.retry_seconds)
        if ending.failed:
            to = put(to, b',"failed":true')
        return PyBytes_FromStringAndSize(text, put(to, b"}\n") - text)


cdef tuple key_of(object grant, object tool, object method, object listener, object peer):
    """Return the key of a template. It has the address of the grant, because hashing a grant costs
    as much as a line. The cache keeps the grant, so no other object can get that address."""
    return (<size_t><PyObject *>grant, tool, method, listener, peer)


cdef class AuditLines:
    """See the stub."""

    def __cinit__(self, Py_ssize_t capacity=limits.call_lines_max):
        if capacity < 1:
            raise ValueError("at least one line is kept")
        self.known = {}
        self.capacity = capacity

    def __len__(self):
        return len(self.known)

    cdef AuditLineTemplate find(
            self, object grant, object tool, object method, object listener, object peer):
        found = self.known.get(key_of(grant, tool, method, listener, peer))
        return None if found is None else (<tuple>found)[0]

    def line(self, request, grant):
        tool, method = request.tool, request.method
        listener, peer = request.listener, request.peer
        # The gate gives all calls of a token the same grant object.
        found = self.find(grant, tool, method, listener, peer)
        if found is not None:
            return found
        made = AuditLineTemplate(request, grant)
        if len(self.known) >= self.capacity:
            del self.known[next(iter(self.known))]  # the oldest one
        self.known[key_of(grant, tool, method, listener, peer)] = (made, grant)
        return made
