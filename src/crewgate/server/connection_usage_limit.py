"""Bounds what one connection may carry before it is drained: requests, bytes, bad tokens, errors.

A request costs two additions; the sweeper compares the sums with the limits. A connection that has
reached a limit is drained, not cut: its requests end normally, and the client opens another one.
"""

from crewgate import limits
from crewgate.server.listener_counters import ListenerCounters


class ConnectionUsageLimit:
    """The use that one connection has made of its limits.

    The protocol adds to `requests` and to `octets` (bytes in both directions). `partial_since` is
    the time (coarse, monotonic seconds) since when bytes have arrived that complete no frame; 0.0
    if there are none. While `held`, nothing is read from the client, until the next sweep.
    """

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

    def __init__(self, counters: ListenerCounters) -> None:
        self.requests = 0
        self.octets = 0
        self.partial_since = 0.0
        self.held = False
        self._bad_tokens = 0
        self._stream_errors = 0
        self._is_used_up = False
        self._counters = counters

    def is_used_up(self) -> bool:
        """Return True at the first call after the connection has carried all that it may."""
        if self._is_used_up:
            return False
        self._is_used_up = (
            self.requests >= limits.connection_requests_max
            or self.octets >= limits.connection_bytes_max
        )
        if self._is_used_up:
            self._counters.connections_spent += 1
        return self._is_used_up

    def drips(self, now: float) -> bool:
        """Note bytes that completed no frame; return True if that has gone on for too long.

        The engine does not distinguish a dropped frame from a piece of a head. So a single dropped
        frame does no harm: only bytes that arrive after `limits.head_seconds_max` make this True.
        """
        if not self.partial_since:
            self.partial_since = now
        is_late = now - self.partial_since > limits.head_seconds_max
        if is_late:
            self._counters.heads_slow += 1
        return is_late

    def broke_a_stream(self) -> bool:
        """Count a malformed stream; return True if the connection must be closed for it.

        The server resets a malformed stream, so the stream counts neither against the number of
        open streams nor as a reset by the client. An attack uses that: "MadeYouReset",
        CVE-2025-8671. The work for the stream has been cancelled with it.
        """
        self._counters.requests_malformed += 1
        self._stream_errors += 1
        return self._stream_errors == limits.stream_errors_max

    def distrust(self, *, hold: bool) -> bool:
        """Count a bad token; if `hold`, stop reading; return True if a drain must begin."""
        counters = self._counters
        counters.bad_tokens += 1
        self._bad_tokens += 1
        if hold and not self.held:
            self.held = True
            counters.bad_tokens_held += 1
        is_last = self._bad_tokens == limits.bad_tokens_max
        if is_last:
            counters.bad_tokens_drained += 1
        return is_last

    def let_go(self) -> bool:
        """End a hold; return whether there was one."""
        held, self.held = self.held, False
        return held
