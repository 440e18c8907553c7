"""Answers the usual calls of `Verifier.decide` without a Python frame.

A frame and the look-ups in it cost more than half of what the gate costs.
"""

from functools import wraps

from crewgate import limits

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_GET_LENGTH

from crewgate._native.gate cimport Gate
from crewgate._native.permit cimport Permit

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object, Py_ssize_t *) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(object)

cdef Py_ssize_t TOKEN_BYTES_MAX = limits.token_bytes_max
cdef Py_ssize_t UNKNOWN = -1


cdef class ToolGate:
    """See the stub."""

    def __init__(self, Gate gate not None, dict numbers not None, decide=None):
        self.gate = gate
        self.numbers = numbers
        self.is_direct = decide is None
        self.decide = gate.decide if decide is None else decide


cdef bytes usual_token(object token):
    """Return a token as bytes; None if `make_request` has to look at it."""
    cdef Py_ssize_t size = 0
    cdef const char *text
    if type(token) is bytes:
        return <bytes>token
    if type(token) is not str or not PyUnicode_IS_COMPACT_ASCII(token) or (
            PyUnicode_GET_LENGTH(token) > TOKEN_BYTES_MAX):
        return None
    text = PyUnicode_AsUTF8AndSize(token, &size)
    return PyBytes_FromStringAndSize(text, size)


def with_fast_path(slow):
    """See the stub."""

    @wraps(slow)
    def decide(self, token, tool, *, peer_certificate=None, cost_micro=None, proof=None):
        cdef ToolGate judge
        cdef bytes text
        if peer_certificate is None and cost_micro is None and proof is None and (
                type(tool) is str):
            text = usual_token(token)
            judge = self._source.judge
            if text is not None and judge.is_direct:
                number = judge.numbers.get(tool, UNKNOWN)
                verdict = judge.gate.verdict(
                    text, number, b"", None, False, False, -1, False, None, 0, True)
                if type(verdict) is Permit and self._sink is None:
                    return verdict
                return self._conclude(judge, text, number, tool, verdict)
        return slow(self, token, tool, peer_certificate=peer_certificate, cost_micro=cost_micro,
                    proof=proof)

    return decide
