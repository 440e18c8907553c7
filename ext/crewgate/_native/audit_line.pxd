"""The C interface of audit lines."""

from libc.stdint cimport int64_t, uint64_t

from crewgate._native.metrics cimport CallBatch, CallSeries


# How one call ended; `core.audit.records` explains the values.
cdef struct Ending:
    int64_t time_ns, cost_micro, remaining_micro, duration_us, status, bytes_in, bytes_out
    bint has_remaining
    const unsigned char *id  # 16 bytes, or NULL
    const char *outcome
    const char *would
    const char *certificate
    const char *trace
    uint64_t call, answer  # digests
    int64_t retry_seconds
    bint failed
    Py_ssize_t outcome_size, would_size, certificate_size, trace_size


# When the parts of one call began and ended, in ns of CLOCK_MONOTONIC; `answered` may be 0.
cdef struct CallTimes:
    int64_t arrived, started, sent, answered, ended


# Return the size of a checked text, which lives as long as the object; 0 for an empty one.
cdef Py_ssize_t serial_of(object certificate, const char **text) except -1
cdef Py_ssize_t trace_of(object trace, const char **text) except -1

# Return the text of what a call in observe mode would have been refused for; empty for None.
cdef bytes slug_of(object would)


cdef class AuditLineTemplate:
    cdef bytes head    # up to the time
    cdef bytes middle  # from the request's end to the outcome
    cdef bytes quota   # from the cost's end to the duration
    # What the last counted call adds to: most calls of a template end in the same way.
    cdef CallSeries series
    cdef object outcome
    cdef int64_t status

    cdef bytes written(self, const Ending *ending)
    # False: `remember` the series of calls with this outcome and status first.
    cdef bint count_call(self, CallBatch calls, object outcome, int64_t status,
                         Py_ssize_t line_bytes, const CallTimes *times, int64_t reserved,
                         int64_t spent) except -1


cdef class AuditLines:
    cdef dict known
    cdef Py_ssize_t capacity

    # Return the kept template; None if `line` has to make it.
    cdef AuditLineTemplate find(
        self, object grant, object tool, object method, object listener, object peer)
