"""The C interface of the registry of calls in flight."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from crewgate._datapath.whole_answer cimport WholeAnswer


cdef class BranchInFlight


cdef class InFlightCall:
    cdef public object permit               # a Permit
    cdef public object peer                 # the ClientInfo of its connection
    cdef public uint64_t extend_after_ns    # when to extend the reservation, CLOCK_BOOTTIME
    cdef BranchInFlight branch              # None: not in a registry
    cdef InFlightCall previous, following   # of its branch

    # Only a straight call (`straight_call`) has these methods.

    # End the call, because its stream was closed with `code` (RFC 9113 §7).
    cdef int stream_closed(self, int32_t stream, uint32_t code) except -1
    # Take the whole answer, which is valid until this returns. `stream` (a RequestStream) carries
    # the call. End with its `release`, or have an ordinary call go on with its `continue_with`.
    cpdef answered(self, stream, WholeAnswer answer)
    # Return the ordinary call (a CallObserver) that goes on in place of this one. `stream` carries
    # its request; it is None if the call waits for one. Do not call the stream here.
    cpdef make_ordinary(self, stream)


cdef class BranchInFlight:
    cdef bytes key
    cdef tuple path_keys                    # of its ancestors
    cdef InFlightCall first                 # None: it has had no call since the last sweep or later
    cdef int64_t expires                    # the latest `exp` of its grants, s since 1970

    cdef int collect(self, list calls) except -1


cdef class InFlightCalls:
    cdef object on_first
    cdef dict branches                      # by the branch's own key
    cdef Py_ssize_t count                   # of calls
    cdef uint64_t reservation_ns
    cdef object scanned

    cdef int add_call(self, InFlightCall call) except -1
    cdef int remove_call(self, InFlightCall call) except -1
    # Put `new` in the place of `old`, whose permit it has, and remove `old`.
    cdef int replace_call(self, InFlightCall old, InFlightCall new) except -1
    cdef list every(self)
    cdef list revoked(self)
