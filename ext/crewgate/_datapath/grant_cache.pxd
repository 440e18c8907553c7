"""The C interface of a cache of values that depend on a grant alone."""


cdef class GrantCache:
    cdef object make
    cdef dict known                         # by the address of the grant
    cdef Py_ssize_t entries_max

    cdef object value_of(self, object grant)
