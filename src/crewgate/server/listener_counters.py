"""Counts what a listener refused, reset, drained or closed, as plain integers.

The code that refuses something also counts it. A request that stays within the limits counts
nothing. One event loop writes the counters, so there is no lock.
"""

import msgspec

_BODY_TOO_LARGE = 413
_TOO_MANY = 429
_HEAD_TOO_LARGE = 431


class ListenerCounters(msgspec.Struct, gc=False):
    """The counters of one listener in one worker since it opened.

    A `spent` connection has carried all that it may, an `unread` one takes no sent byte, and from a
    `choked` one nothing is read until it takes what was sent. `displaced` is the oldest handshake
    of too many. An `unwanted` body arrives after the response. `held` are pauses in reading because
    of bad tokens from the address; `drained` are connections with too many bad tokens.
    """

    connections_refused_full: int = 0
    connections_refused_address: int = 0
    handshakes_slow: int = 0
    handshakes_failed: int = 0
    handshakes_displaced: int = 0
    peers_refused: int = 0
    connections_idle: int = 0
    connections_spent: int = 0
    connections_flooding: int = 0
    connections_in_violation: int = 0
    connections_unread: int = 0
    connections_choked: int = 0
    pipelines_long: int = 0
    requests_malformed: int = 0
    heads_slow: int = 0
    heads_large: int = 0
    bodies_slow: int = 0
    bodies_large: int = 0
    bodies_unwanted: int = 0
    answers_unread: int = 0
    bad_tokens: int = 0
    bad_tokens_drained: int = 0
    bad_tokens_held: int = 0

    def refused(self, status: int) -> None:
        """Count a request that the server refused with `status` for its form or size."""
        if status == _HEAD_TOO_LARGE:
            self.heads_large += 1
        elif status == _BODY_TOO_LARGE:
            self.bodies_large += 1
        elif status == _TOO_MANY:
            self.pipelines_long += 1
        else:
            self.requests_malformed += 1

    def overdue(self, *, answering: bool) -> None:
        """Count a request whose body, or if `answering` whose response, the client left waiting."""
        if answering:
            self.answers_unread += 1
        else:
            self.bodies_slow += 1

    def broken_off(self, *, flood: bool) -> None:
        """Count a connection that the HTTP/2 engine ended, for a flood or for a protocol error."""
        if flood:
            self.connections_flooding += 1
        else:
            self.connections_in_violation += 1
