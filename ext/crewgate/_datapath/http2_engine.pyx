"""Speaks HTTP/2 as a server through nghttp2 (RFC 9113), without a Python object for each field.

The methods for Python are those of `ngh2.Connection`, with the same events, bytes and exceptions,
so that either of them can serve a connection. Native callers have methods beside: they read a
request from its arena, take over its stream (`own`), and take the events as C structures.
"""

from ngh2 import StreamProtocolError, StreamUnavailableError

from crewgate.errors import DependencyError
from crewgate.runtime.http2_self_test import self_test

from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdlib cimport free

from crewgate._datapath.http2_callbacks cimport borrowed, read_body
from crewgate._datapath.http2_endpoint cimport HTTP2Endpoint, find_callbacks, forget_callbacks
from crewgate._datapath.http2_session cimport Stream
from crewgate._datapath.nghttp2_library cimport *

from crewgate._datapath.http2_client_engine import HTTP2ClientEngine
from crewgate._datapath.nghttp2_library import libraries, load, unload


cdef class HTTP2Engine(HTTP2Endpoint):
    """See the stub."""

    def __cinit__(self, configuration=None):
        self.open(configuration, False)

    def send_shutdown_notice(self):
        self.require_active()
        cdef int code = nghttp2.submit_shutdown_notice(self.session)
        if code < 0:
            self.raise_error(code)

    def send_goaway(self, uint32_t error_code=0):
        self.require_active()
        cdef int32_t last = nghttp2.session_get_last_proc_stream_id(self.session)
        cdef int code = nghttp2.submit_goaway(
            self.session, NGHTTP2_FLAG_NONE, last, error_code, NULL, 0)
        if code < 0:
            self.raise_error(code)

    cdef int submit_head(
        self, int32_t stream, const nghttp2_nv *fields, size_t count, bint ends,
    ) except -1:
        cdef nghttp2_data_provider2 body
        self.require_active()
        cdef Stream found = self.stream_of(stream)
        if found is None:
            raise StreamUnavailableError("stream does not exist")
        if found.has_response:
            raise StreamProtocolError("a response is already pending")
        body.source.ptr = NULL
        body.read_callback = read_body
        cdef int code = nghttp2.submit_response2(
            self.session, stream, fields, count, NULL if ends else &body)
        if code < 0:
            self.raise_error(code)
        found.has_response = True
        found.has_body = not ends
        return 0

    def send_response(self, int32_t stream_id, headers, *, bint end_stream=False):
        cdef tuple fields = tuple(headers)
        cdef nghttp2_nv *native = borrowed(fields)
        try:
            self.submit_head(stream_id, native, <size_t>PyTuple_GET_SIZE(fields), end_stream)
        finally:
            free(native)

    def send_informational_response(self, int32_t stream_id, headers):
        cdef tuple fields = tuple(headers)
        cdef nghttp2_nv *native = borrowed(fields)
        cdef Stream found
        cdef int32_t code
        try:
            self.require_active()
            found = self.stream_of(stream_id)
            if found is None:
                raise StreamUnavailableError("stream does not exist")
            if found.has_response:
                raise StreamProtocolError(
                    "informational responses must precede the final response")
            code = nghttp2.submit_headers(
                self.session, NGHTTP2_FLAG_NONE, stream_id, NULL, native,
                <size_t>PyTuple_GET_SIZE(fields), NULL)
        finally:
            free(native)
        if code < 0:
            self.raise_error(code)


def find_library():
    """See the stub."""
    reasons = []
    for name, path in libraries():
        try:
            load(path)
            find_callbacks()
            self_test(HTTP2Engine, HTTP2ClientEngine)
        except (LookupError, DependencyError) as error:
            forget_callbacks()
            unload()
            reasons.append(f"{name}: {error}")
        else:
            return name, reasons
    return None, reasons


# The import tries the libraries, so each process has done it before its first connection.
library, faults = find_library()
