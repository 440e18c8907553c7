"""How an HTTP/2 connection says that it ends (RFC 9113 §6.8): a notice, then the last stream.

Not announced at once, because clients in the field (httpx 0.28) give up the streams they have when
they hear a GOAWAY: most calls have ended by the time of the notice.
"""

import contextlib

import ngh2
from ngh2 import ErrorCode

from crewgate import limits


class Farewell:
    """The end of one connection, in steps that are each taken once."""

    __slots__ = ("_announce_at", "_engine", "_is_announced", "is_begun", "is_said")

    def __init__(self, engine: ngh2.Connection) -> None:
        self.is_begun = False
        self.is_said = False  # the client has been told which stream is the last
        self._engine = engine
        self._announce_at = 0.0
        self._is_announced = False

    def begin(self, now: float) -> None:
        """Begin to wait for the streams that there are."""
        self.is_begun = True
        self._announce_at = now + limits.drain_notice_seconds

    def look(self, now: float) -> bool:
        """Once a sweep: send the notice when it is time, then the last word; True if one was."""
        if not self.is_begun or self.is_said or now < self._announce_at:
            return False
        if self._is_announced:
            self.say()
        else:
            self._is_announced = True
            with contextlib.suppress(ngh2.NGH2Error):
                self._engine.send_shutdown_notice()
        return True

    def say(self) -> None:
        """Send the GOAWAY that names the last stream that is served; nothing a second time."""
        if not self.is_said:
            self.is_said = True
            with contextlib.suppress(ngh2.NGH2Error):  # it is over without it
                self._engine.send_goaway(ErrorCode.NO_ERROR)
