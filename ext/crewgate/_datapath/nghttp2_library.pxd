"""The functions, structures and constants of nghttp2 that the data path uses. They are its public
interface (https://nghttp2.org/documentation/apiref.html), the same for every libnghttp2.so.14.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

ctypedef void nghttp2_session
ctypedef void nghttp2_option
ctypedef void nghttp2_session_callbacks

cdef enum:
    NGHTTP2_ERR_INVALID_ARGUMENT = -501
    NGHTTP2_ERR_WOULDBLOCK = -504
    NGHTTP2_ERR_PROTO = -505
    NGHTTP2_ERR_DEFERRED = -508
    NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE = -509
    NGHTTP2_ERR_STREAM_CLOSED = -510
    NGHTTP2_ERR_STREAM_CLOSING = -511
    NGHTTP2_ERR_STREAM_SHUT_WR = -512
    NGHTTP2_ERR_INVALID_STREAM_ID = -513
    NGHTTP2_ERR_INVALID_STREAM_STATE = -514
    NGHTTP2_ERR_START_STREAM_NOT_ALLOWED = -516
    NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE = -521
    NGHTTP2_ERR_FRAME_SIZE_ERROR = -522
    NGHTTP2_ERR_PUSH_DISABLED = -528
    NGHTTP2_ERR_DATA_EXIST = -529
    NGHTTP2_ERR_SESSION_CLOSING = -530
    NGHTTP2_ERR_TOO_MANY_SETTINGS = -537
    NGHTTP2_ERR_NOMEM = -901
    NGHTTP2_ERR_CALLBACK_FAILURE = -902
    NGHTTP2_ERR_BAD_CLIENT_MAGIC = -903
    NGHTTP2_ERR_FLOODED = -904
    NGHTTP2_ERR_TOO_MANY_CONTINUATIONS = -905

cdef enum:
    NGHTTP2_DATA = 0x00
    NGHTTP2_HEADERS = 0x01
    NGHTTP2_RST_STREAM = 0x03
    NGHTTP2_SETTINGS = 0x04
    NGHTTP2_PUSH_PROMISE = 0x05
    NGHTTP2_PING = 0x06
    NGHTTP2_GOAWAY = 0x07
    NGHTTP2_WINDOW_UPDATE = 0x08
    NGHTTP2_ALTSVC = 0x0a
    NGHTTP2_ORIGIN = 0x0c
    NGHTTP2_PRIORITY_UPDATE = 0x10

cdef enum:
    NGHTTP2_FLAG_NONE = 0
    NGHTTP2_FLAG_END_STREAM = 0x01
    NGHTTP2_FLAG_ACK = 0x01
    NGHTTP2_NV_FLAG_NONE = 0
    NGHTTP2_NV_FLAG_NO_INDEX = 0x01
    NGHTTP2_DATA_FLAG_EOF = 0x01
    NGHTTP2_DATA_FLAG_NO_END_STREAM = 0x02
    NGHTTP2_HCAT_REQUEST = 0
    NGHTTP2_HCAT_PUSH_RESPONSE = 2
    NGHTTP2_INTERNAL_ERROR = 0x02

cdef struct nghttp2_frame_hd:
    size_t length
    int32_t stream_id
    uint8_t type
    uint8_t flags
    uint8_t reserved

cdef struct nghttp2_nv:
    uint8_t *name
    uint8_t *value
    size_t namelen
    size_t valuelen
    uint8_t flags

cdef struct nghttp2_settings_entry:
    int32_t settings_id
    uint32_t value

cdef struct nghttp2_priority_spec:
    int32_t stream_id
    int32_t weight
    uint8_t exclusive

cdef struct nghttp2_headers:
    nghttp2_frame_hd hd
    size_t padlen
    nghttp2_priority_spec pri_spec
    nghttp2_nv *nva
    size_t nvlen
    int cat

cdef struct nghttp2_rst_stream:
    nghttp2_frame_hd hd
    uint32_t error_code

cdef struct nghttp2_settings:
    nghttp2_frame_hd hd
    size_t niv
    nghttp2_settings_entry *iv

cdef struct nghttp2_push_promise:
    nghttp2_frame_hd hd
    size_t padlen
    nghttp2_nv *nva
    size_t nvlen
    int32_t promised_stream_id
    uint8_t reserved

cdef struct nghttp2_ping:
    nghttp2_frame_hd hd
    uint8_t opaque_data[8]

cdef struct nghttp2_goaway:
    nghttp2_frame_hd hd
    int32_t last_stream_id
    uint32_t error_code
    uint8_t *opaque_data
    size_t opaque_data_len
    uint8_t reserved

cdef struct nghttp2_window_update:
    nghttp2_frame_hd hd
    int32_t window_size_increment
    uint8_t reserved

cdef struct nghttp2_extension:
    nghttp2_frame_hd hd
    void *payload

cdef struct nghttp2_ext_priority_update:
    int32_t stream_id
    uint8_t *field_value
    size_t field_value_len

cdef union nghttp2_frame:
    nghttp2_frame_hd hd
    nghttp2_headers headers
    nghttp2_rst_stream rst_stream
    nghttp2_settings settings
    nghttp2_push_promise push_promise
    nghttp2_ping ping
    nghttp2_goaway goaway
    nghttp2_window_update window_update
    nghttp2_extension ext

cdef union nghttp2_data_source:
    int fd
    void *ptr

ctypedef Py_ssize_t (*nghttp2_read_callback)(
    nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t size, uint32_t *flags,
    nghttp2_data_source *source, void *user_data,
) noexcept

cdef struct nghttp2_data_provider2:
    nghttp2_data_source source
    nghttp2_read_callback read_callback

cdef struct nghttp2_mem:
    void *mem_user_data
    void *(*malloc)(size_t size, void *user_data) noexcept
    void (*free)(void *block, void *user_data) noexcept
    void *(*calloc)(size_t count, size_t size, void *user_data) noexcept
    void *(*realloc)(void *block, size_t size, void *user_data) noexcept

ctypedef Py_ssize_t (*nghttp2_send_callback2)(
    nghttp2_session *session, const uint8_t *data, size_t size, int flags, void *user_data,
) noexcept
ctypedef int (*nghttp2_frame_callback)(
    nghttp2_session *session, const nghttp2_frame *frame, void *user_data,
) noexcept
ctypedef int (*nghttp2_frame_not_send_callback)(
    nghttp2_session *session, const nghttp2_frame *frame, int error, void *user_data,
) noexcept
ctypedef int (*nghttp2_header_callback)(
    nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
    const uint8_t *value, size_t value_size, uint8_t flags, void *user_data,
) noexcept
ctypedef int (*nghttp2_data_chunk_callback)(
    nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t size,
    void *user_data,
) noexcept
ctypedef int (*nghttp2_stream_close_callback)(
    nghttp2_session *session, int32_t stream, uint32_t code, void *user_data,
) noexcept
ctypedef void (*nghttp2_rand_callback)(uint8_t *destination, size_t size) noexcept

# One pointer for each function; the name of a member is that of the function without `nghttp2_`.
cdef struct nghttp2_functions:
    int (*session_callbacks_new)(nghttp2_session_callbacks **) noexcept
    void (*session_callbacks_set_send_callback2)(
        nghttp2_session_callbacks *, nghttp2_send_callback2) noexcept
    void (*session_callbacks_set_on_begin_headers_callback)(
        nghttp2_session_callbacks *, nghttp2_frame_callback) noexcept
    void (*session_callbacks_set_on_header_callback)(
        nghttp2_session_callbacks *, nghttp2_header_callback) noexcept
    void (*session_callbacks_set_on_invalid_header_callback)(
        nghttp2_session_callbacks *, nghttp2_header_callback) noexcept
    void (*session_callbacks_set_on_data_chunk_recv_callback)(
        nghttp2_session_callbacks *, nghttp2_data_chunk_callback) noexcept
    void (*session_callbacks_set_on_frame_recv_callback)(
        nghttp2_session_callbacks *, nghttp2_frame_callback) noexcept
    void (*session_callbacks_set_on_stream_close_callback)(
        nghttp2_session_callbacks *, nghttp2_stream_close_callback) noexcept
    void (*session_callbacks_set_on_frame_not_send_callback)(
        nghttp2_session_callbacks *, nghttp2_frame_not_send_callback) noexcept
    void (*session_callbacks_set_on_frame_send_callback)(
        nghttp2_session_callbacks *, nghttp2_frame_callback) noexcept
    void (*session_callbacks_set_rand_callback)(
        nghttp2_session_callbacks *, nghttp2_rand_callback) noexcept
    int (*option_new)(nghttp2_option **) noexcept
    void (*option_del)(nghttp2_option *) noexcept
    void (*option_set_no_auto_window_update)(nghttp2_option *, int) noexcept
    void (*option_set_peer_max_concurrent_streams)(nghttp2_option *, uint32_t) noexcept
    void (*option_set_max_reserved_remote_streams)(nghttp2_option *, uint32_t) noexcept
    void (*option_set_max_send_header_block_length)(nghttp2_option *, size_t) noexcept
    void (*option_set_max_deflate_dynamic_table_size)(nghttp2_option *, size_t) noexcept
    void (*option_set_max_outbound_ack)(nghttp2_option *, size_t) noexcept
    void (*option_set_max_settings)(nghttp2_option *, size_t) noexcept
    void (*option_set_stream_reset_rate_limit)(nghttp2_option *, uint64_t, uint64_t) noexcept
    void (*option_set_max_continuations)(nghttp2_option *, size_t) noexcept
    void (*option_set_glitch_rate_limit)(nghttp2_option *, uint64_t, uint64_t) noexcept
    void (*option_set_builtin_recv_extension_type)(nghttp2_option *, uint8_t) noexcept
    int (*session_server_new3)(
        nghttp2_session **, const nghttp2_session_callbacks *, void *, const nghttp2_option *,
        nghttp2_mem *) noexcept
    int (*session_client_new3)(
        nghttp2_session **, const nghttp2_session_callbacks *, void *, const nghttp2_option *,
        nghttp2_mem *) noexcept
    void (*session_del)(nghttp2_session *) noexcept
    int (*session_send)(nghttp2_session *) noexcept
    Py_ssize_t (*session_mem_recv2)(nghttp2_session *, const uint8_t *, size_t) noexcept
    int (*session_resume_data)(nghttp2_session *, int32_t) noexcept
    int (*session_consume)(nghttp2_session *, int32_t, size_t) noexcept
    int (*session_check_request_allowed)(nghttp2_session *) noexcept
    int32_t (*session_get_local_window_size)(nghttp2_session *) noexcept
    uint32_t (*session_get_remote_settings)(nghttp2_session *, int) noexcept
    int (*session_want_read)(nghttp2_session *) noexcept
    int (*session_want_write)(nghttp2_session *) noexcept
    int32_t (*session_get_last_proc_stream_id)(nghttp2_session *) noexcept
    int (*session_get_stream_local_close)(nghttp2_session *, int32_t) noexcept
    void *(*session_get_stream_user_data)(nghttp2_session *, int32_t) noexcept
    int (*session_set_stream_user_data)(nghttp2_session *, int32_t, void *) noexcept
    int (*session_set_local_window_size)(nghttp2_session *, uint8_t, int32_t, int32_t) noexcept
    int (*session_terminate_session)(nghttp2_session *, uint32_t) noexcept
    int (*submit_settings)(
        nghttp2_session *, uint8_t, const nghttp2_settings_entry *, size_t) noexcept
    int32_t (*submit_request2)(
        nghttp2_session *, const nghttp2_priority_spec *, const nghttp2_nv *, size_t,
        const nghttp2_data_provider2 *, void *) noexcept
    int (*submit_response2)(
        nghttp2_session *, int32_t, const nghttp2_nv *, size_t,
        const nghttp2_data_provider2 *) noexcept
    int32_t (*submit_headers)(
        nghttp2_session *, uint8_t, int32_t, const nghttp2_priority_spec *, const nghttp2_nv *,
        size_t, void *) noexcept
    int (*submit_trailer)(nghttp2_session *, int32_t, const nghttp2_nv *, size_t) noexcept
    int (*submit_rst_stream)(nghttp2_session *, uint8_t, int32_t, uint32_t) noexcept
    int (*submit_goaway)(
        nghttp2_session *, uint8_t, int32_t, uint32_t, const uint8_t *, size_t) noexcept
    int (*submit_shutdown_notice)(nghttp2_session *) noexcept
    const char *(*strerror)(int) noexcept
    int (*is_fatal)(int) noexcept

cdef nghttp2_functions nghttp2

# Return the exception with which ngh2 reports an error code of nghttp2.
cdef object error_of(int code)
# Return the error of a frame that nghttp2 could not send, as StreamClosed.local_error has it.
cdef object frame_error_of(int code)
