"""Keeps the calls in flight by branch, to end them on revocation or `exp`.

Revocations arrive in two ways:

- The agent pushes the revoked keys. This is fast, but a push may be lost.
- The worker scans every permit when the table's revocation generation has changed. This is certain.

The calls of a branch are a linked list, so a call costs no hash and no set. A branch without calls
stays until the next sweep, because it probably gets another one. A method that ends
calls collects them first, because the end of a call removes it from its list, and may end others.
If the end of one call raises an error, the method logs it and ends the other calls.
"""

import logging
from collections import deque

from crewgate import limits
from crewgate.core.audit.records import CallOutcome

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from crewgate._datapath.whole_answer cimport WholeAnswer
from crewgate._native.permit cimport grant_of

cdef object CANCELLED = CallOutcome.CANCELLED
cdef object EXPIRED = CallOutcome.EXPIRED
cdef object REVOKED = CallOutcome.REVOKED
cdef object log = logging.getLogger("crewgate.gateway.calls")


cdef class InFlightCall:
    """See the stub."""

    def end(self, outcome):
        raise NotImplementedError

    cdef int stream_closed(self, int32_t stream, uint32_t code) except -1:
        raise NotImplementedError

    cpdef answered(self, stream, WholeAnswer answer):
        raise NotImplementedError

    cpdef make_ordinary(self, stream):
        raise NotImplementedError


cdef class BranchInFlight:
    """A branch and its own calls in flight."""

    cdef int collect(self, list calls) except -1:
        """Append the calls."""
        cdef InFlightCall call = self.first
        while call is not None:
            calls.append(call)
            call = call.following
        return 0


cdef bint end_one(object call, object outcome) except -1:
    """End a call with an outcome, inside the barrier; False if it had ended before, or fails."""
    try:
        return call.end(outcome)
    except Exception:  # so that it keeps no other call from its end
        log.exception('cannot end a call as "%s": internal error', outcome.value)
    return False


cdef int end_each(list calls, object outcome) except -1:
    """End calls with an outcome; return how many had not ended before."""
    cdef int count = 0
    for call in calls:
        count += end_one(call, outcome)
    return count


cdef class InFlightCalls:
    """See the stub."""

    def __cinit__(self, uint64_t reservation_ns, on_first=None):
        self.on_first = on_first
        self.branches = {}
        self.reservation_ns = reservation_ns
        # The calls that scans have ended: the time (monotonic clock, ns), and the keys that end
        # such a call.
        self.scanned = deque(maxlen=limits.cuts_remembered)

    def __len__(self):
        return self.count

    def add(self, InFlightCall call not None):
        self.add_call(call)

    def remove(self, InFlightCall call not None):
        self.remove_call(call)

    def replace(self, InFlightCall old not None, InFlightCall new not None):
        self.replace_call(old, new)

    cdef int add_call(self, InFlightCall call) except -1:
        cdef BranchInFlight branch
        cdef InFlightCall first
        cdef int64_t expires
        if call.branch is not None:
            raise ValueError("the call is in flight already")
        if self.count == 0 and self.on_first is not None:
            self.on_first()
        grant = grant_of(call.permit)
        key, expires = grant.branch_key, grant.claims.exp
        found = self.branches.get(key)
        if found is None:
            branch = BranchInFlight.__new__(BranchInFlight)
            branch.key, branch.path_keys = key, grant.path_keys
            branch.expires = expires
            self.branches[key] = branch
        else:
            branch = <BranchInFlight>found
            # If it has no call, its former grants count no more.
            branch.expires = max(branch.expires, expires) if branch.first is not None else expires
        first = branch.first
        if first is not None:
            first.previous = call
            call.following = first
        branch.first = call
        call.branch = branch
        self.count += 1
        return 0

    cdef int remove_call(self, InFlightCall call) except -1:
        cdef BranchInFlight branch = call.branch
        cdef InFlightCall previous = call.previous, following = call.following
        if branch is None:
            return 0
        if previous is None:
            branch.first = following
        else:
            previous.following = following
        if following is not None:
            following.previous = previous
        call.branch = call.previous = call.following = None
        self.count -= 1
        return 0

    cdef int replace_call(self, InFlightCall old, InFlightCall new) except -1:
        if old.branch is None or new.branch is not None:
            raise ValueError("a call that is not in flight replaces one that is")
        new.branch, new.previous, new.following = old.branch, old.previous, old.following
        new.extend_after_ns = old.extend_after_ns
        if new.previous is None:
            new.branch.first = new
        else:
            new.previous.following = new
        if new.following is not None:
            new.following.previous = new
        old.branch = old.previous = old.following = None
        return 0

    cdef list every(self):
        """Return all calls."""
        cdef list calls = []
        for branch in self.branches.values():
            (<BranchInFlight>branch).collect(calls)
        return calls

    cdef list revoked(self):
        """Return the calls whose permit is revoked, for whatever reason."""
        return [call for call in self.every() if (<InFlightCall>call).permit.revoked]

    def terminate(self, keys):
        cdef frozenset wanted = frozenset(keys)
        cdef list calls = []
        cdef BranchInFlight branch
        for found in self.branches.values():
            branch = <BranchInFlight>found
            if branch.first is None:
                continue
            if branch.key in wanted or not wanted.isdisjoint(branch.path_keys):
                branch.collect(calls)
        return end_each(calls, REVOKED)

    def terminate_peers(self, peers):
        cdef set wanted = {id(peer) for peer in peers}  # a connection has one ClientInfo object
        return end_each(
            [call for call in self.every() if id((<InFlightCall>call).peer) in wanted], REVOKED)

    def terminate_revoked(self):
        return end_each(self.revoked(), REVOKED)

    def end_revoked(self, now_ns):
        while self.scanned and now_ns - self.scanned[0][0] > limits.cut_memory_seconds * 1e9:
            self.scanned.popleft()
        cdef int count = 0
        for call in self.revoked():
            if end_one(call, REVOKED):
                count += 1
                self.scanned.append((now_ns, frozenset(call.permit.revocable)))
        return count

    def claim(self, keys):
        cdef frozenset wanted = frozenset(keys)
        claimed = [entry for entry in self.scanned if not wanted.isdisjoint(entry[1])]
        for entry in claimed:
            self.scanned.remove(entry)
        return len(claimed), max([when for when, _ in claimed], default=0)

    def end_all(self):
        return end_each(self.every(), CANCELLED)

    def sweep(self, double now, uint64_t now_boot_ns):
        cdef list expired = [], unused = []
        cdef BranchInFlight branch
        cdef InFlightCall call
        for found in self.branches.values():
            branch = <BranchInFlight>found
            if branch.first is None:
                unused.append(branch.key)
            elif now >= branch.expires:
                branch.collect(expired)
                continue
            call = branch.first
            while call is not None:
                if now_boot_ns >= call.extend_after_ns:
                    call.permit.extend(now_boot_ns + self.reservation_ns)
                    call.extend_after_ns = now_boot_ns + self.reservation_ns // 3
                call = call.following
        for key in unused:
            del self.branches[key]
        return end_each(expired, EXPIRED)
