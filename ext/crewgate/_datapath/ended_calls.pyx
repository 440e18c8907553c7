"""Records the calls that have just ended with one system call, then settles each of them once.

The record is written before the reservation is settled. If the worker dies between the two, the
agent burns the reservation. A record of the burn follows only if the call has none
(`crewgate/audit/last_calls.py`). So each call has a record, and none charges it twice.
"""

from crewgate.errors import AlreadySettledError

from libc.stdint cimport uint64_t

from crewgate._native.metrics cimport MX_JOURNAL, CallBatch
from crewgate._native.permit cimport Permit


cdef class EndedCallQueue:
    """See the stub."""

    def __cinit__(self, sink, poller):
        self.sink = sink
        self.poller = poller
        self.lines = []
        self.permits = []
        self.costs = []
        self.calls = CallBatch()

    def add(self, bytes line not None, permit, uint64_t cost):
        self.add_ended(line, permit, cost)

    cdef int add_ended(self, bytes line, object permit, uint64_t cost) except -1:
        if len(self.lines) >= <Py_ssize_t>MX_JOURNAL:
            self.flush()
        if not self.lines:
            self.poller.when_idle(self.flush)
        if type(permit) is Permit:
            (<Permit>permit).leave_limits()
        self.lines.append(line)
        self.permits.append(permit)
        self.costs.append(cost)
        return 0

    def flush(self):
        cdef list lines = self.lines, permits = self.permits, costs = self.costs
        self.lines, self.permits, self.costs = [], [], []
        try:
            self.sink.write_lines(lines, self.calls)
        finally:
            self.calls.clear()
            settle_each(permits, costs)


cdef int settle_each(list permits, list costs) except -1:
    """Settle each permit at its cost, or at its price if that is less."""
    cdef Py_ssize_t at
    cdef uint64_t cost
    for at in range(len(permits)):
        permit, cost = permits[at], costs[at]
        try:
            if type(permit) is Permit:
                (<Permit>permit).end(min(cost, (<Permit>permit).price_micro))
            else:
                permit.settle(cost)
        except AlreadySettledError:  # the agent has burned it at this very moment
            continue
    return 0
