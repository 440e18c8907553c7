"""What one connection may carry and show before it is drained, whatever protocol it speaks.

Adding up is all that the normal way pays; the sweeper compares. A connection that has used it up is
drained, never cut: what is under way ends, and the client comes back on another.
"""

from crewgate import limits
from crewgate.server.counters import Counters


class ConnectionUsage:
    """The use that a connection has made of it. The protocol adds to `requests` and `octets`."""

    __slots__ = (
        "_bad_tokens",
        "_counters",
        "_is_used_up",
        "_stream_errors",
        "held",
        "octets",
        "partial_since",
        "requests",
    )

    def __init__(self, counters: Counters) -> None:
        self.requests = 0
        self.octets = 0  # both ways
        self.partial_since = 0.0  # bytes have come since, and no frame of them is whole; 0: none
        self.held = False  # nothing is read until the next sweep
        self._bad_tokens = 0
        self._stream_errors = 0
        self._is_used_up = False
        self._counters = counters

    def __repr__(self) -> str:
        return f"<ConnectionBudget {self.requests} requests, {self.octets} octets>"

    def is_used_up(self) -> bool:
        """Return True once, when the connection has carried all that it may."""
        if self._is_used_up:
            return False
        self._is_used_up = (
            self.requests >= limits.connection_requests_max
            or self.octets >= limits.connection_bytes_max
        )
        self._counters.connections_spent += self._is_used_up
        return self._is_used_up

    def drips(self, now: float) -> bool:
        """Note bytes that made nothing whole; True if that has gone on for longer than it may.

        Frames that the engine drops are not told apart from pieces of a head, so a single one
        counts for nothing: only bytes that come again after all that time do.
        """
        if not self.partial_since:
            self.partial_since = now
        late = now - self.partial_since > limits.head_seconds_max
        self._counters.heads_slow += late
        return late

    def broke_a_stream(self) -> bool:
        """Count a stream that was malformed; True if the connection is to be ended for that.

        Each is reset by us, so that it counts neither against the number of streams nor as a reset
        of the client's: "MadeYouReset", CVE-2025-8671. Its work has been cancelled with it.
        """
        self._counters.requests_malformed += 1
        self._stream_errors += 1
        return self._stream_errors == limits.stream_errors_max

    def distrust(self, *, hold: bool) -> bool:
        """Count a bad token, hold the connection if told so; True if it is to be drained."""
        counters = self._counters
        counters.bad_tokens += 1
        self._bad_tokens += 1
        if hold and not self.held:
            self.held = True
            counters.bad_tokens_held += 1
        is_last = self._bad_tokens == limits.bad_tokens_max
        counters.bad_tokens_drained += is_last
        return is_last

    def let_go(self) -> bool:
        """End a hold; True if there was one."""
        held, self.held = self.held, False
        return held
