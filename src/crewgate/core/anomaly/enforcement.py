"""The enforcement state machine of the minting watch: observe, throttle, quarantine.

`TRANSITIONS` is the whole machine. This module decides when there are enough strikes, when an
orchestrator has been calm for long enough, and which of two quarantine orders counts.

Example with 3 strikes: minutes 1 and 2 over a limit throttle the orchestrator, and minute 3
quarantines it. Had `calm_seconds` passed after minute 2, it would be at `observe` again, and minute
3 its first strike.

Strikes and calm are measured with a monotonic clock. The end of a quarantine, which other machines
get, is a wall time (seconds since the epoch).
"""

import enum
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

By = Literal["", "watch", "owner"]


class EnforcementLevel(enum.Enum):
    """What the watch does to an orchestrator; the value is used in configuration and audit.

    `OBSERVE` only learns. `THROTTLE` admits new branches at the usual rate. `QUARANTINE` admits no
    new branch and no higher quota; live branches continue.
    """

    OBSERVE = "observe"
    THROTTLE = "throttle"
    QUARANTINE = "quarantine"

    def at_most(self, highest: "EnforcementLevel") -> "EnforcementLevel":
        """Return this level, but at most `highest`."""
        return min(self, highest, key=_ORDER.index)


class TransitionCause(enum.Enum):
    """Why an orchestrator's state changes; the value is the name in the audit log.

    `STRIKE` is a minute over a limit, and `OUT` the strike that is one too many. `CALM` is a long
    time without a strike, and `LAPSE` the end of a quarantine. A person orders `SET` and `LIFT`;
    the watch of another machine orders `REMOTE`.
    """

    STRIKE = "strike"
    OUT = "struck-out"
    CALM = "calm"
    SET = "set"
    LIFT = "lifted"
    REMOTE = "remote"
    LAPSE = "lapsed"


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
    # Only a quarantine that is not in force ends by calm: see `step_down_if_due`.
    (EnforcementLevel.QUARANTINE, TransitionCause.CALM): EnforcementLevel.OBSERVE,
    # A person may take over the watch's quarantine, and both may change its end.
    (EnforcementLevel.QUARANTINE, TransitionCause.SET): EnforcementLevel.QUARANTINE,
    (EnforcementLevel.QUARANTINE, TransitionCause.LIFT): EnforcementLevel.OBSERVE,
    (EnforcementLevel.QUARANTINE, TransitionCause.REMOTE): EnforcementLevel.QUARANTINE,
    (EnforcementLevel.QUARANTINE, TransitionCause.LAPSE): EnforcementLevel.OBSERVE,
}
_STRICT: Final[tuple[By, ...]] = ("", "watch", "owner")


class IllegalStepError(ValueError):
    """The orchestrator's present level has no such transition."""


class NoRoomError(IllegalStepError):
    """The watch has its maximum number of orchestrators."""


class EnforcementOrder(NamedTuple):
    """An order of time `at`: to quarantine an orchestrator `until` a time, or to release it.

    `by` says who orders the quarantine; it is empty for a release. Times are whole seconds since
    the epoch, of clocks that may differ.
    """

    at: int
    by: By = ""
    until: int = 0

    @property
    def order(self) -> tuple[int, int, int]:
        """The sort key: the later order counts; of two orders of one time, the stricter one."""
        return self.at, _STRICT.index(self.by), self.until


_NO_ORDER: Final = EnforcementOrder(0)


@dataclass(slots=True, eq=False)
class EnforcementState:
    """The level of one orchestrator, and how near it is to the next one.

    `by` says who put it above `observe`. A strike is a minute, not a grant: one burst is one
    strike, and a client that retries after a refusal makes it no worse. `struck` is the time of the
    last strike. `owner` is the last order of a person and `watch` that of a watch, on any machine;
    with these two, all machines reach the same state, in whatever order they receive the orders.
    `is_untold`: the watch's order must still be announced to the other machines.
    """

    level: EnforcementLevel = EnforcementLevel.OBSERVE
    by: By = ""
    struck: float = 0.0
    strikes: int = 0
    owner: EnforcementOrder = _NO_ORDER
    watch: EnforcementOrder = _NO_ORDER
    is_untold: bool = False

    @property
    def held(self) -> EnforcementOrder:
        """The order that quarantines it; a person's counts more than a watch's.

        Without an order it is `_NO_ORDER`. A quarantine without an order has no end; old
        journals have such quarantines.
        """
        if self.owner.by:
            return self.owner
        return self.watch if self.watch.order > self.owner.order else _NO_ORDER

    def in_force(self, mode: EnforcementLevel) -> EnforcementLevel:
        """Return the level to apply: at most `mode`, unless a person has set it."""
        return self.level if self.by == "owner" else self.level.at_most(mode)

    def strike(self, now: float, strikes_max: int, calm_seconds: float) -> TransitionCause:
        """Count a minute over a limit, and return the cause of the transition."""
        if now - self.struck >= calm_seconds:
            self.strikes = 0
        self.strikes = min(self.strikes + 1, strikes_max)
        self.struck = now
        cause = TransitionCause.OUT if self.strikes >= strikes_max else TransitionCause.STRIKE
        self._move(cause, self.by or "watch")
        return cause

    def hold(self, wall: int, until: int, *, is_untold: bool) -> None:
        """Set the end of a quarantine that strikes have caused."""
        self.watch = EnforcementOrder(self._next_time(wall), "watch", until)
        self.is_untold = is_untold

    def step_down_if_due(
        self, now: float, wall: int, mode: EnforcementLevel, calm_seconds: float
    ) -> TransitionCause | None:
        """Return to `observe` if a quarantine has lapsed, or after enough calm; return the cause.

        Calm does not end a quarantine that is in force, because an orchestrator that is refused
        cannot show calm. A lapse keeps the strikes, so the first minute over a limit quarantines it
        again. `wall` is 0 if the wall time is unknown; then nothing lapses.
        """
        if 0 < self.held.until <= wall:
            self._release(TransitionCause.LAPSE)
            return TransitionCause.LAPSE
        if self.level is EnforcementLevel.OBSERVE or now - self.struck < calm_seconds:
            return None
        if self.in_force(mode) is EnforcementLevel.QUARANTINE:
            return None
        self._release(TransitionCause.CALM)
        return TransitionCause.CALM

    def set(self, wall: int, until: int) -> None:
        """Quarantine it by a person's order until a time, or change the end of that quarantine."""
        self._move(TransitionCause.SET, "owner")
        self.owner = EnforcementOrder(self._next_time(wall), "owner", until)

    def lift(self, wall: int) -> None:
        """Release it by a person's order. Raises IllegalStepError if it is at `observe`."""
        if self.level is EnforcementLevel.OBSERVE:
            raise IllegalStepError("it is neither throttled nor quarantined")
        self._move(TransitionCause.LIFT, "")
        self.owner = EnforcementOrder(self._next_time(wall))

    def apply_remote(self, order: EnforcementOrder) -> TransitionCause | None:
        """Apply an order of another machine; return the cause, or None if nothing changes."""
        held, last = self.held, self.watch if order.by == "watch" else self.owner
        if order.order <= last.order:
            return None
        if order.by == "watch":
            self.watch, self.is_untold = order, False
        else:
            self.owner = order
        by = self.held.by
        if self.held == held if by else order.by or self.level is EnforcementLevel.OBSERVE:
            return None
        cause = {
            "": TransitionCause.LIFT,
            "watch": TransitionCause.REMOTE,
            "owner": TransitionCause.SET,
        }[by]
        self._move(cause, by)
        return cause

    def _next_time(self, wall: int) -> int:
        """Return the wall time, or a later time if a known order is not older than that."""
        return max(wall, self.owner.at + 1, self.watch.at + 1)

    def _release(self, cause: TransitionCause) -> None:
        """Return to `observe` by itself, and ignore the known orders, also if they come again.

        After a restart such an order counts again, for as long as the other machines keep it.
        """
        self._move(cause, "")
        self.owner, self.watch = (
            EnforcementOrder(each.at + 1) if each.by else each for each in (self.owner, self.watch)
        )

    def _move(self, cause: TransitionCause, by: By) -> None:
        self.level = TRANSITIONS[self.level, cause]
        self.by = by
        if self.level is EnforcementLevel.OBSERVE:
            self.is_untold = False
            self.strikes = self.strikes if cause is TransitionCause.LAPSE else 0
