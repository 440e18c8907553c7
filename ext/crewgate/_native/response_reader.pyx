"""Collects the responses of a tool server from a parser until they are taken; see the stub.

It is compiled because the parser calls it back some ten times per message. It refuses a message
with ambiguous framing, and one over its bounds. The parser reads the body and the fields.
"""

from crewgate import limits
from crewgate.errors import UpstreamError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr

cdef Py_ssize_t FIELDS_MAX = limits.upstream_fields_max
cdef Py_ssize_t HEAD_BYTES_MAX = limits.upstream_head_bytes_max
cdef int INFORMATIONAL_MAX = limits.upstream_informational_max
# The start of a response: the name and major version, the minor version, a blank, a digit.
cdef const char *PROTOCOL = "HTTP/1."
cdef enum:
    PROTOCOL_BYTES = 7
    START_BYTES = 10
cdef bytes CODING = b"transfer-encoding"


cdef inline bytes lower(bytes name):
    """Return a name in lower case; most names are, and stay the same object."""
    cdef const char *text = PyBytes_AS_STRING(name)
    cdef Py_ssize_t at
    for at in range(PyBytes_GET_SIZE(name)):
        if c"A" <= text[at] <= c"Z":
            return name.lower()
    return name


cdef inline bytes unpadded(bytes value):
    """Return the value of a field without the blanks at its end."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef const char *text = PyBytes_AS_STRING(value)
    if size and (text[size - 1] == c" " or text[size - 1] == c"\t"):
        return value.rstrip(b" \t")
    return value


cdef class ResponseReader:
    """See the stub."""

    def __init__(self, make_parser, errors):
        self.make_parser = make_parser
        self.errors = tuple(errors)
        self.parser = make_parser(self)
        self.restart(False)

    def reset(self, *, bint head_only):
        self.restart(head_only)

    cdef int restart(self, bint head_only) except -1:
        """See `reset`."""
        self.status = 0
        self.headers, self.trailers, self.chunks, self.informational = [], [], [], []
        self.codings = []
        self.complete = self.reusable = self.began = self.informed = self.until_end = False
        self.bodyless = self.has_body = self.is_interim = False
        self.head_only = head_only
        self.count = self.start_bytes = 0
        self.unbounded_bytes = 0
        return 0

    def feed(self, bytes data not None):
        self.add(data)

    cdef int add(self, bytes data) except -1:
        """See `feed`."""
        if self.complete:
            self.reusable = False  # bytes after a complete response belong to no request
            return 0
        self.unbounded_bytes += PyBytes_GET_SIZE(data)
        self.began = True
        try:
            if self.status:
                self.parser.feed_data(data)
            else:
                self.feed_head(data)
        except self.errors as error:
            if self.complete:
                self.reusable = False  # bytes after the response, in the same read
                return 0
            raise UpstreamError("the tool's server does not answer in HTTP/1.1") from error
        if self.unbounded_bytes > HEAD_BYTES_MAX and not self.complete:
            raise UpstreamError("the head of the answer, or what follows its body, is too large")
        return 0

    cpdef feed_end(self):
        self.reusable = False
        if self.status and self.until_end:
            self.complete = True
        if not self.complete:
            raise UpstreamError("the tool's server closed the connection in mid-answer")

    def take(self):
        cdef list chunks = self.chunks
        if not chunks:
            return b""
        self.chunks = []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def take_informational(self):
        taken, self.informational, self.informed = self.informational, [], False
        return taken

    # The parser calls the following methods.

    def on_message_begin(self):
        if self.complete:
            raise UpstreamError("an answer without a request")
        self.headers, self.codings = [], []

    def on_header(self, bytes name not None, bytes value not None):
        if self.complete:
            raise UpstreamError("fields where none may be")
        cdef list fields = self.trailers if self.status else self.headers
        name = lower(name)
        if not self.status and name == CODING:
            self.codings.append(value)  # unchanged, since llhttp does not strip every blank
        # llhttp keeps blanks at the end of a value, and HTTP/2 forbids them (RFC 9113 §8.2.1).
        fields.append((name, unpadded(value)))
        if len(fields) > FIELDS_MAX:
            raise UpstreamError("too many fields")

    def on_headers_complete(self):
        cdef int status = self.parser.get_status_code()
        if status == 101 or status < 100:
            raise UpstreamError("no answer that was asked for")
        if status < 200:
            # 100 (Continue) answers an Expect, which the gateway never sends upstream.
            if status != 100 and self.count < INFORMATIONAL_MAX:
                self.informational.append((status, self.headers))
                self.informed = True
                self.count += 1
            self.start_bytes, self.is_interim = 0, False
            return
        self.status = status
        self.reusable = self.parser.should_keep_alive()
        if self.head_only or status == 204 or status == 304:
            self.end_with_head()
        else:
            self.find_end()

    def on_body(self, bytes data not None):
        if self.complete or self.status == 205:
            raise UpstreamError("a body where none may be")
        self.has_body = True
        self.unbounded_bytes = 0
        self.chunks.append(data)

    def on_message_complete(self):
        if self.status and not self.complete:
            self.complete = True
            self.bodyless = not (self.has_body or self.codings)

    cdef feed_head(self, bytes data):
        """Check the start of a response before the parser gets it, since llhttp accepts RTSP, ICE
        and other versions of HTTP too. After an informational head comes another start, so the
        parser gets such a head line by line."""
        cdef const char *text = PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), at = 0, end
        cdef const char *line_end
        while at < size:
            self.check_start(text + at, size - at)
            end = size
            if self.is_interim:
                line_end = <const char *>memchr(text + at, c"\n", size - at)
                if line_end is not NULL:
                    end = line_end - text + 1
            self.parser.feed_data(data if at == 0 and end == size else data[at:end])
            at = end

    cdef check_start(self, const char *text, Py_ssize_t size):
        """Check the first START_BYTES of a response, even if they arrive in several reads."""
        cdef Py_ssize_t at
        cdef char letter
        for at in range(min(size, START_BYTES - self.start_bytes)):
            letter = text[at]
            if self.start_bytes < PROTOCOL_BYTES:
                if letter != PROTOCOL[self.start_bytes]:
                    raise UpstreamError("the tool's server does not answer in HTTP/1.1")
            elif self.start_bytes == PROTOCOL_BYTES:
                if letter != c"0" and letter != c"1":
                    raise UpstreamError("the tool's server does not answer in HTTP/1.1")
            elif self.start_bytes == START_BYTES - 1:
                self.is_interim = letter == c"1"
            self.start_bytes += 1

    cdef end_with_head(self):
        """End a response that has only a head. Some servers send a body all the same, which must
        not answer the next call. A connection that may bring one is not kept (RFC 9110 §8.6)."""
        for name, value in self.headers:
            if name == CODING or (name == b"content-length" and value != b"0"):
                self.reusable = False
        self.complete = self.bodyless = True
        if self.head_only:
            # The parser now waits for a body that never comes, so the next response gets a new one.
            self.parser = self.make_parser(self)

    cdef find_end(self):
        """Find out how the body ends (RFC 9112 §6.3)."""
        self.until_end = not self.codings
        for name, value in self.headers:
            if name == b"content-length":
                self.until_end = False
                if self.status == 205 and value != b"0":  # RFC 9110 §15.3.6
                    raise UpstreamError("a body where none may be")
        if not self.codings:
            return
        # llhttp accepts spaces after the name, but no tab. A coding that it does not undo is
        # refused.
        if len(self.codings) > 1 or self.codings[0].rstrip(b" ").lower() != b"chunked":
            raise UpstreamError("a transfer coding other than chunked")
        if self.parser.get_http_version() != "1.1":
            self.reusable = False  # RFC 9112 §6.1: its framing cannot be trusted
