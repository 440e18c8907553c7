"""Bounds the retries of an upstream by a share of its recent calls; see the stub."""

from crewgate import limits

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t

cdef int64_t SLOTS = limits.retry_window_seconds  # one slot for each second


cdef class RetryBudget:
    """See the stub."""

    def __cinit__(self, double share, double floor=limits.retry_floor_per_second):
        self.share = share
        self.floor = floor * SLOTS
        self.calls = <int64_t *>PyMem_Calloc(2 * SLOTS, sizeof(int64_t))
        if self.calls is NULL:
            raise MemoryError
        self.retries = self.calls + SLOTS

    def __dealloc__(self):
        PyMem_Free(self.calls)

    cpdef called(self, double now):
        if now >= self.second + 1:
            self.move(<int64_t>now)
        self.calls[self.second % SLOTS] += 1
        self.calls_sum += 1

    cpdef bint take(self, double now) except -1:
        if now >= self.second + 1:
            self.move(<int64_t>now)
        if self.retries_sum + 1 > self.share * self.calls_sum + self.floor:
            return False
        self.retries[self.second % SLOTS] += 1
        self.retries_sum += 1
        return True

    cdef void move(self, int64_t second) noexcept:
        """Make `second` the present one, and forget the seconds that leave the window."""
        cdef int64_t passed, slot
        for passed in range(self.second + 1, min(second, self.second + SLOTS) + 1):
            slot = passed % SLOTS
            self.calls_sum -= self.calls[slot]
            self.retries_sum -= self.retries[slot]
            self.calls[slot] = self.retries[slot] = 0
        self.second = second
