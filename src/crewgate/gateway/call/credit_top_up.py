"""The credit that a call under way waits for: asked for again as long as that may help.

Decides how much to ask for, how soon again, and when to give up. Knows neither the call nor what
its credit pays for. An answer that comes early (an agent that is away, or has no room) is no
reason to ask at once: a thousand streams would, for nothing. Nor is a question asked while nobody
vouches for the call's permit: what is drawn could not be taken.
"""

import math
import time
from collections.abc import Callable
from functools import partial

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.core.audit.records import CallOutcome
from crewgate.core.problem_types import Reason
from crewgate.core.verdict import Denial
from crewgate.gateway.call.call_services import CallServices
from crewgate.ipc.attach_messages import CreditDrawn

_OVER = {"exhausted", "closed", "mismatch"}  # what asking again cannot change

Done = Callable[[CallOutcome | None], None]


class CreditTopUp:
    """Of one call. `asking` from a question until its `done` is called, pauses included."""

    __slots__ = (
        "_asked",
        "_forget",
        "_now",
        "_pause",
        "_permit",
        "_services",
        "_stopped",
        "_until",
        "asking",
        "denial",
        "why_late",
    )  # fmt: skip

    def __init__(
        self,
        services: CallServices,
        permit: Permit,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now` is any clock that is never set, in seconds."""
        self._services = services
        self._permit = permit
        self._now = now
        self._stopped = False
        self._forget: Callable[[], None] | None = None  # the pause that is under way
        self.asking = False
        self.denial: Denial | None = None  # where there is no more credit: what the ledger said
        self.why_late = (
            CallOutcome.UNFUNDED
        )  # what the wait that is under way was for at its beginning
        self._until = math.inf
        self._asked = -math.inf
        self._pause = limits.stream_again_seconds_min

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else "asking" if self.asking else "at rest"
        return f"<CreditTopUp {state}>"

    @property
    def is_late(self) -> bool:
        """Whether what is being waited for has taken as long as it may."""
        return self._now() >= self._until

    def ask(self, least: int, most: int, done: Done) -> None:
        """Have `most` drawn, or else `least`; `done` hears why the call must end, or None.

        Asked again without a `rest`, it is for the same piece: others were served first.
        """
        if self._until == math.inf:
            self._until = self._now() + limits.stream_wait_seconds_max
            is_current = self._permit.is_current
            self.why_late = CallOutcome.UNFUNDED if is_current else CallOutcome.UNVOUCHED
        self._ask_in_time(least, most, done)

    def rest(self) -> None:
        """What was asked for is paid: the next question is about something else."""
        self._until = math.inf
        self._asked = -math.inf
        self._pause = limits.stream_again_seconds_min

    def stop(self) -> None:
        """The call has ended: nothing is asked any more, and nobody told."""
        self._stopped, self.asking = True, False
        forget, self._forget = self._forget, None
        if forget is not None:
            forget()

    def _ask_in_time(self, least: int, most: int, done: Done) -> None:
        """Ask, a pause after the last question at the earliest, and once more when time is up."""
        self.asking = True
        seconds = min(self._asked + self._pause, self._until) - self._now()
        if seconds <= 0:
            self._ask(least, most, done)
        else:
            self._forget = self._services.background_tasks.later(
                seconds, partial(self._ask, least, most, done)
            )

    def _ask(self, least: int, most: int, done: Done) -> None:
        self._forget = None
        self._asked = self._now()
        heard = partial(self._on_draw, least, most, done)
        if self._permit.is_current:
            self._services.draw(self._permit.grant, most, heard)
        else:
            heard(None)

    def _on_draw(self, least: int, most: int, done: Done, drawn: CreditDrawn | None) -> None:
        """A whole step is not to be had near the last credit: then what is missing is asked for."""
        if self._stopped:
            return
        status = "" if drawn is None else drawn.status
        if status == "granted":
            self._pause = limits.stream_again_seconds_min
            self._end(done, None)
        elif most > least:
            self._ask(least, least, done)
        elif drawn is not None and status in _OVER:
            self.denial = Denial(
                Reason.CREDITS_EXHAUSTED,
                self._permit.grant,
                level=drawn.level,
                used_micro=drawn.used,
                quota_micro=drawn.quota,
                need_micro=least,
                window_number=drawn.window,
            )
            self._end(done, CallOutcome.EXHAUSTED)
        elif self.is_late:
            self._end(done, self.why_late)
        else:
            self._ask_in_time(least, most, done)
            self._pause = min(2 * self._pause, limits.stream_again_seconds_max)

    def _end(self, done: Done, why: CallOutcome | None) -> None:
        self.asking = False
        done(why)
