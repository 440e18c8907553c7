"""Carries what one endpoint of HTTP/2 sends, whether it is a client or a server, through nghttp2.

The methods for Python are those of `ngh2.Connection` that both have, with the same events, bytes
and exceptions. This module opens no stream: its subclasses do, one as a server (http2_engine), and
one as a client (http2_client_engine).
"""

import logging
from collections import deque

import ngh2
from ngh2 import ConnectionStateError, InternalError, StreamProtocolError

from cpython.bytes cimport PyBytes_Check, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc

from crewgate._datapath.http2_callbacks cimport borrowed, new_callbacks
from crewgate._datapath.http2_session cimport (
    HTTP2Session, Stream, session_calloc, session_free, session_malloc, session_realloc,
)
from crewgate._datapath.in_flight cimport InFlightCall
from crewgate._datapath.nghttp2_library cimport *

cdef nghttp2_session_callbacks *callbacks = NULL
cdef uint32_t CANCEL = 8  # RFC 9113, section 7
cdef object log = logging.getLogger("crewgate.server.http2")


cdef int find_callbacks() except -1:
    global callbacks
    callbacks = new_callbacks()
    return 0


cdef void forget_callbacks() noexcept:
    global callbacks
    callbacks = NULL


cdef class HTTP2Endpoint(HTTP2Session):
    """See the stub."""

    cdef int open(self, object configuration, bint is_client) except -1:
        """Make the session, in `__cinit__` of a subclass."""
        cdef int code
        if callbacks == NULL:
            raise InternalError("no library has the functions of nghttp2 that Crewgate needs")
        configuration = ngh2.Configuration() if configuration is None else configuration
        self.auto_window_update = configuration.auto_window_update
        self.settings_max = configuration.max_settings
        self.head_size_max = configuration.max_inbound_header_list_size
        self.head_fields_max = configuration.max_inbound_header_count
        cdef nghttp2_mem memory  # nghttp2 copies it
        memory.mem_user_data = <void *>&self.memory
        memory.malloc, memory.free = session_malloc, session_free
        memory.calloc, memory.realloc = session_calloc, session_realloc
        cdef nghttp2_option *option = options_of(configuration)
        self.is_client = is_client
        if is_client:
            code = nghttp2.session_client_new3(
                &self.session, callbacks, <void *>self, option, &memory)
        else:
            code = nghttp2.session_server_new3(
                &self.session, callbacks, <void *>self, option, &memory)
        nghttp2.option_del(option)
        self.memory.is_made = True
        if code < 0:
            raise error_of(code)
        return 0

    # The connection.

    def initiate_connection(self, settings=None):
        cdef dict chosen = dict(settings or {})
        cdef size_t count = <size_t>len(chosen), index
        if self.is_failed or self.session == NULL:
            raise ConnectionStateError("Connection is no longer usable")
        if self.is_active:
            raise ConnectionStateError("Connection is already initiated")
        if count > self.settings_max:
            raise ValueError("settings exceed the configured entry limit")
        cdef nghttp2_settings_entry *entries = <nghttp2_settings_entry *>malloc(
            (count + 1) * sizeof(nghttp2_settings_entry))
        if entries == NULL:
            raise MemoryError("no memory for settings")
        cdef int code
        try:
            for index, (name, value) in enumerate(chosen.items()):
                entries[index].settings_id, entries[index].value = name, value
            code = nghttp2.submit_settings(self.session, NGHTTP2_FLAG_NONE, entries, count)
        finally:
            free(entries)
        if code < 0:
            self.raise_error(code)
        self.is_active = True

    @property
    def want_read(self):
        self.require_drivable()
        return nghttp2.session_want_read(self.session) != 0

    @property
    def want_write(self):
        self.require_drivable()
        return nghttp2.session_want_write(self.session) != 0

    @property
    def local_window_size(self):
        self.require_active()
        return nghttp2.session_get_local_window_size(self.session)

    def set_local_window_size(self, int32_t window_size):
        self.require_active()
        cdef int code = nghttp2.session_set_local_window_size(
            self.session, NGHTTP2_FLAG_NONE, 0, window_size)
        if code < 0:
            self.raise_error(code)

    def acknowledge_received_data(self, size_t amount, int32_t stream_id):
        self.acknowledge(amount, stream_id)

    cdef int acknowledge(self, size_t amount, int32_t stream_id) except -1:
        self.require_active()
        if self.auto_window_update:
            raise ConnectionStateError("manual acknowledgement requires auto_window_update=False")
        if amount == 0:
            return 0
        cdef Stream stream = self.streams.get(stream_id)
        cdef size_t left = self.unacknowledged.get(stream_id, 0) if stream is None else (
            stream.unacknowledged)
        if amount > left:
            raise ValueError("amount exceeds unacknowledged data")
        cdef int code = nghttp2.session_consume(self.session, stream_id, amount)
        if code < 0:
            self.raise_error(code)
        if stream is not None:
            stream.unacknowledged = left - amount
        elif left > amount:
            self.unacknowledged[stream_id] = left - amount
        else:
            del self.unacknowledged[stream_id]
        return 0

    def terminate_connection(self, uint32_t error_code=0):
        self.require_active()
        cdef int code = nghttp2.session_terminate_session(self.session, error_code)
        if code < 0:
            self.raise_error(code)
        self.is_terminating = self.is_closing = True
        self.discard_pending()

    # Output to the peer.

    cdef Stream body_of(self, int32_t number):
        """Return a stream whose body may go on."""
        self.require_active()
        cdef Stream found = self.stream_of(number)
        if found is None or not found.has_body:
            raise StreamProtocolError("stream has no open body")
        if found.is_ended:
            raise StreamProtocolError("stream body is already ended")
        return found

    cdef int submit_body(self, int32_t stream, bytes data, bint ends) except -1:
        cdef Stream found = self.body_of(stream)
        if not (data or ends):
            return 0
        self.resume(found)
        found.is_ended = ends
        return self.append_body(found, data) if data else 0

    cdef int append_body(self, Stream stream, bytes data) except -1:
        if stream.chunk is None:
            stream.chunk = data
        else:
            if stream.chunks is None:
                stream.chunks = deque()
            stream.chunks.append(data)
        stream.queued_size += <size_t>PyBytes_GET_SIZE(data)
        return 0

    def send_data(self, int32_t stream_id, data, *, bint end_stream=False):
        self.submit_body(stream_id, data if PyBytes_Check(data) else bytes(data), end_stream)

    def send_trailers(self, int32_t stream_id, headers):
        cdef tuple fields = tuple(headers)
        free(borrowed(fields))  # checks the fields
        cdef Stream found = self.body_of(stream_id)
        found.trailers = fields
        found.is_ended = True
        self.resume(found)

    cdef int resume(self, Stream stream) except -1:
        """Have nghttp2 go on with a body that waited for more."""
        if not stream.is_deferred:
            return 0
        cdef int code = nghttp2.session_resume_data(self.session, stream.number)
        if code < 0:
            self.raise_error(code)
        stream.is_deferred = False
        return 0

    def queued_body_size(self, int32_t stream_id):
        cdef Stream found = None if self.session == NULL else self.stream_of(stream_id)
        return 0 if found is None else found.queued_size

    cdef int reset(self, int32_t stream, uint32_t code) except -1:
        self.require_active()
        cdef int result = nghttp2.submit_rst_stream(
            self.session, NGHTTP2_FLAG_NONE, stream, code)
        if result < 0:
            self.raise_error(result)
        return 0

    def reset_stream(self, int32_t stream_id, uint32_t error_code=CANCEL):
        self.reset(stream_id, error_code)

    # Streams that native callers answer.

    cdef bint own(self, int32_t stream, InFlightCall owner) except -1:
        cdef Stream found = self.streams.get(stream)
        if found is None or found.is_closed or self.session == NULL:
            return False
        if found.owner is None:
            self.owned_count += 1
        found.owner = owner
        return True

    cdef bint disown(self, int32_t stream) except -1:
        cdef Stream found = self.streams.get(stream)
        if found is None:
            return False
        if found.owner is not None:
            found.owner = None
            self.owned_count -= 1
        return True

    cdef int lose_owned(self) except -1:
        cdef InFlightCall owner
        if self.owned_count == 0:
            return 0
        for stream in list(self.streams.values()):
            owner = (<Stream>stream).owner
            if owner is not None:
                self.disown((<Stream>stream).number)
                try:
                    owner.stream_closed((<Stream>stream).number, CANCEL)
                except Exception:  # so that it keeps no other call from its end
                    log.exception("cannot end a call whose client has left: internal error")
        return 0


cdef nghttp2_option *options_of(object configuration) except NULL:
    cdef nghttp2_option *option = NULL
    cdef uint64_t resets_burst, resets_rate, glitches_burst, glitches_rate
    resets_burst, resets_rate = configuration.stream_reset_rate_limit
    glitches_burst, glitches_rate = configuration.glitch_rate_limit
    cdef size_t block = configuration.max_send_header_block_length
    cdef size_t table = configuration.max_deflate_dynamic_table_size
    cdef size_t acknowledgements = configuration.max_outbound_ack
    cdef size_t settings = configuration.max_settings
    cdef size_t continuations = configuration.max_continuations
    if nghttp2.option_new(&option) < 0:
        raise MemoryError("no memory for the options of nghttp2")
    nghttp2.option_set_no_auto_window_update(option, not configuration.auto_window_update)
    nghttp2.option_set_max_send_header_block_length(option, block)
    nghttp2.option_set_max_deflate_dynamic_table_size(option, table)
    nghttp2.option_set_max_outbound_ack(option, acknowledgements)
    nghttp2.option_set_max_settings(option, settings)
    nghttp2.option_set_stream_reset_rate_limit(option, resets_burst, resets_rate)
    nghttp2.option_set_max_continuations(option, continuations)
    nghttp2.option_set_glitch_rate_limit(option, glitches_burst, glitches_rate)
    nghttp2.option_set_peer_max_concurrent_streams(
        option, configuration.peer_max_concurrent_streams)
    nghttp2.option_set_max_reserved_remote_streams(
        option, configuration.max_reserved_remote_streams)
    # ngh2 has nghttp2 parse these. A server ignores the first two, and a client makes no event.
    nghttp2.option_set_builtin_recv_extension_type(option, NGHTTP2_ALTSVC)
    nghttp2.option_set_builtin_recv_extension_type(option, NGHTTP2_ORIGIN)
    nghttp2.option_set_builtin_recv_extension_type(option, NGHTTP2_PRIORITY_UPDATE)
    return option
