"""Counts what a listener refused, reset, drained or closed, as plain integers.

The code that refuses something also counts it. A request that stays within the limits counts
nothing. One event loop writes the counters, so there is no lock. The names are stable, and names
and texts fit the text format of Prometheus. This module knows no metrics library and no client.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

_BODY_TOO_LARGE = 413
_TOO_MANY = 429
_HEAD_TOO_LARGE = 431


class CounterDescription(NamedTuple):
    """One counter as a scrape shows it: its name, its unit, its HELP text, and its value."""

    name: str
    unit: str
    help: str
    value: int


class ListenerCounters(msgspec.Struct, gc=False):
    """The counters of one listener in one worker since it opened; `TEXTS` describes each."""

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

    def described(self) -> Iterator[CounterDescription]:
        """Yield every counter, in the order of `TEXTS`."""
        for name, (unit, text) in TEXTS.items():
            yield CounterDescription(
                f"crewgate_listener_{name}_total", unit, text, getattr(self, name)
            )


TEXTS = {
    "connections_refused_full": (
        "connections",
        "Closed at accept: the listener has its maximum of connections (connections_max).",
    ),
    "connections_refused_address": (
        "connections",
        "Closed at accept: the address has its maximum (connections_per_address_max).",
    ),
    "handshakes_slow": (
        "connections",
        "Closed: the TLS handshake did not end in time (handshake_seconds_max).",
    ),
    "handshakes_failed": (
        "connections",
        "Closed: the client gave up, or its certificate or TLS version was not accepted.",
    ),
    "handshakes_displaced": (
        "connections",
        "Closed: too many handshakes were under way, and this one was the oldest.",
    ),
    "peers_refused": (
        "connections",
        "Closed after the handshake: the client's certificate was refused.",
    ),
    "connections_idle": ("connections", "Closed: no request for too long (idle_seconds_max)."),
    "connections_spent": (
        "connections",
        "Drained: the limit was reached (connection_requests_max, connection_bytes_max).",
    ),
    "connections_flooding": (
        "connections",
        "Closed: too many resets, unread acknowledgements, continuations or bad frames.",
    ),
    "connections_in_violation": ("connections", "Closed: the client broke the HTTP/2 protocol."),
    "connections_unread": (
        "connections",
        "Closed: the client read no sent byte for too long (send_wait_seconds_max).",
    ),
    "connections_choked": (
        "times",
        "Reading paused: the client must first read what was sent (control_bytes_max).",
    ),
    "pipelines_long": (
        "connections",
        "Closed: too many pipelined requests were waiting (pipelined_requests_max).",
    ),
    "requests_malformed": ("requests", "Refused or reset: not a valid HTTP request."),
    "heads_slow": (
        "requests",
        "The head did not arrive in time: 408, or HTTP/2 connection closed (head_seconds_max).",
    ),
    "heads_large": (
        "requests",
        "Refused: too many or too long header fields (head_fields_max, head_bytes_max).",
    ),
    "bodies_slow": (
        "requests",
        "Ended: the client did not go on sending the body (body_wait_seconds_max).",
    ),
    "bodies_large": (
        "requests",
        "Refused or reset: the body is over the tool's limit (request_body_bytes_max).",
    ),
    "bodies_unwanted": (
        "requests",
        "Ended: too much of the body arrived after the response (discard_bytes_max).",
    ),
    "answers_unread": (
        "requests",
        "Ended: the client did not read its response (send_wait_seconds_max).",
    ),
    "bad_tokens": ("requests", "Refused: no known crew key signed the token."),
    "bad_tokens_drained": (
        "connections",
        "Drained: the client sent too many bad tokens (bad_tokens_max).",
    ),
    "bad_tokens_held": (
        "times",
        "Reading paused for a second: bad tokens from the address (bad_tokens_burst).",
    ),
}
