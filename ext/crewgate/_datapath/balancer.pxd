"""The C interface of the hosts of an upstream and of the choice between them."""


cdef class Admission:
    cdef public bint admits
    cdef public double doubt_until  # monotonic seconds; 0.0: no recent failure


cdef class HostLoad:
    cdef readonly Admission breaker
    cdef public Py_ssize_t outstanding
    cdef public bint gone


cdef class HostChooser:
    cdef list hosts
    cdef Py_ssize_t next_index  # the next choice begins at this host

    cdef Py_ssize_t choose(self, double now, object avoid) except -2
    cdef HostLoad use(self, Py_ssize_t index)
    cpdef take(self, double now, avoid=*)
    cpdef give_back(self, HostLoad host)
    cpdef answered(self, HostLoad host)
