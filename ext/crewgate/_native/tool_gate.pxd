"""The C interface of a gate with the numbers of its tools."""

from crewgate._native.gate cimport Gate


cdef class ToolGate:
    cdef readonly Gate gate
    cdef readonly dict numbers
    cdef readonly object decide
    cdef bint is_direct                     # `decide` is the gate's own
