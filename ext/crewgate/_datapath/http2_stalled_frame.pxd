"""The C interface of the detector of unfinished HTTP/2 frames."""

from libc.stdint cimport int32_t, uint8_t, uint64_t


cdef class StalledFrameDetector:
    cdef readonly int32_t stream
    cdef uint64_t begun  # how many frames have begun; a header block counts as one
    cdef uint8_t head[9]  # the part of a frame's head that has arrived
    cdef size_t head_size
    cdef size_t left  # bytes of the frame's payload that are still to arrive
    cdef bint is_open  # the end of a header block is still to arrive
    cdef bint has_seen
    cdef uint64_t last_seen  # the value of `begun` when `seconds` last found a frame unfinished
    cdef double since
    cdef bint was_late

    cdef void follow(self, const uint8_t *data, size_t size) noexcept
    cdef bint has_whole(self) noexcept
    cdef bint has_late(self) noexcept
    cdef void begin(self) noexcept
