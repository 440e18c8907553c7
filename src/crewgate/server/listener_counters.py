"""Counts what a listener accepted, refused, reset, drained or closed.

The code that refuses something also counts it: `counters.heads_slow += 1`. One event loop writes
the counters, so there is no lock.
"""

from typing import overload

from crewgate.metrics import families
from crewgate.metrics.metric_family import MetricFamily
from crewgate.metrics.process_metrics import ProcessMetrics

_BODY_TOO_LARGE = 413
_TOO_MANY = 429
_HEAD_TOO_LARGE = 431


class _Counter:
    """An attribute of `ListenerCounters` that is also a series of a metric."""

    def __init__(self, family: MetricFamily, *labels: str) -> None:
        """`labels` follow the label that has the listener's name."""
        self._family, self._labels = family, labels

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, counters: None, owner: type) -> "_Counter": ...
    @overload
    def __get__(self, counters: "ListenerCounters", owner: type) -> int: ...
    def __get__(self, counters: "ListenerCounters | None", owner: type) -> "_Counter | int":
        return self if counters is None else counters.counts.get(self._name, 0)

    def __set__(self, counters: "ListenerCounters", value: int) -> None:
        more = value - counters.counts.get(self._name, 0)
        if more:
            counters.counts[self._name] = value
            if counters.metrics is not None:
                labels = counters.listener, *self._labels
                counters.metrics.series(self._family, *labels).add(more)


class ListenerCounters:
    """The counters of one listener in one process since it opened; `counts` has those above 0.

    A `spent` connection has carried all that it may, an `unread` one takes no sent byte, and from a
    `choked` one nothing is read until it takes what was sent. `displaced` is the oldest handshake
    of too many. An `unwanted` body arrives after the response. `held` are pauses in reading because
    of bad tokens from the address; `drained` are connections with too many bad tokens.
    """

    connections_accepted = _Counter(families.CONNECTIONS_ACCEPTED)
    connections_refused_full = _Counter(families.CONNECTIONS_REFUSED, "connections")
    connections_refused_address = _Counter(families.CONNECTIONS_REFUSED, "connections-of-address")
    handshakes_completed = _Counter(families.HANDSHAKES, "completed")
    handshakes_slow = _Counter(families.HANDSHAKES, "slow")
    handshakes_failed = _Counter(families.HANDSHAKES, "failed")
    handshakes_displaced = _Counter(families.HANDSHAKES, "displaced")
    peers_refused = _Counter(families.HANDSHAKES, "certificate-refused")
    connections_idle = _Counter(families.CONNECTIONS_CLOSED, "idle")
    connections_spent = _Counter(families.CONNECTIONS_CLOSED, "use")
    connections_flooding = _Counter(families.CONNECTIONS_CLOSED, "flood")
    connections_in_violation = _Counter(families.CONNECTIONS_CLOSED, "protocol-violation")
    connections_unread = _Counter(families.CONNECTIONS_CLOSED, "unread")
    connections_choked = _Counter(families.REQUESTS_LIMITED, "unread-output")
    pipelines_long = _Counter(families.REQUESTS_LIMITED, "pipeline")
    requests_malformed = _Counter(families.REQUESTS_LIMITED, "malformed")
    heads_slow = _Counter(families.REQUESTS_LIMITED, "head-time")
    heads_large = _Counter(families.REQUESTS_LIMITED, "head-size")
    bodies_slow = _Counter(families.REQUESTS_LIMITED, "body-time")
    bodies_large = _Counter(families.REQUESTS_LIMITED, "body-size")
    bodies_unwanted = _Counter(families.REQUESTS_LIMITED, "body-unwanted")
    answers_unread = _Counter(families.REQUESTS_LIMITED, "response-time")
    bad_tokens = _Counter(families.BAD_TOKENS, "refused")
    bad_tokens_drained = _Counter(families.BAD_TOKENS, "connection-drained")
    bad_tokens_held = _Counter(families.BAD_TOKENS, "reading-paused")

    __slots__ = ("counts", "listener", "metrics")

    def __init__(self, listener: str = "", metrics: ProcessMetrics | None = None) -> None:
        """Count in `metrics` too, under the name of the listener."""
        self.listener, self.metrics = listener, metrics
        self.counts: dict[str, int] = {}

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
