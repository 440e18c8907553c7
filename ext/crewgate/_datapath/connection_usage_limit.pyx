"""Bounds what one connection may carry before it is drained; the stub says how."""

from crewgate import limits


cdef class ConnectionUsageLimit:
    """See the stub."""

    def __init__(self, counters):
        self.counters = counters

    def is_used_up(self):
        if self.was_used_up:
            return False
        self.was_used_up = (
            self.requests >= <long long>limits.connection_requests_max
            or self.octets >= <long long>limits.connection_bytes_max
        )
        if self.was_used_up:
            self.counters.connections_spent += 1
        return self.was_used_up

    def drips(self, double now):
        return self.drips_at(now)

    cdef bint drips_at(self, double now) except -1:
        if not self.partial_since:
            self.partial_since = now
        cdef bint is_late = now - self.partial_since > <double>limits.head_seconds_max
        if is_late:
            self.counters.heads_slow += 1
        return is_late

    def broke_a_stream(self):
        return self.is_last_broken_stream()

    cdef bint is_last_broken_stream(self) except -1:
        self.counters.requests_malformed += 1
        self.stream_errors += 1
        return self.stream_errors == <long long>limits.stream_errors_max

    def distrust(self, *, bint hold):
        self.counters.bad_tokens += 1
        self.bad_tokens += 1
        if hold and not self.held:
            self.held = True
            self.counters.bad_tokens_held += 1
        cdef bint is_last = self.bad_tokens == <long long>limits.bad_tokens_max
        if is_last:
            self.counters.bad_tokens_drained += 1
        return is_last

    def let_go(self):
        cdef bint was_held = self.held
        self.held = False
        return was_held
