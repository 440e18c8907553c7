"""The C interface of request ids."""


cdef class RequestIds:
    cdef bytes block                        # random bytes
    cdef Py_ssize_t used                    # of the block

    cdef bytes make(self)
