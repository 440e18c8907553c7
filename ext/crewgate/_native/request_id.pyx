"""Makes request ids of 16 random bytes; one system call makes many of them."""

import os

from crewgate import limits

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

cdef enum:
    ID_BYTES = 16


cdef class RequestIds:
    """See the stub."""

    def __iter__(self):
        return self

    def __next__(self):
        return self.make()

    cdef bytes make(self):
        if self.block is None or self.used + ID_BYTES > PyBytes_GET_SIZE(self.block):
            self.block = os.urandom(ID_BYTES * limits.request_ids_at_once)
            self.used = 0
        cdef const char *start = PyBytes_AS_STRING(self.block) + self.used
        self.used += ID_BYTES
        return PyBytes_FromStringAndSize(start, ID_BYTES)
