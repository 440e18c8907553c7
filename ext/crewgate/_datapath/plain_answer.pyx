"""Reads plain answers of HTTP/1.1 and holds the bytes of one that comes in pieces; see the stub."""

from crewgate import limits

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from crewgate._datapath.whole_answer cimport WholeAnswer
from crewgate._native.fields cimport message_field

cdef uint32_t BODY_BYTES_MAX = limits.straight_answer_bytes_max


cdef inline char lower(uint8_t letter) noexcept:
    return <char>(letter + 32 if c"A" <= letter <= c"Z" else letter)


cdef class PlainAnswer(WholeAnswer):
    """See the stub."""

    def __cinit__(self):
        self.restart(False)

    def __dealloc__(self):
        PyMem_Free(self.kept)

    def reset(self, *, bint head_only):
        self.restart(head_only)

    def feed(self, bytes data not None):
        cdef answer_state state = self.take(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self.keep()
        return None if state == ANSWER_NOT_PLAIN else state == ANSWER_COMPLETE

    @property
    def status(self):
        return self.read.status

    @property
    def headers(self):
        cdef uint32_t i
        cdef list headers = []
        for i in range(self.read.field_count):
            headers.append((
                self.slice(self.read.fields[i].name).lower(), self.slice(self.read.fields[i].value)
            ))
        return headers

    @property
    def body(self):
        return self.joined_body()

    @property
    def closes(self):
        return self.read.closes

    @property
    def keep_seconds(self):
        return self.read.keep_seconds

    cdef bytes slice(self, answer_slice at):
        return PyBytes_FromStringAndSize(<const char *>self.data + at.begin, at.size)

    cdef int restart(self, bint is_for_head) except -1:
        self.forget()
        answer_begin(&self.read, BODY_BYTES_MAX, is_for_head)
        self.state = ANSWER_INCOMPLETE
        return 0

    cdef answer_state take(self, const char *data, Py_ssize_t size) except? ANSWER_NOT_PLAIN:
        if self.size:
            self.add(data, size)
        else:
            self.data, self.size = <const uint8_t *>data, <uint32_t>size
        self.state = answer_read(&self.read, self.data, self.size)
        return self.state

    cdef int keep(self) except -1:
        cdef const uint8_t *data = self.data
        cdef uint32_t size = self.size
        if self.kept is NULL and size:
            self.size = 0
            self.add(<const char *>data, size)
        return 0

    cdef int add(self, const char *data, Py_ssize_t size) except -1:
        """Keep bytes. Their number is bounded: an answer that is longer is not plain."""
        cdef uint32_t needed = self.size + <uint32_t>size
        cdef uint8_t *kept
        if needed > self.kept_room:
            kept = <uint8_t *>PyMem_Realloc(self.kept, 2 * needed)
            if kept is NULL:
                raise MemoryError
            self.kept, self.kept_room = kept, 2 * needed
        memcpy(self.kept + self.size, data, size)
        self.data, self.size = self.kept, needed
        return 0

    cdef int forget(self) except -1:
        PyMem_Free(self.kept)
        self.kept, self.data = NULL, NULL
        self.kept_room = self.size = 0
        return 0

    cdef bytes arrived(self):
        return PyBytes_FromStringAndSize(<const char *>self.data, self.size)

    # `WholeAnswer`.

    cdef int status_code(self) noexcept:
        return self.read.status

    cdef Py_ssize_t slices(self, message_field *fields, char *names) noexcept:
        cdef const answer_field *each
        cdef uint32_t at, letter
        for at in range(self.read.field_count):
            each = &self.read.fields[at]
            for letter in range(each.name.size):
                names[letter] = lower(self.data[each.name.begin + letter])
            fields[at].name, fields[at].name_size = <const unsigned char *>names, each.name.size
            fields[at].value = self.data + each.value.begin
            fields[at].value_size = each.value.size
            fields[at].is_never_indexed = False
            names += each.name.size
        return self.read.field_count

    cdef Py_ssize_t body_bytes(self) noexcept:
        return self.read.body_size

    cdef bytes joined_body(self):
        cdef bytes body = PyBytes_FromStringAndSize(NULL, self.read.body_size)
        cdef char *to = PyBytes_AS_STRING(body)
        cdef uint32_t i
        for i in range(self.read.chunk_count):
            memcpy(to, self.data + self.read.chunks[i].begin, self.read.chunks[i].size)
            to += self.read.chunks[i].size
        return body
