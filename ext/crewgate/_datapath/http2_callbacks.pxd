"""The C interface of `http2_callbacks`."""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from crewgate._datapath.nghttp2_library cimport (
    nghttp2_data_source, nghttp2_nv, nghttp2_session, nghttp2_session_callbacks,
)

# Return the callbacks of all sessions; the caller never frees them. The `user_data` of a session
# is its HTTP2Session.
cdef nghttp2_session_callbacks *new_callbacks() except NULL

# Gives nghttp2 the next piece of an answer's body.
cdef Py_ssize_t read_body(
    nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t size, uint32_t *flags,
    nghttp2_data_source *source, void *user_data,
) noexcept

# Return fields, each a pair of bytes, as nghttp2 takes them. The caller frees the array, and keeps
# `fields` until then: the array points into them.
cdef nghttp2_nv *borrowed(tuple fields) except NULL
