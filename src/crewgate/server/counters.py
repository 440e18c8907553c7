"""What a listener refused, cut or sent away, as plain integers; whoever does it counts it there.

Nothing is counted on the way of a request that keeps to the bounds. One event loop writes, so there
is no lock. Names are stable, and names and texts fit the format of Prometheus as they are. Knows no
metrics library, and nothing of any client.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

_BODY_TOO_LARGE = 413
_TOO_MANY = 429
_HEAD_TOO_LARGE = 431


class CounterDescription(NamedTuple):
    """A counter as a scrape shows it: its name, what one of it is, its HELP, and its value."""

    name: str
    unit: str
    help: str
    value: int


class Counters(msgspec.Struct, gc=False):
    """The counters of one listener in one worker, from its opening on. `TEXTS` says of what."""

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
        """Count a request that was refused with `status` for its form or size."""
        if status == _HEAD_TOO_LARGE:
            self.heads_large += 1
        elif status == _BODY_TOO_LARGE:
            self.bodies_large += 1
        elif status == _TOO_MANY:
            self.pipelines_long += 1
        else:
            self.requests_malformed += 1

    def overdue(self, *, answering: bool) -> None:
        """Count a request whose client owed bytes of its body, or the reading of its answer."""
        if answering:
            self.answers_unread += 1
        else:
            self.bodies_slow += 1

    def broken_off(self, *, flood: bool) -> None:
        """Count a connection that HTTP/2's engine ended, for what or how much its client sent."""
        if flood:
            self.connections_flooding += 1
        else:
            self.connections_in_violation += 1

    def described(self) -> Iterator[CounterDescription]:
        """Return all of them, in the order above."""
        for name, (unit, text) in TEXTS.items():
            yield CounterDescription(
                f"crewgate_listener_{name}_total", unit, text, getattr(self, name)
            )


TEXTS = {
    "connections_refused_full": (
        "connections",
        "Closed at accept: the listener has as many as it may have (connections_max).",
    ),
    "connections_refused_address": (
        "connections",
        "Closed at accept: their address has as many as it may have (connections_per_address_max).",
    ),
    "handshakes_slow": (
        "connections",
        "Closed: no TLS handshake in its time (handshake_seconds_max).",
    ),
    "handshakes_failed": (
        "connections",
        "Closed: the client gave up, or its certificate or TLS version is not accepted.",
    ),
    "handshakes_displaced": (
        "connections",
        "Closed: too many were in their handshakes, and theirs had taken longest.",
    ),
    "peers_refused": (
        "connections",
        "Closed after the handshake: their certificate may not enter.",
    ),
    "connections_idle": ("connections", "Closed: no request for so long (idle_seconds_max)."),
    "connections_spent": (
        "connections",
        "Drained: they carried all they may (connection_requests_max, connection_bytes_max).",
    ),
    "connections_flooding": (
        "connections",
        "Closed: resets, unread acknowledgements, continuations or odd frames beyond their bounds.",
    ),
    "connections_in_violation": ("connections", "Closed: they broke the rules of HTTP/2."),
    "connections_unread": (
        "connections",
        "Closed: the client took no byte of what was sent for so long (send_wait_seconds_max).",
    ),
    "connections_choked": (
        "times",
        "Not read until the client reads what was sent to it (control_bytes_max).",
    ),
    "pipelines_long": (
        "connections",
        "Closed: too many requests waited for their turn (pipelined_requests_max).",
    ),
    "requests_malformed": ("requests", "Refused or reset: not a request of HTTP."),
    "heads_slow": (
        "requests",
        "Answered 408, over HTTP/2 cut: the head was not whole in time (head_seconds_max).",
    ),
    "heads_large": (
        "requests",
        "Refused: too many fields, or too long ones (head_fields_max, head_bytes_max).",
    ),
    "bodies_slow": (
        "requests",
        "Broken off: the client owed bytes of a body and sent none (body_wait_seconds_max).",
    ),
    "bodies_large": (
        "requests",
        "Refused or broken off: the body is over its tool's bound (request_body_bytes_max).",
    ),
    "bodies_unwanted": (
        "requests",
        "Broken off: too much of a body came after the answer (discard_bytes_max).",
    ),
    "answers_unread": (
        "requests",
        "Broken off: the client did not read its answer (send_wait_seconds_max).",
    ),
    "bad_tokens": ("requests", "Refused: no key of a crew signed the token."),
    "bad_tokens_drained": (
        "connections",
        "Drained: they showed too many bad tokens (bad_tokens_max).",
    ),
    "bad_tokens_held": (
        "times",
        "Not read for a second: the address shows bad tokens too fast (bad_tokens_burst).",
    ),
}
