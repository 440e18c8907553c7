"""Drives the engine of an HTTP/2 connection to a tool's server, for its connection and streams.

The engine is the native one (http2_client_engine). If the native one found no nghttp2, the engine
is that of ngh2. This module knows no calls.
"""

from ngh2 import Configuration, Connection, NGH2Error, Role, Setting

from crewgate import limits

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, uint8_t, uint32_t

from crewgate._datapath.http2_client_engine cimport HTTP2ClientEngine
from crewgate._datapath.pooled_connection cimport PooledConnection
from crewgate._datapath.socket_poller cimport SocketPoller

from crewgate._datapath import http2_engine

cdef object CONFIGURATION = Configuration(
    auto_window_update=False,
    max_inbound_header_list_size=limits.upstream_head_bytes_max,
    max_inbound_header_count=limits.upstream_fields_max + 1,  # one more for :status
)
cdef dict SETTINGS = {
    Setting.ENABLE_PUSH: 0,
    Setting.INITIAL_WINDOW_SIZE: limits.upstream_window_bytes,
    Setting.MAX_HEADER_LIST_SIZE: limits.upstream_head_bytes_max,
    Setting.NO_RFC7540_PRIORITIES: 1,
}
cdef int MAX_CONCURRENT_STREAMS = Setting.MAX_CONCURRENT_STREAMS
cdef Py_ssize_t STREAMS_MAX = limits.upstream_streams_max
cdef Py_ssize_t SEND_BYTES = limits.send_bytes


cdef class HTTP2StreamHost(PooledConnection):
    """See the stub."""

    def __cinit__(self, *_, **__):
        if http2_engine.library is not None:
            self.native = HTTP2ClientEngine(CONFIGURATION)
            self.engine = self.native
        else:
            self.engine = Connection(Role.CLIENT, CONFIGURATION)

    cdef int opened(self, int32_t number, object stream) except -1:
        raise NotImplementedError

    cdef int refused(self, object stream) except -1:
        raise NotImplementedError

    cdef int left(self, int32_t number, object stream, bint unfinished) except -1:
        raise NotImplementedError

    cdef int begin(self, SocketPoller poller) except -1:
        self.poller = poller
        self.engine.initiate_connection(SETTINGS)
        self.engine.set_local_window_size(limits.upstream_window_bytes * STREAMS_MAX)
        return self.wake()

    cdef Py_ssize_t streams_max(self) except -1:
        cdef Py_ssize_t server_max = 0
        if self.native is not None:
            if self.native.may_submit():
                server_max = self.native.remote_setting(MAX_CONCURRENT_STREAMS)
        elif self.engine.can_send_request:
            server_max = self.engine.remote_settings[MAX_CONCURRENT_STREAMS]
        return min(server_max, STREAMS_MAX)

    cdef int receive(self, const char *data, Py_ssize_t size) except -1:
        if self.native is not None:
            return self.native.receive(<const uint8_t *>data, <size_t>size)
        self.engine.receive_data(PyBytes_FromStringAndSize(data, size))
        return 0

    cdef int acknowledge(self, int32_t number, Py_ssize_t count) except -1:
        try:
            if self.native is not None:
                self.native.acknowledge(<size_t>count, number)
            else:
                self.engine.acknowledge_received_data(count, number)
        except (NGH2Error, ValueError):
            return 0  # the connection has ended
        return self.wake()

    cdef int wake(self) except -1:
        return self.poller.write_at_end_native(self)

    cdef int reset_stream(self, int32_t number, uint32_t code) except -1:
        try:
            self.engine.reset_stream(number, code)
        except NGH2Error:
            return 0
        return self.wake()

    cdef bint wants_write(self) except -1:
        return self.native.wants_write() if self.native is not None else self.engine.want_write

    cdef bytes next_output(self):
        cdef const uint8_t *data = NULL
        cdef Py_ssize_t size
        if self.native is None:
            return self.engine.data_to_send(SEND_BYTES)
        size = self.native.next_output(&data)
        return PyBytes_FromStringAndSize(<const char *>data, size) if size else b""
