"""The functions that nghttp2 calls back: they note events in a session, and hand out bodies.

A callback may not call nghttp2 to read or write, so it runs no code of other modules that might. If
a callback fails, the session keeps the exception, and raises it once nghttp2 has returned.
"""

from os import urandom

from ngh2 import (
    DenialOfServiceError,
    GoAwayReceived,
    InformationalResponseReceived,
    InternalError,
    NeverIndexedHeader,
    PingAcknowledged,
    PingReceived,
    PriorityUpdateReceived,
    PushedStreamReceived,
    SettingsAcknowledged,
    SettingsReceived,
    StreamReset,
    TrailersReceived,
)

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_CheckExact
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from crewgate._datapath.http2_message cimport new_message
from crewgate._datapath.http2_session cimport *
from crewgate._datapath.nghttp2_library cimport *

cdef object NEVER_INDEXED = NeverIndexedHeader
cdef size_t FIELD_OVERHEAD = 32  # of a field in the size of a list of fields (RFC 9113, 6.5.2)


cdef nghttp2_session_callbacks *new_callbacks() except NULL:
    cdef nghttp2_session_callbacks *made = NULL
    if nghttp2.session_callbacks_new(&made) < 0:
        raise MemoryError("no memory for the callbacks of nghttp2")
    nghttp2.session_callbacks_set_send_callback2(made, collect_output)
    nghttp2.session_callbacks_set_on_begin_headers_callback(made, begin_head)
    nghttp2.session_callbacks_set_on_header_callback(made, add_field)
    nghttp2.session_callbacks_set_on_invalid_header_callback(made, refuse_field)
    nghttp2.session_callbacks_set_on_data_chunk_recv_callback(made, add_data)
    nghttp2.session_callbacks_set_on_frame_recv_callback(made, frame_received)
    nghttp2.session_callbacks_set_on_stream_close_callback(made, stream_closed)
    nghttp2.session_callbacks_set_on_frame_not_send_callback(made, frame_not_sent)
    nghttp2.session_callbacks_set_on_frame_send_callback(made, frame_sent)
    nghttp2.session_callbacks_set_rand_callback(made, random_bytes)
    return made


cdef int failed(HTTP2Session session, object error) noexcept:
    """Keep an exception until nghttp2 has returned."""
    session.callback_error = error
    return NGHTTP2_ERR_CALLBACK_FAILURE


cdef void random_bytes(uint8_t *destination, size_t size) noexcept:
    """Seed the map of streams, so that no client can choose numbers that collide."""
    memset(destination, 0, size)
    try:
        seed = urandom(size)
        memcpy(destination, PyBytes_AS_STRING(seed), size)
    except Exception:
        pass  # nghttp2 takes no failure; without this callback it would have a fixed seed


# Input from the peer.

cdef int begin_head(nghttp2_session *_, const nghttp2_frame *frame, void *user_data) noexcept:
    cdef HTTP2Session session = <HTTP2Session>user_data
    cdef Stream stream
    cdef int32_t number = frame.hd.stream_id
    try:
        session.head = new_message(number)
        session.head_size = 0
        if frame.hd.type == NGHTTP2_HEADERS and (
                frame.headers.cat in (NGHTTP2_HCAT_REQUEST, NGHTTP2_HCAT_PUSH_RESPONSE)):
            stream = Stream.__new__(Stream)
            stream.number = number
            session.streams[number] = stream
            nghttp2.session_set_stream_user_data(session.session, number, <void *>stream)
        return 0
    except BaseException as error:
        return failed(session, error)


cdef int add_field(
    nghttp2_session *_, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
    const uint8_t *value, size_t value_size, uint8_t flags, void *user_data,
) noexcept:
    cdef HTTP2Session session = <HTTP2Session>user_data
    try:
        session.head_size += name_size + value_size + FIELD_OVERHEAD
        if session.head_size > session.head_size_max:
            raise DenialOfServiceError("received header list exceeds configured size")
        if session.head.block.field_count >= session.head_fields_max:
            raise DenialOfServiceError("received header list exceeds configured count")
        session.head.add(
            name, name_size, value, value_size, (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0)
        return 0
    except BaseException as error:
        return failed(session, error)


cdef int refuse_field(
    nghttp2_session *_, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
    const uint8_t *value, size_t value_size, uint8_t flags, void *user_data,
) noexcept:
    """Reset the stream: nghttp2 would drop the field, and serve the rest."""
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE


cdef int add_data(
    nghttp2_session *_, uint8_t flags, int32_t number, const uint8_t *data, size_t size,
    void *user_data,
) noexcept:
    """Collect the pieces of a DATA frame."""
    cdef HTTP2Session session = <HTTP2Session>user_data
    cdef Stream stream
    cdef Py_ssize_t before
    try:
        stream = session.stream_of(number)
        if stream is None:
            return 0
        if stream.received is None:
            stream.received = PyBytes_FromStringAndSize(<const char *>data, <Py_ssize_t>size)
            return 0
        if PyBytes_CheckExact(stream.received):
            stream.received = bytearray(stream.received)
        before = PyByteArray_GET_SIZE(stream.received)
        PyByteArray_Resize(stream.received, before + <Py_ssize_t>size)
        memcpy(PyByteArray_AS_STRING(stream.received) + before, data, size)
        return 0
    except BaseException as error:
        return failed(session, error)


cdef int frame_received(nghttp2_session *_, const nghttp2_frame *frame, void *user_data) noexcept:
    cdef HTTP2Session session = <HTTP2Session>user_data
    cdef int32_t number = frame.hd.stream_id
    cdef bint ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0
    try:
        if frame.hd.type == NGHTTP2_HEADERS:
            head_received(session, frame, ends)
        elif frame.hd.type == NGHTTP2_DATA:
            data_received(session, number, ends)
        elif frame.hd.type == NGHTTP2_WINDOW_UPDATE:
            session.put(
                EVENT_WINDOW, False, number,
                <uint32_t>frame.window_update.window_size_increment, None)
        elif frame.hd.type == NGHTTP2_PUSH_PROMISE:
            session.put(EVENT_OTHER, False, number, 0, PushedStreamReceived(
                number, frame.push_promise.promised_stream_id, session.head.python_fields()))
            session.head = None
        elif frame.hd.type == NGHTTP2_GOAWAY:
            note_goaway(session, frame)
            session.put(EVENT_OTHER, False, 0, 0, GoAwayReceived(
                frame.goaway.last_stream_id, frame.goaway.error_code, session.close_text))
        elif (made := other_event(frame)) is not None:
            session.put(EVENT_OTHER, False, number, 0, made)
        return 0
    except BaseException as error:
        return failed(session, error)


cdef int head_received(HTTP2Session session, const nghttp2_frame *frame, bint ends) except -1:
    cdef HTTP2Message head = session.head
    cdef int32_t number = frame.hd.stream_id
    session.head = None
    head.ends = ends
    head.find_pseudo_fields()
    if frame.headers.cat == NGHTTP2_HCAT_REQUEST:
        return session.put(EVENT_REQUEST, ends, number, 0, head)
    if head.status == NULL:
        made = TrailersReceived(number, head.python_fields())
    elif head.status.value[0] == c"1":
        made = InformationalResponseReceived(number, head.python_fields())
    else:
        return session.put(EVENT_RESPONSE, ends, number, 0, head)
    return session.put(EVENT_OTHER, False, number, 0, made)


cdef int data_received(HTTP2Session session, int32_t number, bint ends) except -1:
    cdef Stream stream = session.stream_of(number)
    cdef object data = None
    if stream is not None and stream.received is not None:
        data, stream.received = bytes(stream.received), None
        if not session.auto_window_update:
            stream.unacknowledged += <size_t>len(data)
    return session.put(EVENT_DATA, ends, number, 0, data)


cdef object other_event(const nghttp2_frame *frame):
    """Return ngh2's event for a frame that is rare; None for a frame without one."""
    cdef bint is_acknowledgement = (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0
    cdef nghttp2_ext_priority_update *update
    cdef size_t index
    if frame.hd.type == NGHTTP2_SETTINGS:
        if is_acknowledgement:
            return SettingsAcknowledged()
        settings = {}
        for index in range(frame.settings.niv):
            settings[frame.settings.iv[index].settings_id] = frame.settings.iv[index].value
        return SettingsReceived(settings)
    if frame.hd.type == NGHTTP2_RST_STREAM:
        return StreamReset(frame.hd.stream_id, frame.rst_stream.error_code)
    if frame.hd.type == NGHTTP2_PING:
        data = PyBytes_FromStringAndSize(<const char *>frame.ping.opaque_data, 8)
        return PingAcknowledged(data) if is_acknowledgement else PingReceived(data)
    if frame.hd.type == NGHTTP2_PRIORITY_UPDATE:
        update = <nghttp2_ext_priority_update *>frame.ext.payload
        return PriorityUpdateReceived(update.stream_id, PyBytes_FromStringAndSize(
            <const char *>update.field_value, <Py_ssize_t>update.field_value_len))
    return None


cdef int note_goaway(HTTP2Session session, const nghttp2_frame *frame) except -1:
    """Remember why the connection ends."""
    session.is_closing = True
    session.close_code = frame.goaway.error_code
    session.close_text = PyBytes_FromStringAndSize(
        <const char *>frame.goaway.opaque_data, <Py_ssize_t>frame.goaway.opaque_data_len)
    return 0


cdef int stream_closed(
    nghttp2_session *_, int32_t number, uint32_t code, void *user_data,
) noexcept:
    cdef HTTP2Session session = <HTTP2Session>user_data
    cdef Stream stream
    try:
        stream = session.stream_of(number)
        if stream is not None:
            # Some versions of nghttp2 keep closed streams for a while.
            nghttp2.session_set_stream_user_data(session.session, number, NULL)
            stream.is_closed = True
            stream.chunk = None
            stream.chunks = stream.trailers = stream.received = None
            stream.queued_size = 0
        session.put(EVENT_CLOSED, False, number, code, stream)
        return 0
    except BaseException as error:
        return failed(session, error)


# Output to the peer.

cdef Py_ssize_t collect_output(
    nghttp2_session *_, const uint8_t *data, size_t size, int flags, void *user_data,
) noexcept:
    cdef size_t taken = min(size, output.limit - output.size)
    if taken == 0:
        return NGHTTP2_ERR_WOULDBLOCK
    memcpy(output.bytes + output.size, data, taken)
    output.size += taken
    return <Py_ssize_t>taken


cdef Py_ssize_t read_body(
    nghttp2_session *_, int32_t number, uint8_t *buffer, size_t size, uint32_t *flags,
    nghttp2_data_source *source, void *user_data,
) noexcept:
    cdef HTTP2Session session = <HTTP2Session>user_data
    cdef Stream stream
    cdef size_t copied
    try:
        stream = session.stream_of(number)
        if stream is None or not stream.has_body:
            raise InternalError("a stream has no body to send")
        copied = copy_body(stream, buffer, size)
        if stream.is_ended and stream.chunk is None:
            flags[0] |= NGHTTP2_DATA_FLAG_EOF
            if stream.trailers is not None:
                submit_trailers(session, stream)
                flags[0] |= NGHTTP2_DATA_FLAG_NO_END_STREAM
        elif copied == 0:
            stream.is_deferred = True
            return NGHTTP2_ERR_DEFERRED
        return <Py_ssize_t>copied
    except BaseException as error:
        return failed(session, error)


cdef size_t copy_body(Stream stream, uint8_t *buffer, size_t size) except? 0:
    """Take at most `size` bytes from the pieces that wait; return how many."""
    cdef size_t copied = 0, taken, chunk_size
    while stream.chunk is not None and copied < size:
        chunk_size = <size_t>PyBytes_GET_SIZE(stream.chunk)
        taken = min(chunk_size - stream.offset, size - copied)
        memcpy(buffer + copied, PyBytes_AS_STRING(stream.chunk) + stream.offset, taken)
        copied += taken
        stream.offset += taken
        stream.queued_size -= taken
        if stream.offset == chunk_size:
            stream.chunk = stream.chunks.popleft() if stream.chunks else None
            stream.offset = 0
    return copied


cdef int submit_trailers(HTTP2Session session, Stream stream) except -1:
    cdef tuple fields = stream.trailers
    cdef nghttp2_nv *native = borrowed(fields)
    cdef int code
    try:
        code = nghttp2.submit_trailer(
            session.session, stream.number, native, <size_t>PyTuple_GET_SIZE(fields))
    finally:
        free(native)
    if code < 0:
        raise error_of(code)
    stream.trailers = None
    return 0


cdef int frame_sent(nghttp2_session *_, const nghttp2_frame *frame, void *user_data) noexcept:
    cdef HTTP2Session session = <HTTP2Session>user_data
    if frame.hd.type != NGHTTP2_GOAWAY:
        return 0
    try:
        return note_goaway(session, frame)
    except BaseException as error:
        return failed(session, error)


cdef int frame_not_sent(
    nghttp2_session *_, const nghttp2_frame *frame, int code, void *user_data,
) noexcept:
    """Reset a stream whose head cannot be sent, and keep the reason for the event of its end."""
    cdef HTTP2Session session = <HTTP2Session>user_data
    cdef int32_t number = frame.hd.stream_id
    cdef Stream stream
    cdef int result
    if frame.hd.type != NGHTTP2_HEADERS or code in (
            NGHTTP2_ERR_STREAM_CLOSED, NGHTTP2_ERR_STREAM_CLOSING, NGHTTP2_ERR_STREAM_SHUT_WR,
            NGHTTP2_ERR_SESSION_CLOSING):
        return 0
    try:
        stream = session.stream_of(number)
        if stream is not None:
            stream.error = frame_error_of(code)
        if frame.headers.cat == NGHTTP2_HCAT_REQUEST:
            return 0  # nghttp2 closes the stream
        result = nghttp2.submit_rst_stream(
            session.session, NGHTTP2_FLAG_NONE, number, NGHTTP2_INTERNAL_ERROR)
        if result < 0 and result not in (
                NGHTTP2_ERR_STREAM_CLOSED, NGHTTP2_ERR_STREAM_CLOSING,
                NGHTTP2_ERR_SESSION_CLOSING):
            raise error_of(result)
        return 0
    except BaseException as error:
        return failed(session, error)


cdef nghttp2_nv *borrowed(tuple fields) except NULL:
    cdef Py_ssize_t count = PyTuple_GET_SIZE(fields), index
    # One field more, so that no field at all is no NULL.
    cdef nghttp2_nv *native = <nghttp2_nv *>malloc((<size_t>count + 1) * sizeof(nghttp2_nv))
    if native == NULL:
        raise MemoryError("no memory for fields")
    for index in range(count):
        pair = fields[index]
        if not PyTuple_Check(pair) or PyTuple_GET_SIZE(pair) != 2 or not (
                PyBytes_Check((<tuple>pair)[0]) and PyBytes_Check((<tuple>pair)[1])):
            free(native)
            raise TypeError("each header must be a pair of bytes")
        name, value = <bytes>(<tuple>pair)[0], <bytes>(<tuple>pair)[1]
        native[index].name = <uint8_t *>PyBytes_AS_STRING(name)
        native[index].value = <uint8_t *>PyBytes_AS_STRING(value)
        native[index].namelen = <size_t>PyBytes_GET_SIZE(name)
        native[index].valuelen = <size_t>PyBytes_GET_SIZE(value)
        native[index].flags = (
            NGHTTP2_NV_FLAG_NO_INDEX if type(pair) is NEVER_INDEXED else NGHTTP2_NV_FLAG_NONE)
    return native
