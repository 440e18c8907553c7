"""Whether one server is called: a circuit that failures open and a probe closes again.

What counts as a failure, as nginx counts it (`proxy_next_upstream error timeout`): a connection
that cannot be made, one that breaks before the head of an answer, and a call that times out before
it. What does not: a kept connection that its server had closed (RFC 9112, section 9.6), a call that
its client or a revocation ended, one whose client owes the rest of the body, and any answer at all.
A 5xx is an answer, and so is a malformed one, or a breach of HTTP/2 by a server that has greeted:
the server is there, one tool or one request of one branch makes it fail, and a branch that could
shut an upstream by asking for errors would stop its siblings. Has no clock and no randomness:
monotonic seconds and jitter arrive as arguments. Knows no connection; whoever calls sends the
probes.
"""

import math
from enum import Enum

from crewgate import limits
from crewgate.config import HealthCheckConfig


class CircuitState(Enum):
    """Of a circuit: calls pass; none pass; none pass and a probe is under way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class _Event(Enum):
    TRIPPED = "too many failures in a row"
    PROBED = "a probe is sent"
    GOOD = "enough good probes in a row"
    MORE = "a good probe, and more are wanted"
    BAD = "a bad probe"


_NEXT = {
    (CircuitState.CLOSED, _Event.TRIPPED): CircuitState.OPEN,
    (CircuitState.OPEN, _Event.PROBED): CircuitState.HALF_OPEN,
    (CircuitState.HALF_OPEN, _Event.GOOD): CircuitState.CLOSED,
    (CircuitState.HALF_OPEN, _Event.MORE): CircuitState.OPEN,
    (CircuitState.HALF_OPEN, _Event.BAD): CircuitState.OPEN,
}


class CircuitBreaker:
    """The circuit of one server. Without `health` probes are sent only while it is open.

    `now` is in monotonic seconds and never goes back. `jitter`, from 0 to 1, spreads the probes of
    many workers: a delay is between half and all of the backoff ("equal jitter").
    """

    __slots__ = (
        "_alike",
        "_failures",
        "_health",
        "_level",
        "_probe_at",
        "admits",
        "doubt_until",
        "probing",
        "state",
    )

    def __init__(self, health: HealthCheckConfig | None = None) -> None:
        self.state = CircuitState.CLOSED
        self.admits = True  # whether calls pass: `state` is CLOSED
        self.doubt_until = 0.0  # of late a call failed: others are preferred until then
        self.probing = False
        self._health = health
        self._failures = 0  # in a row; what calls met
        self._alike = 0  # probes in a row with the answer that would change the state
        self._level = 0  # how often the circuit opened since a call was answered
        self._probe_at = math.inf if health is None else 0.0

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.state.value} {self._failures} failures>"

    def failed(self, now: float, jitter: float) -> bool:
        """Count a failed call; True if that has opened the circuit.

        Calls that began before the circuit opened fail together with those that opened it: they
        change nothing, or a burst would be taken for a long outage.
        """
        if self.state is not CircuitState.CLOSED:
            return False
        self._failures += 1
        self.doubt_until = now + limits.breaker_doubt_seconds
        if self._failures < limits.breaker_failures:
            return False
        self._open(now, jitter)
        return True

    def answered(self) -> None:
        """Count a call whose answer's head has come; it proves nothing once the circuit is open."""
        if self.state is CircuitState.CLOSED:
            self._failures = 0
            self._level = 0
            self.doubt_until = 0.0

    def is_due(self, now: float) -> bool:
        """Return whether a probe is to be sent: one at a time."""
        return not self.probing and now >= self._probe_at

    def begin_probe(self) -> None:
        """A probe is sent: a connection, or the health request where there is one.

        RuntimeError if one is under way.
        """
        if self.probing:
            raise RuntimeError("a probe is under way")
        self.probing = True
        if self.state is CircuitState.OPEN:
            self._move(_Event.PROBED)

    def probed(self, now: float, jitter: float, *, good: bool) -> bool:
        """A probe has ended; True if that has opened or closed the circuit.

        RuntimeError if none was under way.
        """
        if not self.probing:
            raise RuntimeError("no probe is under way")
        self.probing = False
        if self.state is CircuitState.HALF_OPEN:
            return self._probed_open(now, jitter, good=good)
        if self.state is CircuitState.CLOSED:
            return self._probed_closed(now, jitter, good=good)
        return False  # it was sent before the circuit opened and says nothing of the time since

    def seconds_left(self, now: float) -> float:
        """Return how long no call will pass at least: until the next probe; 0 if calls pass."""
        return 0.0 if self.admits else max(0.0, self._probe_at - now)

    def _probed_open(self, now: float, jitter: float, *, good: bool) -> bool:
        if not good:
            self._move(_Event.BAD)
            self._wait(now, jitter)
            return False
        self._alike += 1
        if self._health is not None and self._alike < self._health.healthy:
            self._move(_Event.MORE)
            self._probe_at = now + self._health.interval_seconds
            return False
        self._move(_Event.GOOD)
        # On trial: a probe is no call. One failure opens it again, with a longer backoff.
        self._failures = limits.breaker_failures - 1
        self._alike = 0
        self._watch(now)
        return True

    def _probed_closed(self, now: float, jitter: float, *, good: bool) -> bool:
        self._alike = 0 if good else self._alike + 1
        if self._health is None or self._alike < self._health.unhealthy:
            self._watch(now)
            return False
        self._open(now, jitter)
        return True

    def _open(self, now: float, jitter: float) -> None:
        self._move(_Event.TRIPPED)
        self._wait(now, jitter)

    def _wait(self, now: float, jitter: float) -> None:
        """Let no probe go before a backoff that doubles each time.

        Where health is asked for, no longer than its interval: that is how often it may be asked.
        """
        least, most = limits.breaker_seconds_min, limits.breaker_seconds_max
        if self._health is not None:
            most = min(most, max(least, self._health.interval_seconds))
        backoff = min(least * 2**self._level, most)
        if backoff < most:
            self._level += 1
        self._alike = 0
        self._probe_at = now + backoff * (1 + jitter) / 2

    def _watch(self, now: float) -> None:
        """While calls pass, only a health request is sent."""
        self._probe_at = math.inf if self._health is None else now + self._health.interval_seconds

    def _move(self, event: _Event) -> None:
        self.state = _NEXT[self.state, event]
        self.admits = self.state is CircuitState.CLOSED
