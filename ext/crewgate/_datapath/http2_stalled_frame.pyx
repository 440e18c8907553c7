"""Detects a server that does not finish an HTTP/2 frame or header block (RFC 9113 §4.1).

A header block is one HEADERS frame and its CONTINUATION frames, and nothing may come between them
(§6.10). So a server that leaves a frame or a block unfinished holds up every stream of the
connection. nghttp2 reports no error: it waits.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memcpy

cdef enum:
    HEAD_BYTES = 9
    HEADERS = 1
    PUSH_PROMISE = 5
    CONTINUATION = 9
    END_HEADERS = 4


cdef class StalledFrameDetector:
    """See the stub."""

    @property
    def is_whole(self):
        return self.has_whole()

    @property
    def is_late(self):
        return self.has_late()

    def feed(self, bytes data not None):
        self.follow(<const uint8_t *>PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data))

    cdef bint has_whole(self) noexcept:
        return not (self.left or self.head_size or self.is_open)

    cdef bint has_late(self) noexcept:
        return (self.was_late and self.has_seen and self.last_seen == self.begun
                and not self.has_whole())

    cdef void follow(self, const uint8_t *data, size_t size) noexcept:
        cdef size_t step
        while size:
            if self.left:
                step = min(self.left, size)
                self.left -= step
            else:
                step = min(<size_t>HEAD_BYTES - self.head_size, size)
                memcpy(self.head + self.head_size, data, step)
                self.head_size += step
                if self.head_size == HEAD_BYTES:
                    self.begin()
            data += step
            size -= step

    def seconds(self, double now):
        if self.has_whole():
            self.has_seen = self.was_late = False
            return 0.0
        self.was_late = self.has_seen and self.last_seen == self.begun
        if not self.was_late:
            self.has_seen, self.last_seen, self.since = True, self.begun, now
        return now - self.since

    cdef void begin(self) noexcept:
        """Begin a frame whose head has arrived."""
        cdef const uint8_t *head = self.head
        self.head_size = 0
        self.left = <size_t>head[0] << 16 | <size_t>head[1] << 8 | head[2]
        self.begun += not self.is_open
        self.stream = (
            <int32_t>(head[5] & 0x7F) << 24 | <int32_t>head[6] << 16 | <int32_t>head[7] << 8
            | head[8])
        if head[3] in (HEADERS, PUSH_PROMISE, CONTINUATION):
            self.is_open = not head[4] & END_HEADERS
