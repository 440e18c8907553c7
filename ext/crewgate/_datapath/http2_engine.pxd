"""The C interface of `http2_engine`: nghttp2 for one client connection (server role)."""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from crewgate._datapath.http2_session cimport HTTP2Session, Stream
from crewgate._datapath.in_flight cimport InFlightCall
from crewgate._datapath.nghttp2_library cimport nghttp2_nv


cdef class HTTP2Engine(HTTP2Session):
    # All raise what ngh2 raises, such as ngh2.StreamUnavailableError for a stream that is closed.
    cdef int submit_head(
        self, int32_t stream, const nghttp2_nv *fields, size_t count, bint ends) except -1
    cdef int submit_body(self, int32_t stream, bytes data, bint ends) except -1
    cdef int reset(self, int32_t stream, uint32_t code) except -1
    # Have `owner` hear of the stream's end instead of the Python side. Return False, and change
    # nothing, if the stream is closed.
    cdef bint own(self, int32_t stream, InFlightCall owner) except -1
    # Give a stream back to the Python side, which then hears of its end. Return False if the event
    # of its end was taken already.
    cdef bint disown(self, int32_t stream) except -1
    # Tell all owners that the connection has ended, with the code CANCEL.
    cdef int lose_owned(self) except -1

    cdef int resume(self, Stream stream) except -1
    cdef Stream body_of(self, int32_t number)
