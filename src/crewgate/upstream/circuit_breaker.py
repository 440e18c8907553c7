"""Decides whether a server gets calls: failures in a row open its circuit, a probe closes it.

    CLOSED --too many failures, or bad health checks, in a row--> OPEN
    OPEN --a probe begins, after the backoff--> HALF_OPEN
    HALF_OPEN --enough good probes--> CLOSED; --a bad probe, or more are needed--> OPEN

"When a server is left out" in docs/explanation/upstreams.md says what counts as a failure, and why.
This module has no clock and no randomness: monotonic seconds and jitter are arguments. The caller
sends the probes.
"""

import math
from enum import Enum

from crewgate import limits
from crewgate._datapath.balancer import Admission
from crewgate.config import HealthCheckConfig


class CircuitState(Enum):
    """The state of a circuit: CLOSED lets calls pass, OPEN none, HALF_OPEN only a probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker(Admission):
    """The circuit of one server. Without `health` it is probed only while the circuit is open.

    `admits`: calls pass, because `state` is CLOSED. `doubt_until`: after a failed call the balancer
    prefers other hosts until then (monotonic seconds; 0.0: no recent failure). `probing`: a probe
    is under way.

    `now` is in monotonic seconds and never goes back. `jitter`, from 0 to 1, spreads the probes of
    many workers: a delay is between half and all of the backoff ("equal jitter").
    """

    def __init__(self, health: HealthCheckConfig | None = None) -> None:
        self.state = CircuitState.CLOSED
        self.probing = False
        self._health = health
        self._failures = 0  # failed calls in a row
        self._streak = 0  # probes in a row whose result would change the state
        self._backoff_level = 0  # how often the backoff has doubled since a call was answered
        self._probe_at = math.inf if health is None else 0.0

    def failed(self, now: float, jitter: float) -> bool:
        """Count a failed call; return True if it has opened the circuit.

        A call that began before the circuit opened, and fails after that, changes nothing: or else
        a burst of calls would look like a long outage.
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
        """Count an answered call; it proves nothing once the circuit is open."""
        if self.state is CircuitState.CLOSED:
            self._failures = 0
            self._backoff_level = 0
            self.doubt_until = 0.0

    def is_due(self, now: float) -> bool:
        """Return whether a probe must be sent now; never two at a time."""
        return not self.probing and now >= self._probe_at

    def begin_probe(self) -> None:
        """Record that a probe begins; raise RuntimeError if one is under way."""
        if self.probing:
            raise RuntimeError("a probe of this server is already under way")
        self.probing = True
        if self.state is CircuitState.OPEN:
            self._change(CircuitState.HALF_OPEN)

    def probed(self, now: float, jitter: float, *, good: bool) -> bool:
        """Record the result of a probe; return True if it has opened or closed the circuit.

        Raises RuntimeError if no probe is under way.
        """
        if not self.probing:
            raise RuntimeError("no probe of this server is under way")
        self.probing = False
        if self.state is CircuitState.HALF_OPEN:
            return self._probed_open(now, jitter, good=good)
        if self.state is CircuitState.CLOSED:
            return self._probed_closed(now, jitter, good=good)
        return False  # the probe began before the circuit opened and proves nothing about now

    def seconds_left(self, now: float) -> float:
        """Return the seconds until the next probe, before which no call passes; 0 if calls pass."""
        return 0.0 if self.admits else max(0.0, self._probe_at - now)

    def _probed_open(self, now: float, jitter: float, *, good: bool) -> bool:
        if not good:
            self._change(CircuitState.OPEN)
            self._back_off(now, jitter)
            return False
        self._streak += 1
        if self._health is not None and self._streak < self._health.healthy:
            self._change(CircuitState.OPEN)
            self._probe_at = now + self._health.interval_seconds
            return False
        self._change(CircuitState.CLOSED)
        # A good probe does not prove that calls succeed: one failed call opens the circuit again,
        # with a longer backoff.
        self._failures = limits.breaker_failures - 1
        self._streak = 0
        self._schedule_health_check(now)
        return True

    def _probed_closed(self, now: float, jitter: float, *, good: bool) -> bool:
        self._streak = 0 if good else self._streak + 1
        if self._health is None or self._streak < self._health.unhealthy:
            self._schedule_health_check(now)
            return False
        self._open(now, jitter)
        return True

    def _open(self, now: float, jitter: float) -> None:
        self._change(CircuitState.OPEN)
        self._back_off(now, jitter)

    def _back_off(self, now: float, jitter: float) -> None:
        """Schedule the next probe after a backoff that doubles each time.

        If health checks are configured, the backoff is at most their interval.
        """
        shortest, longest = limits.breaker_seconds_min, limits.breaker_seconds_max
        if self._health is not None:
            longest = min(longest, max(shortest, self._health.interval_seconds))
        backoff = min(shortest * 2**self._backoff_level, longest)
        if backoff < longest:
            self._backoff_level += 1
        self._streak = 0
        self._probe_at = now + backoff * (1 + jitter) / 2

    def _schedule_health_check(self, now: float) -> None:
        """Schedule the next health check, if there are any; calls pass."""
        self._probe_at = math.inf if self._health is None else now + self._health.interval_seconds

    def _change(self, state: CircuitState) -> None:
        self.state = state
        self.admits = self.state is CircuitState.CLOSED
