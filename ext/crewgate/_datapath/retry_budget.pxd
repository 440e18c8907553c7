"""The C interface of a retry budget."""

from libc.stdint cimport int64_t


cdef class RetryBudget:
    cdef double share, floor
    cdef int64_t second  # the present one of the window
    cdef int64_t *calls  # of each second of the window, by the second modulo its size
    cdef int64_t *retries
    cdef int64_t calls_sum, retries_sum

    cpdef called(self, double now)
    cpdef bint take(self, double now) except -1
    cdef void move(self, int64_t second) noexcept
