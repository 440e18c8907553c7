"""Speaks HTTP/2 as a client through nghttp2 (RFC 9113), without a Python object for each field.

The methods for Python are those of `ngh2.Connection`, with the same events, bytes and exceptions.
It makes no event for frames of the kinds ALTSVC and ORIGIN, which it ignores.
"""

from ngh2 import ConnectionClosingError

from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdlib cimport free

from crewgate._datapath.http2_callbacks cimport borrowed, read_body
from crewgate._datapath.http2_endpoint cimport HTTP2Endpoint
from crewgate._datapath.http2_session cimport Stream
from crewgate._datapath.nghttp2_library cimport *

cdef tuple SETTINGS = (1, 2, 3, 4, 5, 6, 8, 9)  # that nghttp2 knows


cdef class HTTP2ClientEngine(HTTP2Endpoint):
    """See the stub."""

    def __cinit__(self, configuration=None):
        self.open(configuration, True)

    @property
    def can_send_request(self):
        self.require_drivable()
        return self.may_submit()

    @property
    def remote_settings(self):
        return {name: self.remote_setting(name) for name in SETTINGS}

    cdef bint may_submit(self) noexcept:
        return self.is_active and not self.is_terminating and (
            nghttp2.session_check_request_allowed(self.session) != 0)

    cdef uint32_t remote_setting(self, int name) except? 0:
        self.require_active()
        return nghttp2.session_get_remote_settings(self.session, name)

    cdef int32_t submit_request(self, const nghttp2_nv *fields, size_t count, bint ends) except -1:
        cdef nghttp2_data_provider2 body
        self.require_active()
        if not self.may_submit():
            raise ConnectionClosingError("the connection cannot create another request stream")
        body.source.ptr = NULL
        body.read_callback = read_body
        cdef Stream stream = Stream.__new__(Stream)
        cdef int32_t number = nghttp2.submit_request2(
            self.session, NULL, fields, count, NULL if ends else &body, <void *>stream)
        if number < 0:
            self.raise_error(number)
        stream.number = number
        stream.has_body = not ends
        self.streams[number] = stream
        return number

    def send_request(self, headers, *, bint end_stream=False):
        cdef tuple fields = tuple(headers)
        cdef nghttp2_nv *native = borrowed(fields)
        try:
            return self.submit_request(native, <size_t>PyTuple_GET_SIZE(fields), end_stream)
        finally:
            free(native)

    def end_stream(self, int32_t stream_id):
        self.submit_body(stream_id, b"", True)
