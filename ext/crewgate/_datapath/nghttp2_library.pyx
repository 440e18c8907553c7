"""Finds the C functions of nghttp2 in a library that is installed already.

ngh2's extension exports the functions of the nghttp2 that it bundles, so the security updates of
nghttp2 come with those of ngh2. The system's library is the second choice. This module looks up
each function by its name, and refuses a library that lacks one. http2_engine tests if the functions
do what Crewgate relies on.
"""

import ngh2
from ngh2 import (
    ConnectionClosingError,
    ConnectionProtocolError,
    DenialOfServiceError,
    InternalError,
    NGH2Error,
    NoAvailableStreamIDError,
    PushDisabledError,
    StreamProtocolError,
    StreamUnavailableError,
)

from libc.string cimport memset
from posix.dlfcn cimport RTLD_LOCAL, RTLD_NOW, dlopen, dlsym

SYSTEM_LIBRARY = "libnghttp2.so.14"


def libraries():
    """See the stub."""
    core = getattr(getattr(ngh2, "_core", None), "__file__", None)
    bundled = [(f"ngh2 {ngh2.__version__}", core)] if core else []
    return [*bundled, (SYSTEM_LIBRARY, SYSTEM_LIBRARY)]


def load(str path not None):
    """See the stub."""
    cdef nghttp2_functions found
    cdef size_t index
    cdef bytes name = path.encode()
    global nghttp2
    # The process has loaded the extension already, and never closes this reference to it.
    cdef void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL)
    if library == NULL:
        raise LookupError(f"{path} is no library of this process or of the system")
    memset(&found, 0, sizeof(found))
    find_option_functions(library, &found)
    find_session_functions(library, &found)
    for index in range(sizeof(found) // sizeof(void *)):
        if (<void **>&found)[index] == NULL:
            raise ImportError("no lookup of a function of nghttp2_functions")
    nghttp2 = found


def unload():
    """See the stub."""
    memset(&nghttp2, 0, sizeof(nghttp2))


cdef int find(void *library, str name, void **function) except -1:
    cdef bytes symbol = b"nghttp2_" + name.encode()
    function[0] = dlsym(library, symbol)
    if function[0] == NULL:
        raise LookupError(f"the library has no function nghttp2_{name}")
    return 0


cdef int find_option_functions(void *library, nghttp2_functions *found) except -1:
    find(library, "session_callbacks_new", <void **>&found.session_callbacks_new)
    find(library, "session_callbacks_set_send_callback2",
         <void **>&found.session_callbacks_set_send_callback2)
    find(library, "session_callbacks_set_on_begin_headers_callback",
         <void **>&found.session_callbacks_set_on_begin_headers_callback)
    find(library, "session_callbacks_set_on_header_callback",
         <void **>&found.session_callbacks_set_on_header_callback)
    find(library, "session_callbacks_set_on_invalid_header_callback",
         <void **>&found.session_callbacks_set_on_invalid_header_callback)
    find(library, "session_callbacks_set_on_data_chunk_recv_callback",
         <void **>&found.session_callbacks_set_on_data_chunk_recv_callback)
    find(library, "session_callbacks_set_on_frame_recv_callback",
         <void **>&found.session_callbacks_set_on_frame_recv_callback)
    find(library, "session_callbacks_set_on_stream_close_callback",
         <void **>&found.session_callbacks_set_on_stream_close_callback)
    find(library, "session_callbacks_set_on_frame_not_send_callback",
         <void **>&found.session_callbacks_set_on_frame_not_send_callback)
    find(library, "session_callbacks_set_on_frame_send_callback",
         <void **>&found.session_callbacks_set_on_frame_send_callback)
    find(library, "session_callbacks_set_rand_callback",
         <void **>&found.session_callbacks_set_rand_callback)
    find(library, "option_new", <void **>&found.option_new)
    find(library, "option_del", <void **>&found.option_del)
    find(library, "option_set_no_auto_window_update",
         <void **>&found.option_set_no_auto_window_update)
    find(library, "option_set_peer_max_concurrent_streams",
         <void **>&found.option_set_peer_max_concurrent_streams)
    find(library, "option_set_max_reserved_remote_streams",
         <void **>&found.option_set_max_reserved_remote_streams)
    find(library, "option_set_max_send_header_block_length",
         <void **>&found.option_set_max_send_header_block_length)
    find(library, "option_set_max_deflate_dynamic_table_size",
         <void **>&found.option_set_max_deflate_dynamic_table_size)
    find(library, "option_set_max_outbound_ack", <void **>&found.option_set_max_outbound_ack)
    find(library, "option_set_max_settings", <void **>&found.option_set_max_settings)
    find(library, "option_set_stream_reset_rate_limit",
         <void **>&found.option_set_stream_reset_rate_limit)
    find(library, "option_set_max_continuations", <void **>&found.option_set_max_continuations)
    find(library, "option_set_glitch_rate_limit", <void **>&found.option_set_glitch_rate_limit)
    find(library, "option_set_builtin_recv_extension_type",
         <void **>&found.option_set_builtin_recv_extension_type)
    return 0


cdef int find_session_functions(void *library, nghttp2_functions *found) except -1:
    find(library, "session_server_new3", <void **>&found.session_server_new3)
    find(library, "session_client_new3", <void **>&found.session_client_new3)
    find(library, "session_del", <void **>&found.session_del)
    find(library, "session_send", <void **>&found.session_send)
    find(library, "session_mem_recv2", <void **>&found.session_mem_recv2)
    find(library, "session_resume_data", <void **>&found.session_resume_data)
    find(library, "session_consume", <void **>&found.session_consume)
    find(library, "session_check_request_allowed",
         <void **>&found.session_check_request_allowed)
    find(library, "session_get_local_window_size",
         <void **>&found.session_get_local_window_size)
    find(library, "session_get_remote_settings", <void **>&found.session_get_remote_settings)
    find(library, "session_want_read", <void **>&found.session_want_read)
    find(library, "session_want_write", <void **>&found.session_want_write)
    find(library, "session_get_last_proc_stream_id",
         <void **>&found.session_get_last_proc_stream_id)
    find(library, "session_get_stream_local_close", <void **>&found.session_get_stream_local_close)
    find(library, "session_get_stream_user_data", <void **>&found.session_get_stream_user_data)
    find(library, "session_set_stream_user_data", <void **>&found.session_set_stream_user_data)
    find(library, "session_set_local_window_size", <void **>&found.session_set_local_window_size)
    find(library, "session_terminate_session", <void **>&found.session_terminate_session)
    find(library, "submit_settings", <void **>&found.submit_settings)
    find(library, "submit_request2", <void **>&found.submit_request2)
    find(library, "submit_response2", <void **>&found.submit_response2)
    find(library, "submit_headers", <void **>&found.submit_headers)
    find(library, "submit_trailer", <void **>&found.submit_trailer)
    find(library, "submit_rst_stream", <void **>&found.submit_rst_stream)
    find(library, "submit_goaway", <void **>&found.submit_goaway)
    find(library, "submit_shutdown_notice", <void **>&found.submit_shutdown_notice)
    find(library, "strerror", <void **>&found.strerror)
    find(library, "is_fatal", <void **>&found.is_fatal)
    return 0


cdef object error_of(int code):
    cdef str text = f"HTTP/2 engine error: {nghttp2.strerror(code).decode('ascii')}"
    if code == NGHTTP2_ERR_NOMEM:
        return MemoryError("HTTP/2 engine ran out of memory")
    if code == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE:
        return NoAvailableStreamIDError(text)
    if code in (NGHTTP2_ERR_INVALID_STREAM_ID, NGHTTP2_ERR_STREAM_CLOSED,
                NGHTTP2_ERR_STREAM_CLOSING, NGHTTP2_ERR_STREAM_SHUT_WR):
        return StreamUnavailableError(text)
    if code == NGHTTP2_ERR_PUSH_DISABLED:
        return PushDisabledError(text)
    if code in (NGHTTP2_ERR_START_STREAM_NOT_ALLOWED, NGHTTP2_ERR_SESSION_CLOSING):
        return ConnectionClosingError(text)
    if code == NGHTTP2_ERR_DATA_EXIST:
        return StreamProtocolError(text)
    if code == NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        return ConnectionProtocolError(text)
    if code in (NGHTTP2_ERR_FLOODED, NGHTTP2_ERR_TOO_MANY_CONTINUATIONS):
        return DenialOfServiceError(text)
    if code in (NGHTTP2_ERR_INVALID_ARGUMENT, NGHTTP2_ERR_TOO_MANY_SETTINGS):
        return ValueError(text)
    return InternalError(text)


cdef object frame_error_of(int code):
    if code == NGHTTP2_ERR_FRAME_SIZE_ERROR:
        return StreamProtocolError("outbound header block exceeds max_send_header_block_length")
    error = error_of(code)
    if code in (NGHTTP2_ERR_PROTO, NGHTTP2_ERR_INVALID_STREAM_STATE):
        return StreamProtocolError(str(error))
    return error if isinstance(error, NGH2Error) else InternalError(str(error))
