"""Reads one JSON-RPC message, and finds its members; see the stub.

It checks the whole text before it finds anything. Then it goes over an object to find its members,
so a message keeps nothing but its bytes, however many members a client writes.
"""

import os

import msgspec

from crewgate import limits
from crewgate.errors import MalformedMessageError

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcpy

from crewgate._native.json_value cimport *

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(object text) noexcept

cdef extern from "json_document.h" nogil:
    const uint32_t JSON_LEVELS_MAX
    ctypedef enum json_fault:
        JSON_SOUND, JSON_UNEXPECTED, JSON_TRUNCATED, JSON_NOT_UTF8, JSON_BAD_ESCAPE, JSON_CONTROL
        JSON_TOO_DEEP, JSON_TOO_MANY, JSON_DUPLICATE, JSON_NO_MEMORY
    ctypedef struct json_document:
        json_text text
        uint64_t key[2]
        uint32_t values_max
        json_fault fault
    void json_check_document(json_document *d, const unsigned char *text, size_t n) noexcept

cdef extern from "json_members.h" nogil:
    ctypedef struct json_wanted:
        pass
    bint json_want(json_wanted *wanted, const char *name, size_t n) noexcept
    bint json_find(json_text object, const json_wanted *wanted, size_t count, json_text *found,
                   json_text *misspelt) noexcept

cdef size_t BYTES_MAX = limits.json_rpc_bytes_max
cdef uint32_t VALUES_MAX = limits.json_rpc_values_max
cdef size_t ID_BYTES_MAX = limits.json_rpc_id_bytes_max
cdef size_t METHOD_BYTES_MAX = limits.json_rpc_method_bytes_max
cdef size_t NOGIL_BYTES_MIN = 65536  # 50 us; to release the GIL and to take it again costs 0.1

# JSON-RPC 2.0, section 5.1.
cdef int PARSE_ERROR = -32700
cdef int INVALID_REQUEST = -32600
cdef int INVALID_PARAMS = -32602

cdef dict FAULTS = {
    JSON_UNEXPECTED: "the message is not JSON: another byte is expected",
    JSON_TRUNCATED: "the message is not JSON: it ends too early",
    JSON_NOT_UTF8: "the message is not UTF-8, or has a surrogate",
    JSON_BAD_ESCAPE: "a string has an escape that JSON does not have, or half of a surrogate pair",
    JSON_CONTROL: "a string has a control character that is not escaped",
    JSON_TOO_DEEP: f"the message has more than {limits.json_rpc_depth_max} levels of objects and "
                   "arrays",
    JSON_TOO_MANY: f"the message has more than {limits.json_rpc_values_max} values",
    JSON_DUPLICATE: "an object has a second member with the same name",
}

# The names are kept alive here; each json_wanted points into one.
cdef tuple TOP_NAMES = (b"jsonrpc", b"id", b"method", b"params", b"result", b"error")
cdef tuple PARAMS_NAMES = (
    b"name", b"uri", b"taskId", b"cursor", b"arguments", b"requestId", b"protocolVersion", b"_meta",
    b"task")
cdef tuple META_NAMES = (
    b"io.modelcontextprotocol/protocolVersion", b"io.modelcontextprotocol/clientCapabilities",
    b"progressToken", b"io.modelcontextprotocol/related-task")
cdef enum:
    TOP_COUNT = 6
    PARAMS_COUNT = 9
    META_COUNT = 4
cdef json_wanted TOP[TOP_COUNT]
cdef json_wanted PARAMS[PARAMS_COUNT]
cdef json_wanted META[META_COUNT]


cdef int prepare(tuple names, json_wanted *wanted) except -1:
    for i, name in enumerate(names):
        if not json_want(&wanted[i], PyBytes_AS_STRING(name), <size_t>PyBytes_GET_SIZE(name)):
            raise ImportError(f"{name!r} is too long for JSON_FOLDED_BYTES_MAX of json_members.h")
    return 0


if JSON_LEVELS_MAX != limits.json_rpc_depth_max:
    raise ImportError("json_document.h and crewgate/limits differ: make them equal and rebuild")


cdef dict places(tuple names):
    """Return the index of each name."""
    return {name.decode(): at for at, name in enumerate(names)}


cdef dict TOP_PLACES = places(TOP_NAMES)
cdef dict PARAMS_PLACES = places(PARAMS_NAMES)
cdef dict META_PLACES = places(META_NAMES)
cdef int PARAMS_IN_TOP = TOP_PLACES["params"]
cdef int META_IN_PARAMS = PARAMS_PLACES["_meta"]
prepare(TOP_NAMES, TOP)
prepare(PARAMS_NAMES, PARAMS)
prepare(META_NAMES, META)

cdef uint64_t KEY[2]
cdef bytes SECRET = os.urandom(sizeof(KEY))
memcpy(KEY, PyBytes_AS_STRING(SECRET), sizeof(KEY))


cdef int check(const unsigned char *text, size_t n) except -1:
    """Raise MalformedMessageError if a text is not one JSON document."""
    cdef json_document document
    document.key = KEY
    document.values_max = VALUES_MAX
    if n < NOGIL_BYTES_MIN:
        json_check_document(&document, text, n)
    else:
        with nogil:
            json_check_document(&document, text, n)
    if document.fault == JSON_SOUND:
        return 0
    if document.fault == JSON_NO_MEMORY:
        raise MemoryError("no memory for the names of a message")
    cdef bint is_json = document.fault in (JSON_TOO_DEEP, JSON_TOO_MANY, JSON_DUPLICATE)
    raise MalformedMessageError(
        INVALID_REQUEST if is_json else PARSE_ERROR,
        f"{FAULTS[document.fault]} (at byte {document.text.at - text})")


@cython.no_gc  # its attributes refer to nothing
cdef class JSONRPCMessage:
    """See the stub."""

    cdef readonly bytes body, id
    cdef readonly object id_value
    cdef readonly str kind, method, name, uri, task_id, cursor, protocol_version, initialize_version
    cdef json_text in_top[TOP_COUNT]
    cdef json_text in_params[PARAMS_COUNT]
    cdef json_text in_meta[META_COUNT]
    cdef bint has_read_params

    def __cinit__(self):
        self.body = self.id = b""
        self.kind = self.method = ""

    @property
    def arguments(self):
        return raw(self.in_params[4])

    @property
    def meta(self):
        return raw(self.in_params[7])

    @property
    def capabilities(self):
        return raw(self.in_meta[1])

    @property
    def related_task(self):
        return raw(self.in_meta[3])

    def member(self, *path):
        return raw(self.value_at(path))

    def text(self, *path):
        cdef json_text span = self.value_at(path)
        return None if is_null(span) else self.text_at(span, ".".join(path), INVALID_PARAMS)

    def with_text(self, path, str text not None):
        cdef json_text span = self.value_at(tuple(path))
        if span.at == NULL or not is_string(span):
            raise ValueError(f"the message has no string at {path!r}")
        cdef Py_ssize_t start = <const char *>span.at - PyBytes_AS_STRING(self.body)
        cdef Py_ssize_t end = <const char *>span.end - PyBytes_AS_STRING(self.body)
        return b"".join((self.body[:start], msgspec.json.encode(text), self.body[end:]))

    cdef object refused(self, int code, str why, const unsigned char *at):
        """Return the error for a byte of the message, with the message's id if it has one."""
        cdef Py_ssize_t offset = at - <const unsigned char *>PyBytes_AS_STRING(self.body)
        return MalformedMessageError(code, f"{why} (at byte {offset})", self.id)

    cdef int find(self, json_text object, const json_wanted *wanted, size_t count,
                  json_text *found) except -1:
        cdef json_text misspelt
        if not json_find(object, wanted, count, found, &misspelt):
            raise self.refused(
                INVALID_REQUEST, "the name of a member differs from a known one in its case, or in "
                "_ or -: write it as the protocol does", misspelt.at - 1)
        return 0

    cdef Py_ssize_t find_known(self, tuple path, json_text *found) except -1:
        """Find the value of the first names of a path, if `read` has found it.

        Return how many names these are. Without them, the value is the message.
        """
        cdef const unsigned char *start = <const unsigned char *>PyBytes_AS_STRING(self.body)
        at = TOP_PLACES.get(path[0])
        if at is None:
            found[0] = json_text(start, start + PyBytes_GET_SIZE(self.body))
            json_skip_blank(found)
            return 0
        found[0] = self.in_top[<int>at]
        if <int>at != PARAMS_IN_TOP or not self.has_read_params or len(path) == 1:
            return 1
        at = PARAMS_PLACES.get(path[1])
        if at is None:
            return 1
        found[0] = self.in_params[<int>at]
        if <int>at != META_IN_PARAMS or len(path) == 2:
            return 2
        at = META_PLACES.get(path[2])
        if at is None:
            return 2
        found[0] = self.in_meta[<int>at]
        return 3

    cdef json_text value_at(self, tuple path) except *:
        """Return where the value at a path is; `at` is NULL if there is none."""
        cdef json_wanted wanted
        cdef Py_ssize_t size = 0
        cdef const char *name
        cdef json_text span
        if not path:
            raise ValueError("a path has at least one name")
        for step in path[self.find_known(path, &span):]:
            if span.at == NULL:
                break
            name = PyUnicode_AsUTF8AndSize(step, &size)
            if not PyUnicode_IS_COMPACT_ASCII(step) or (
                    memchr(name, c'"', size) != NULL or memchr(name, c"\\", size) != NULL
                    or not json_want(&wanted, name, <size_t>size)):
                raise ValueError(f"{step!r} is not a name that can be looked for")
            self.find(span, &wanted, 1, &span)
        return span

    cdef str text_at(self, json_text span, object name, int code):
        """Return the text of a string; None for null, and if there is no value."""
        cdef str text
        if is_null(span):
            return None
        if not is_string(span):
            raise self.refused(code, f"{name} is not a string", span.at)
        text = decoded(span)
        if "\0" in text:
            raise self.refused(code, f"{name} has the character U+0000", span.at)
        return text

    cdef int read(self, bint is_mcp) except -1:
        """Read what every message has, and what MCP judges."""
        cdef const unsigned char *start = <const unsigned char *>PyBytes_AS_STRING(self.body)
        cdef json_text whole = json_text(start, start + PyBytes_GET_SIZE(self.body))
        json_skip_blank(&whole)
        if whole.at[0] == c"[":
            raise self.refused(INVALID_REQUEST, "a batch is not supported: send each message alone",
                               whole.at)
        if whole.at[0] != c"{":
            raise self.refused(INVALID_REQUEST, "the message is not an object", whole.at)
        self.find(whole, TOP, TOP_COUNT, self.in_top)
        self.read_id(self.in_top[1])
        if not equals(self.in_top[0], b'"2.0"', 5) and (
                self.in_top[0].at == NULL or not is_string(self.in_top[0])
                or decoded(self.in_top[0]) != "2.0"):
            raise self.refused(INVALID_REQUEST, 'jsonrpc is not "2.0"', whole.at)
        if self.in_top[2].at == NULL:
            self.read_response(whole.at)
        else:
            self.read_call(self.in_top[2], is_mcp)
        return 0

    cdef int read_id(self, json_text id) except -1:
        if is_null(id):
            return 0
        if size_of(id) > ID_BYTES_MAX:
            raise self.refused(
                INVALID_REQUEST, f"the id has more than {ID_BYTES_MAX} bytes", id.at)
        if is_string(id):
            self.id_value = self.text_at(id, "the id", INVALID_REQUEST)
        elif is_integer(id):
            self.id_value = int(raw(id))
        else:
            raise self.refused(INVALID_REQUEST, "the id is neither a string nor an integer "
                               "between -(2^53 - 1) and 2^53 - 1", id.at)
        self.id = raw(id)
        return 0

    cdef int read_response(self, const unsigned char *at) except -1:
        cdef json_text result = self.in_top[4], error = self.in_top[5]
        if (result.at == NULL) == (error.at == NULL):
            raise self.refused(
                INVALID_REQUEST,
                "the message has no method, and not exactly one of result and error", at)
        if result.at != NULL and not self.id:
            raise self.refused(INVALID_REQUEST, "a result has no id", at)
        if error.at != NULL and not is_object(error):
            raise self.refused(INVALID_REQUEST, "error is not an object", error.at)
        self.kind = "response"
        return 0

    cdef int read_call(self, json_text method, bint is_mcp) except -1:
        cdef json_text params = self.in_top[3]
        if self.in_top[4].at != NULL or self.in_top[5].at != NULL:
            raise self.refused(
                INVALID_REQUEST, "the message has a method, and also a result or an error",
                method.at)
        if self.in_top[1].at != NULL and not self.id:
            raise self.refused(INVALID_REQUEST, "the id of a request is null", self.in_top[1].at)
        if size_of(method) > METHOD_BYTES_MAX + 2:
            raise self.refused(
                INVALID_REQUEST, f"method has more than {METHOD_BYTES_MAX} bytes", method.at)
        self.method = self.text_at(method, "method", INVALID_REQUEST)
        if not self.method:
            raise self.refused(INVALID_REQUEST, "method has no text", method.at)
        self.kind = "request" if self.id else "notification"
        if params.at != NULL:
            if not is_object(params):
                raise self.refused(INVALID_PARAMS, "params is not an object", params.at)
            if is_mcp:
                self.read_params(params)
        return 0

    cdef int read_params(self, json_text params) except -1:
        self.find(params, PARAMS, PARAMS_COUNT, self.in_params)
        self.has_read_params = True
        self.name = self.text_at(self.in_params[0], "params.name", INVALID_PARAMS)
        self.uri = self.text_at(self.in_params[1], "params.uri", INVALID_PARAMS)
        self.task_id = self.text_at(self.in_params[2], "params.taskId", INVALID_PARAMS)
        self.cursor = self.text_at(self.in_params[3], "params.cursor", INVALID_PARAMS)
        self.initialize_version = self.text_at(
            self.in_params[6], "params.protocolVersion", INVALID_PARAMS)
        cdef json_text meta = self.in_params[7]
        if is_null(meta):
            return 0
        if not is_object(meta):
            raise self.refused(INVALID_PARAMS, "params._meta is not an object", meta.at)
        self.find(meta, META, META_COUNT, self.in_meta)
        self.protocol_version = self.text_at(
            self.in_meta[0], "params._meta.io.modelcontextprotocol/protocolVersion", INVALID_PARAMS)
        return 0


cdef int check_body(object body) except -1:
    if not PyBytes_Check(body):
        raise TypeError("a JSON text is given as bytes")
    cdef size_t size = <size_t>PyBytes_GET_SIZE(body)
    if size > BYTES_MAX:
        raise MalformedMessageError(INVALID_REQUEST, f"the message has more than {BYTES_MAX} bytes")
    return check(<const unsigned char *>PyBytes_AS_STRING(body), size)


def check_json(body):
    """See the stub."""
    check_body(body)


def read_message(body, *, bint is_mcp=True):
    """See the stub."""
    check_body(body)
    cdef JSONRPCMessage message = JSONRPCMessage.__new__(JSONRPCMessage)
    message.body = <bytes>body
    message.read(is_mcp)
    return message
