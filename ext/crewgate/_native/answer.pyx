"""What a parser says of a tool server's answers, kept until it is taken; see the stub.

Called back by the parser some ten times a message, which is why it is compiled. Refuses what could
be framed in two ways and what is over its bounds; reads no byte of the wire itself.
"""

from crewgate import limits
from crewgate.errors import UpstreamError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

cdef Py_ssize_t FIELDS_MAX = limits.upstream_fields_max
cdef Py_ssize_t HEAD_BYTES_MAX = limits.upstream_head_bytes_max
cdef int INFORMATIONAL_MAX = limits.upstream_informational_max


cdef inline bytes lower(bytes name):
    """A field's name in lower case; most are, and stay the same object."""
    cdef const char *text = PyBytes_AS_STRING(name)
    cdef Py_ssize_t at
    for at in range(PyBytes_GET_SIZE(name)):
        if c"A" <= text[at] <= c"Z":
            return name.lower()
    return name


cdef inline bytes unpadded(bytes value):
    """A field's value without the blanks behind it."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef const char *text = PyBytes_AS_STRING(value)
    if size and (text[size - 1] == c" " or text[size - 1] == c"\t"):
        return value.rstrip(b" \t")
    return value


cdef class AnswerReader:
    """See the stub."""

    cdef readonly int status
    cdef readonly list headers, trailers
    cdef readonly bint complete, reusable, began, informed
    cdef bint head_only, until_end
    cdef object make_parser, parser
    cdef tuple errors
    cdef list chunks, informational
    cdef int count
    cdef Py_ssize_t unbounded_bytes

    def __init__(self, make_parser, errors):
        self.make_parser = make_parser
        self.errors = tuple(errors)
        self.parser = make_parser(self)
        self.reset(head_only=False)

    def reset(self, *, bint head_only):
        self.status = 0
        self.headers, self.trailers, self.chunks, self.informational = [], [], [], []
        self.complete = self.reusable = self.began = self.informed = self.until_end = False
        self.head_only = head_only
        self.count = 0
        self.unbounded_bytes = 0

    def feed(self, bytes data not None):
        self.unbounded_bytes += PyBytes_GET_SIZE(data)
        self.began = True
        try:
            self.parser.feed_data(data)
        except self.errors as error:
            if self.complete:
                self.reusable = False  # bytes after a complete answer: nobody's
                return
            raise UpstreamError("the tool's server does not answer in HTTP/1.1") from error
        if self.unbounded_bytes > HEAD_BYTES_MAX and not self.complete:
            raise UpstreamError("the head of the answer, or what follows its body, is too large")

    def feed_end(self):
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

    # The parser's side.

    def on_message_begin(self):
        if self.complete:
            raise UpstreamError("an answer without a request")
        self.headers = []

    def on_header(self, bytes name not None, bytes value not None):
        cdef list fields = self.trailers if self.status else self.headers
        # llhttp leaves blanks behind a value, and HTTP/2 forbids them (RFC 9113 §8.2.1).
        fields.append((lower(name), unpadded(value)))
        if len(fields) > FIELDS_MAX:
            raise UpstreamError("too many fields")

    def on_headers_complete(self):
        cdef int status = self.parser.get_status_code()
        if status == 101 or status < 100:
            raise UpstreamError("no answer that was asked for")
        if status < 200:
            # 100 (Continue) answers an Expect, which is ours to give and which we do not send.
            if status != 100 and self.count < INFORMATIONAL_MAX:
                self.informational.append((status, self.headers))
                self.informed = True
                self.count += 1
            return
        self.status = status
        self.reusable = self.parser.should_keep_alive()
        if self.head_only:
            self.end_head_only()
        else:
            self.find_end()

    def on_body(self, bytes data not None):
        if self.complete:
            raise UpstreamError("a body where none may be")
        self.unbounded_bytes = 0
        self.chunks.append(data)

    def on_message_complete(self):
        if self.status:
            self.complete = True

    # Inside.

    cdef end_head_only(self):
        """The head is all. Servers of the field send a body all the same: it must not answer the
        next call, so a connection that may bring one is not kept (RFC 9110 §8.6)."""
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                self.reusable = False
        # The parser now waits for a body that never comes: the next answer gets a new one.
        self.parser = self.make_parser(self)
        self.complete = True

    cdef find_end(self):
        """How the body ends (RFC 9112 §6.3)."""
        cdef bint coded = False
        self.until_end = True
        for name, value in self.headers:
            if name == b"content-length":
                self.until_end = False
            elif name == b"transfer-encoding":
                if coded or value.lower() != b"chunked":
                    raise UpstreamError("a transfer coding other than chunked")
                self.until_end, coded = False, True
