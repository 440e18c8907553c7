"""How an HTTP/2 connection says that it ends (RFC 9113 §6.8): a notice, then the last stream.

The notice lets a request that is on its way come in. It waits for a moment without streams, but not
for long, because clients in the field (httpx 0.28) give up the streams they have when they hear a
GOAWAY. Where the listener itself ends there is no notice at such a moment: the next request would
find nobody anyway.
"""

import contextlib

import ngh2
from ngh2 import ErrorCode

from crewgate import limits


class GracefulShutdown:
    """The end of one connection, in steps that are each taken once."""

    __slots__ = ("_engine", "_is_announced", "_is_urgent", "_next_at", "is_begun", "is_sent")

    def __init__(self, engine: ngh2.Connection) -> None:
        self.is_begun = False
        self.is_sent = False  # the client has been told which stream is the last
        self._engine = engine
        self._is_announced = False
        self._is_urgent = False
        self._next_at = 0.0  # of the step that is due whether there are streams or not

    def begin(self, now: float, *, urgent: bool) -> None:
        """Begin to wait for a moment without streams; once more may make it urgent."""
        self._is_urgent = self._is_urgent or urgent
        if not self.is_begun:
            self.is_begun = True
            self._next_at = now + limits.drain_notice_seconds

    def idle(self, now: float) -> bool:
        """There is no stream now: take the next step; True if the last has been taken before."""
        if self.is_sent:
            return True
        if self._is_urgent:
            self._send()
        elif not self._is_announced:
            self._announce(now)
        return False

    def advance(self, now: float) -> bool:
        """Once a sweep: take the step that is due; True if there was one."""
        if not self.is_begun or self.is_sent or now < self._next_at:
            return False
        if self._is_announced:
            self._send()
        else:
            self._announce(now)
        return True

    def _announce(self, now: float) -> None:
        self._is_announced = True
        self._next_at = now + limits.sweep_seconds  # more than the way there and back
        with contextlib.suppress(ngh2.NGH2Error):
            self._engine.send_shutdown_notice()

    def _send(self) -> None:
        """Send the GOAWAY that names the last stream that is served."""
        self.is_sent = True
        with contextlib.suppress(ngh2.NGH2Error):  # it is over without it
            self._engine.send_goaway(ErrorCode.NO_ERROR)
