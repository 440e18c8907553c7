"""The ladder of the minting watch: observe, throttle, quarantine, and what moves along it.

One orchestrator's place is a row of `LADDER`; a step that has no row raises and changes nothing.
Decides when strikes are enough, when it has been calm for long enough, and which of two words on a
quarantine counts. Knows not what was minted. Strikes and calm are in seconds of a clock that nobody
sets; a quarantine's end, of which others are told, is a second of the day.
"""

import enum
from typing import Final, Literal, NamedTuple

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
    TOLD = "told"  # by the watch of another machine
    LAPSE = "lapsed"  # a quarantine has come to its end


_ORDER: Final = tuple(Rung)

LADDER: Final = {
    (Rung.OBSERVE, Cause.STRIKE): Rung.THROTTLE,
    (Rung.OBSERVE, Cause.OUT): Rung.QUARANTINE,
    (Rung.OBSERVE, Cause.SET): Rung.QUARANTINE,
    (Rung.OBSERVE, Cause.TOLD): Rung.QUARANTINE,
    (Rung.THROTTLE, Cause.STRIKE): Rung.THROTTLE,
    (Rung.THROTTLE, Cause.OUT): Rung.QUARANTINE,
    (Rung.THROTTLE, Cause.CALM): Rung.OBSERVE,
    (Rung.THROTTLE, Cause.SET): Rung.QUARANTINE,
    (Rung.THROTTLE, Cause.LIFT): Rung.OBSERVE,
    (Rung.THROTTLE, Cause.TOLD): Rung.QUARANTINE,
    (Rung.QUARANTINE, Cause.STRIKE): Rung.QUARANTINE,
    (Rung.QUARANTINE, Cause.OUT): Rung.QUARANTINE,
    # Only one that was never in force goes before its end: see `Place.look`.
    (Rung.QUARANTINE, Cause.CALM): Rung.OBSERVE,
    # A person may take over what the watch has set, and either may move its end.
    (Rung.QUARANTINE, Cause.SET): Rung.QUARANTINE,
    (Rung.QUARANTINE, Cause.LIFT): Rung.OBSERVE,
    (Rung.QUARANTINE, Cause.TOLD): Rung.QUARANTINE,
    (Rung.QUARANTINE, Cause.LAPSE): Rung.OBSERVE,
}
_STRICT: Final[tuple[By, ...]] = ("", "watch", "owner")


class IllegalStepError(ValueError):
    """The ladder has no such step from where the orchestrator stands."""


class NoRoomError(IllegalStepError):
    """As many orchestrators are watched as may be."""


class Word(NamedTuple):
    """What was said of an orchestrator at `at`: it is quarantined `until` then, or is let go.

    `by` is who quarantines it, and empty where it is let go. Times are whole seconds since 1970, of
    clocks that may differ.
    """

    at: int
    by: By = ""
    until: int = 0

    @property
    def order(self) -> tuple[int, int, int]:
        """Of two the later one counts, and of two of one time the stricter."""
        return self.at, _STRICT.index(self.by), self.until


class Place:
    """Where one orchestrator stands, and how near it is to the next step.

    `by` says who put it above `observe`. A strike is a minute, not a grant, so that one burst is
    one strike, and whoever is refused and tries again is not moved by that. `owner` is the last
    word of a person, `watch` of a watch, of whatever machine; so that all come to stand alike, in
    whatever order they hear of them. `is_untold`: the others are to hear what the watch says.
    """

    __slots__ = ("by", "is_untold", "owner", "rung", "strikes", "struck", "watch")

    def __init__(self, rung: Rung = Rung.OBSERVE, by: By = "", struck: float = 0.0) -> None:
        self.rung = rung
        self.by: By = by
        self.strikes = 0
        self.struck = struck
        self.owner = self.watch = Word(0)
        self.is_untold = False

    def __repr__(self) -> str:
        return f"<Place {self.rung.value} by={self.by!r} strikes={self.strikes}>"

    @property
    def held(self) -> Word:
        """The word by which it is quarantined; a person's counts for more, and one of none is 0.

        A quarantine without a word has no end: journals have them of before there was one.
        """
        if self.owner.by:
            return self.owner
        return self.watch if self.watch.order > self.owner.order else Word(0)

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

    def hold(self, wall: int, until: int, *, is_untold: bool) -> None:
        """What its strikes have put in quarantine has an end."""
        self.watch = Word(self._next(wall), "watch", until)
        self.is_untold = is_untold

    def look(self, now: float, wall: int, mode: Rung, calm_seconds: float) -> Cause | None:
        """Step down if its time is up, or if it has been calm long enough; why it did.

        A quarantine that is in force waits for its end or for a person: nothing that is refused can
        show that it would be calm. Nor does its end: whoever goes on is quarantined anew by its
        first bad minute. `wall` is 0 where the time of day is not known: then nothing lapses.
        """
        if 0 < self.held.until <= wall:
            self._go(Cause.LAPSE)
            return Cause.LAPSE
        if self.rung is Rung.OBSERVE or now - self.struck < calm_seconds:
            return None
        if self.in_force(mode) is Rung.QUARANTINE:
            return None
        self._go(Cause.CALM)
        return Cause.CALM

    def set(self, wall: int, until: int) -> None:
        """A person quarantines it, until then; also once more, which moves the end."""
        self._move(Cause.SET, "owner")
        self.owner = Word(self._next(wall), "owner", until)

    def lift(self, wall: int) -> None:
        """A person lets it go; IllegalStepError if nothing holds it."""
        if self.rung is Rung.OBSERVE:
            raise IllegalStepError("it is neither throttled nor quarantined")
        self._move(Cause.LIFT, "")
        self.owner = Word(self._next(wall))

    def obey(self, word: Word) -> Cause | None:
        """Do what was said on another machine; None where that moves nothing."""
        held, last = self.held, self.watch if word.by == "watch" else self.owner
        if word.order <= last.order:
            return None
        if word.by == "watch":
            self.watch, self.is_untold = word, False
        else:
            self.owner = word
        by = self.held.by
        if self.held == held if by else word.by or self.rung is Rung.OBSERVE:
            return None
        cause = {"": Cause.LIFT, "watch": Cause.TOLD, "owner": Cause.SET}[by]
        self._move(cause, by)
        return cause

    def _next(self, wall: int) -> int:
        """A time later than that of all that was heard, whatever clocks say."""
        return max(wall, self.owner.at + 1, self.watch.at + 1)

    def _go(self, cause: Cause) -> None:
        """It is let go by itself: what was said until now holds it no more, nor if said again.

        After a restart it is, for as long as the machines keep it.
        """
        self._move(cause, "")
        self.owner, self.watch = (
            Word(each.at + 1) if each.by else each for each in (self.owner, self.watch)
        )

    def _move(self, cause: Cause, by: By) -> None:
        self.rung = LADDER[self.rung, cause]
        self.by = by
        if self.rung is Rung.OBSERVE:
            self.is_untold = False
            self.strikes = self.strikes if cause is Cause.LAPSE else 0
