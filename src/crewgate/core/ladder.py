"""The ladder of the minting watch: observe, throttle, quarantine, and what moves along it.

One orchestrator's place is a row of `LADDER`; a step that has no row raises and changes nothing.
Decides when strikes are enough and when it has been calm for long enough. Knows neither what was
minted nor the time of day: times are seconds of a clock that nobody sets.
"""

import enum
from typing import Final, Literal

By = Literal["", "watch", "owner"]


class Rung(enum.Enum):
    """Where an orchestrator stands; the value is the word of configuration and audit."""

    OBSERVE = "observe"  # nothing but its baseline is kept
    THROTTLE = "throttle"  # new branches at its usual rate
    QUARANTINE = "quarantine"  # no new grants; its live branches go on

    def at_most(self, most: "Rung") -> "Rung":
        """The lower one of two."""
        return min(self, most, key=_ORDER.index)


class Cause(enum.Enum):
    """Why an orchestrator moves, or is looked at again; the value is the audit's word."""

    STRIKE = "strike"  # a minute in which something was out of bounds
    OUT = "struck-out"  # one more of those, and no calm in between
    CALM = "calm"
    SET = "set"  # by a person
    LIFT = "lifted"  # by a person


_ORDER: Final = tuple(Rung)

LADDER: Final = {
    (Rung.OBSERVE, Cause.STRIKE): Rung.THROTTLE,
    (Rung.OBSERVE, Cause.OUT): Rung.QUARANTINE,
    (Rung.OBSERVE, Cause.SET): Rung.QUARANTINE,
    (Rung.THROTTLE, Cause.STRIKE): Rung.THROTTLE,
    (Rung.THROTTLE, Cause.OUT): Rung.QUARANTINE,
    (Rung.THROTTLE, Cause.CALM): Rung.OBSERVE,
    (Rung.THROTTLE, Cause.SET): Rung.QUARANTINE,
    (Rung.THROTTLE, Cause.LIFT): Rung.OBSERVE,
    (Rung.QUARANTINE, Cause.STRIKE): Rung.QUARANTINE,
    (Rung.QUARANTINE, Cause.OUT): Rung.QUARANTINE,
    # Only one that was never in force goes by itself: see `Place.look`.
    (Rung.QUARANTINE, Cause.CALM): Rung.OBSERVE,
    # A person may take over what the watch has set.
    (Rung.QUARANTINE, Cause.SET): Rung.QUARANTINE,
    (Rung.QUARANTINE, Cause.LIFT): Rung.OBSERVE,
}


class IllegalStepError(ValueError):
    """The ladder has no such step from where the orchestrator stands."""


class Place:
    """Where one orchestrator stands, and how near it is to the next step.

    `by` says who put it above `observe`. A strike is a minute, not a grant, so that one burst is
    one strike, and whoever is refused and tries again is not moved by that.
    """

    __slots__ = ("by", "rung", "strikes", "struck")

    def __init__(self, rung: Rung = Rung.OBSERVE, by: By = "", struck: float = 0.0) -> None:
        self.rung = rung
        self.by: By = by
        self.strikes = 0
        self.struck = struck

    def __repr__(self) -> str:
        return f"<Place {self.rung.value} by={self.by!r} strikes={self.strikes}>"

    def in_force(self, mode: Rung) -> Rung:
        """What is done about it: no more than `mode`, but always what a person has set."""
        return self.rung if self.by == "owner" else self.rung.at_most(mode)

    def strike(self, now: float, strikes_max: int, calm_seconds: float) -> Cause:
        """A minute was out of bounds; the cause with which it moved."""
        if now - self.struck >= calm_seconds:
            self.strikes = 0
        self.strikes = min(self.strikes + 1, strikes_max)
        self.struck = now
        cause = Cause.OUT if self.strikes >= strikes_max else Cause.STRIKE
        self._move(cause, self.by or "watch")
        return cause

    def look(self, now: float, mode: Rung, calm_seconds: float) -> bool:
        """Step down if it has been calm long enough; True if that was so.

        A quarantine that is in force stays until a person lifts it: nothing that is refused can
        show that it would be calm.
        """
        if self.rung is Rung.OBSERVE or now - self.struck < calm_seconds:
            return False
        if self.in_force(mode) is Rung.QUARANTINE:
            return False
        self._move(Cause.CALM, "")
        return True

    def set(self) -> None:
        """A person quarantines it; IllegalStepError if one has already."""
        if self.by == "owner":
            raise IllegalStepError("it is quarantined already")
        self._move(Cause.SET, "owner")

    def lift(self) -> None:
        """A person lets it go; IllegalStepError if nothing holds it."""
        if self.rung is Rung.OBSERVE:
            raise IllegalStepError("it is neither throttled nor quarantined")
        self._move(Cause.LIFT, "")

    def _move(self, cause: Cause, by: By) -> None:
        self.rung = LADDER[self.rung, cause]
        self.by = by
        if self.rung is Rung.OBSERVE:
            self.strikes = 0
