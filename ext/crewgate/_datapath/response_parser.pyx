"""Gives a reader of responses its parser, llhttp; see the stub."""

import httptools

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t

from crewgate._datapath.plain_answer cimport answer_keep_seconds
from crewgate._native.response_reader cimport ResponseReader

cdef bytes KEEP_ALIVE = b"keep-alive"
PARSER_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)


cdef class ResponseParser(ResponseReader):
    """See the stub."""

    def __init__(self):
        ResponseReader.__init__(self, httptools.HttpResponseParser, PARSER_ERRORS)

    cdef uint32_t keep_seconds(self) except? 0:
        cdef bytes name, value
        for name, value in self.headers:
            if name == KEEP_ALIVE:
                return answer_keep_seconds(
                    <const uint8_t *>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)
                )
        return 0
