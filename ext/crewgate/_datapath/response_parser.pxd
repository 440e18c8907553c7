"""The C interface of the parser of responses."""

from libc.stdint cimport uint32_t

from crewgate._native.response_reader cimport ResponseReader


cdef class ResponseParser(ResponseReader):
    # How long the server keeps the connection without use, as its Keep-Alive says; 0: it did not.
    cdef uint32_t keep_seconds(self) except? 0
