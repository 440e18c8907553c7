"""Draws more credit for a call under way, again and again as long as that may help.

Decides how much to draw, how soon to try again, and when to give up. A refusal that comes at once
(the agent is unavailable, or its queue is full) is no reason to ask again at once: a thousand
streams would do that in vain. While the revocation status of the call's permit is not fresh,
nothing is drawn, because the permit could not take it.
"""

import math
import time
from collections.abc import Callable
from functools import partial

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.core.audit.records import CallOutcome
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.gateway.call.call_services import CallServices
from crewgate.ipc.attach_messages import CreditDrawn

_FINAL = {"exhausted", "mismatch"}  # asking again cannot change these

Done = Callable[[CallOutcome | None], None]


class MidCallTopUp:
    """The draws of one call, one at a time.

    `asking`: from `ask` until `done` is called, pauses included. `denial`: what the ledger said
    when credit was exhausted. `why_late`: the outcome if the wait under way takes too long.
    """

    __slots__ = (
        "_asked",
        "_cancel_pause",
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
        """`now` is a monotonic clock in seconds."""
        self._services = services
        self._permit = permit
        self._now = now
        self._stopped = False
        self._cancel_pause: Callable[[], None] | None = None  # of the pause that is under way
        self.asking = False
        self.denial: Denial | None = None
        self.why_late = CallOutcome.UNFUNDED
        self._until = math.inf
        self._asked = -math.inf
        self._pause = limits.stream_again_seconds_min

    @property
    def is_late(self) -> bool:
        """Whether the wait that is under way has taken too long."""
        return self._now() >= self._until

    def ask(self, least: int, most: int, done: Done) -> None:
        """Draw `most` micro-credits, or else `least`; `done` gets why the call must end, or None.

        A second `ask` without a `rest` in between continues the same wait: other calls of the
        branch took what was drawn.
        """
        if self._until == math.inf:
            self._until = self._now() + limits.stream_wait_seconds_max
            is_current = self._permit.is_current
            self.why_late = CallOutcome.UNFUNDED if is_current else CallOutcome.UNVOUCHED
        self._schedule(least, most, done)

    def rest(self) -> None:
        """End the wait, since what it was for is paid: the next `ask` begins another one."""
        self._until = math.inf
        self._asked = -math.inf
        self._pause = limits.stream_again_seconds_min

    def stop(self) -> None:
        """Draw nothing more, and call `done` no more, because the call has ended."""
        self._stopped, self.asking = True, False
        cancel, self._cancel_pause = self._cancel_pause, None
        if cancel is not None:
            cancel()

    def _schedule(self, least: int, most: int, done: Done) -> None:
        """Draw when the pause since the last draw is over, or when the time of the wait is up."""
        self.asking = True
        seconds = min(self._asked + self._pause, self._until) - self._now()
        if seconds <= 0:
            self._ask(least, most, done)
        else:
            self._cancel_pause = self._services.background_tasks.later(
                seconds, partial(self._ask, least, most, done)
            )

    def _ask(self, least: int, most: int, done: Done) -> None:
        self._cancel_pause = None
        self._asked = self._now()
        answered = partial(self._on_draw, least, most, done)
        if self._permit.is_current:
            self._services.draw(self._permit.grant, most, answered)
        else:
            answered(None)

    def _on_draw(self, least: int, most: int, done: Done, drawn: CreditDrawn | None) -> None:
        """Go on, draw again or give up, after the answer to a draw."""
        if self._stopped:
            return
        status = "" if drawn is None else drawn.status
        if status == "granted":
            self._pause = limits.stream_again_seconds_min
            self._end(done, None)
        elif status == "closed":
            self._end(done, CallOutcome.REVOKED)
        elif most > least:
            # Near the branch's last credit a whole step is refused: draw only what is missing.
            self._ask(least, least, done)
        elif drawn is not None and status in _FINAL:
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
            self._schedule(least, most, done)
            self._pause = min(2 * self._pause, limits.stream_again_seconds_max)

    def _end(self, done: Done, why: CallOutcome | None) -> None:
        self.asking = False
        done(why)
