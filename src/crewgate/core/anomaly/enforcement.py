"""The ladder of the minting watch: observe, throttle, quarantine, and what moves along it.

One orchestrator's place is a row of `TRANSITIONS`; a step that has no row raises and changes
nothing. Decides when strikes are enough, when it has been calm for long enough, and which of two
words on a quarantine counts. Knows not what was minted. Strikes and calm are in seconds of a clock
that nobody sets; a quarantine's end, of which others are told, is a second of the day.
"""

import enum
from typing import Final, Literal, NamedTuple

By = Literal["", "watch", "owner"]


class EnforcementLevel(enum.Enum):
    """Where an orchestrator stands; the value is the word of configuration and audit."""

    OBSERVE = "observe"  # nothing but its baseline is kept
    THROTTLE = "throttle"  # new branches at its usual rate
    QUARANTINE = "quarantine"  # no new grants; its live branches go on

    def at_most(self, most: "EnforcementLevel") -> "EnforcementLevel":
        """The lower one of two."""
        return min(self, most, key=_ORDER.index)


class TransitionCause(enum.Enum):
    """Why an orchestrator moves, or is looked at again; the value is the audit's word."""

    STRIKE = "strike"  # a minute in which something was out of bounds
    OUT = "struck-out"  # one more of those, and no calm in between
    CALM = "calm"
    SET = "set"  # by a person
    LIFT = "lifted"  # by a person
    REMOTE = "remote"  # by the watch of another machine
    LAPSE = "lapsed"  # a quarantine has come to its end


_ORDER: Final = tuple(EnforcementLevel)

TRANSITIONS: Final = {
    (EnforcementLevel.OBSERVE, TransitionCause.STRIKE): EnforcementLevel.THROTTLE,
    (EnforcementLevel.OBSERVE, TransitionCause.OUT): EnforcementLevel.QUARANTINE,
    (EnforcementLevel.OBSERVE, TransitionCause.SET): EnforcementLevel.QUARANTINE,
    (EnforcementLevel.OBSERVE, TransitionCause.REMOTE): EnforcementLevel.QUARANTINE,
    (EnforcementLevel.THROTTLE, TransitionCause.STRIKE): EnforcementLevel.THROTTLE,
    (EnforcementLevel.THROTTLE, TransitionCause.OUT): EnforcementLevel.QUARANTINE,
    (EnforcementLevel.THROTTLE, TransitionCause.CALM): EnforcementLevel.OBSERVE,
    (EnforcementLevel.THROTTLE, TransitionCause.SET): EnforcementLevel.QUARANTINE,
    (EnforcementLevel.THROTTLE, TransitionCause.LIFT): EnforcementLevel.OBSERVE,
    (EnforcementLevel.THROTTLE, TransitionCause.REMOTE): EnforcementLevel.QUARANTINE,
    (EnforcementLevel.QUARANTINE, TransitionCause.STRIKE): EnforcementLevel.QUARANTINE,
    (EnforcementLevel.QUARANTINE, TransitionCause.OUT): EnforcementLevel.QUARANTINE,
    # Only one that was never in force goes before its end: see `Place.look`.
    (EnforcementLevel.QUARANTINE, TransitionCause.CALM): EnforcementLevel.OBSERVE,
    # A person may take over what the watch has set, and either may move its end.
    (EnforcementLevel.QUARANTINE, TransitionCause.SET): EnforcementLevel.QUARANTINE,
    (EnforcementLevel.QUARANTINE, TransitionCause.LIFT): EnforcementLevel.OBSERVE,
    (EnforcementLevel.QUARANTINE, TransitionCause.REMOTE): EnforcementLevel.QUARANTINE,
    (EnforcementLevel.QUARANTINE, TransitionCause.LAPSE): EnforcementLevel.OBSERVE,
}
_STRICT: Final[tuple[By, ...]] = ("", "watch", "owner")


class IllegalStepError(ValueError):
    """The ladder has no such step from where the orchestrator stands."""


class NoRoomError(IllegalStepError):
    """As many orchestrators are watched as may be."""


class QuarantineOrder(NamedTuple):
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


class EnforcementState:
    """Where one orchestrator stands, and how near it is to the next step.

    `by` says who put it above `observe`. A strike is a minute, not a grant, so that one burst is
    one strike, and whoever is refused and tries again is not moved by that. `owner` is the last
    word of a person, `watch` of a watch, of whatever machine; so that all come to stand alike, in
    whatever order they hear of them. `is_untold`: the others are to hear what the watch says.
    """

    __slots__ = ("by", "is_untold", "level", "owner", "strikes", "struck", "watch")

    def __init__(
        self, level: EnforcementLevel = EnforcementLevel.OBSERVE, by: By = "", struck: float = 0.0
    ) -> None:
        self.level = level
        self.by: By = by
        self.strikes = 0
        self.struck = struck
        self.owner = self.watch = QuarantineOrder(0)
        self.is_untold = False

    def __repr__(self) -> str:
        return f"<EnforcementState {self.level.value} by={self.by!r} strikes={self.strikes}>"

    @property
    def held(self) -> QuarantineOrder:
        """The word by which it is quarantined; a person's counts for more, and one of none is 0.

        A quarantine without a word has no end: journals have them of before there was one.
        """
        if self.owner.by:
            return self.owner
        return self.watch if self.watch.order > self.owner.order else QuarantineOrder(0)

    def in_force(self, mode: EnforcementLevel) -> EnforcementLevel:
        """What is done about it: no more than `mode`, but always what a person has set."""
        return self.level if self.by == "owner" else self.level.at_most(mode)

    def strike(self, now: float, strikes_max: int, calm_seconds: float) -> TransitionCause:
        """A minute was out of bounds; the cause with which it moved."""
        if now - self.struck >= calm_seconds:
            self.strikes = 0
        self.strikes = min(self.strikes + 1, strikes_max)
        self.struck = now
        cause = TransitionCause.OUT if self.strikes >= strikes_max else TransitionCause.STRIKE
        self._move(cause, self.by or "watch")
        return cause

    def hold(self, wall: int, until: int, *, is_untold: bool) -> None:
        """What its strikes have put in quarantine has an end."""
        self.watch = QuarantineOrder(self._next(wall), "watch", until)
        self.is_untold = is_untold

    def step_down_if_due(
        self, now: float, wall: int, mode: EnforcementLevel, calm_seconds: float
    ) -> TransitionCause | None:
        """Step down if its time is up, or if it has been calm long enough; why it did.

        A quarantine that is in force waits for its end or for a person: nothing that is refused can
        show that it would be calm. Nor does its end: whoever goes on is quarantined anew by its
        first bad minute. `wall` is 0 where the time of day is not known: then nothing lapses.
        """
        if 0 < self.held.until <= wall:
            self._go(TransitionCause.LAPSE)
            return TransitionCause.LAPSE
        if self.level is EnforcementLevel.OBSERVE or now - self.struck < calm_seconds:
            return None
        if self.in_force(mode) is EnforcementLevel.QUARANTINE:
            return None
        self._go(TransitionCause.CALM)
        return TransitionCause.CALM

    def set(self, wall: int, until: int) -> None:
        """A person quarantines it, until then; also once more, which moves the end."""
        self._move(TransitionCause.SET, "owner")
        self.owner = QuarantineOrder(self._next(wall), "owner", until)

    def lift(self, wall: int) -> None:
        """A person lets it go; IllegalStepError if nothing holds it."""
        if self.level is EnforcementLevel.OBSERVE:
            raise IllegalStepError("it is neither throttled nor quarantined")
        self._move(TransitionCause.LIFT, "")
        self.owner = QuarantineOrder(self._next(wall))

    def apply_remote(self, word: QuarantineOrder) -> TransitionCause | None:
        """Do what was said on another machine; None where that moves nothing."""
        held, last = self.held, self.watch if word.by == "watch" else self.owner
        if word.order <= last.order:
            return None
        if word.by == "watch":
            self.watch, self.is_untold = word, False
        else:
            self.owner = word
        by = self.held.by
        if self.held == held if by else word.by or self.level is EnforcementLevel.OBSERVE:
            return None
        cause = {
            "": TransitionCause.LIFT,
            "watch": TransitionCause.REMOTE,
            "owner": TransitionCause.SET,
        }[by]
        self._move(cause, by)
        return cause

    def _next(self, wall: int) -> int:
        """A time later than that of all that was heard, whatever clocks say."""
        return max(wall, self.owner.at + 1, self.watch.at + 1)

    def _go(self, cause: TransitionCause) -> None:
        """It is let go by itself: what was said until now holds it no more, nor if said again.

        After a restart it is, for as long as the machines keep it.
        """
        self._move(cause, "")
        self.owner, self.watch = (
            QuarantineOrder(each.at + 1) if each.by else each for each in (self.owner, self.watch)
        )

    def _move(self, cause: TransitionCause, by: By) -> None:
        self.level = TRANSITIONS[self.level, cause]
        self.by = by
        if self.level is EnforcementLevel.OBSERVE:
            self.is_untold = False
            self.strikes = self.strikes if cause is TransitionCause.LAPSE else 0
