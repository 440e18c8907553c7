"""Bounds what one connection may carry before it is drained: requests, bytes, bad tokens, errors.

A request costs two additions; the sweeper compares the sums with the limits. A connection that has
reached a limit is drained, not cut: its requests end normally, and the client opens another one.
"""

from crewgate.server.listener_counters import ListenerCounters

class ConnectionUsageLimit:
    """The use that one connection has made of its limits.

    The protocol adds to `requests` and to `octets` (bytes in both directions). `partial_since` is
    the time (coarse, monotonic seconds) since when bytes have arrived that complete no frame; 0.0
    if there are none. While `held`, nothing is read from the client, until the next sweep.
    """

    requests: int
    octets: int
    partial_since: float
    held: bool

    def __init__(self, counters: ListenerCounters) -> None: ...
    def is_used_up(self) -> bool:
        """Return True at the first call after the connection has carried all that it may."""

    def drips(self, now: float) -> bool:
        """Note bytes that completed no frame; return True if that has gone on for too long.

        The engine does not distinguish a dropped frame from a piece of a head. So a single dropped
        frame does no harm: only bytes that arrive after `limits.head_seconds_max` make this True.
        """

    def broke_a_stream(self) -> bool:
        """Count a malformed stream; return True if the connection must be closed for it.

        The server resets a malformed stream, so the stream counts neither against the number of
        open streams nor as a reset by the client. An attack uses that: "MadeYouReset",
        CVE-2025-8671. The work for the stream has been cancelled with it.
        """

    def distrust(self, *, hold: bool) -> bool:
        """Count a bad token; if `hold`, stop reading; return True if a drain must begin."""

    def let_go(self) -> bool:
        """End a hold; return whether there was one."""
