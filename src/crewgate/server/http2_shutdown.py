"""Ends an HTTP/2 connection in two steps (RFC 9113 §6.8): a notice, then the final GOAWAY.

1. The notice, a GOAWAY with the highest stream number, asks the client to send no new request. A
   request that is already on its way is still served.
2. One sweep later, the final GOAWAY names the last stream that is served.

The notice waits for a moment without streams, at most `limits.drain_notice_seconds`: some clients
(httpx 0.28) give up their open streams when they receive a GOAWAY. If the listener itself ends, the
shutdown is urgent: at the first such moment the final GOAWAY is sent without a notice, because no
process would serve a further request.
"""

import contextlib

import ngh2
from ngh2 import ErrorCode

from crewgate import limits
from crewgate.server.http2_settings import ServerEngine


class GracefulShutdown:
    """The shutdown of one connection; each step is taken once.

    `is_begun`: a drain was requested. `is_sent`: the final GOAWAY has been queued.
    """

    __slots__ = ("_engine", "_is_announced", "_is_urgent", "_next_step_at", "is_begun", "is_sent")

    def __init__(self, engine: ServerEngine) -> None:
        self.is_begun = False
        self.is_sent = False
        self._engine = engine
        self._is_announced = False
        self._is_urgent = False
        self._next_step_at = 0.0  # the next step is due then, even if streams are open

    def begin(self, now: float, *, urgent: bool) -> None:
        """Begin to wait for a moment without streams; a second call may make it urgent."""
        self._is_urgent = self._is_urgent or urgent
        if not self.is_begun:
            self.is_begun = True
            self._next_step_at = now + limits.drain_notice_seconds

    def idle(self, now: float) -> bool:
        """Take the next step, as no stream is open; return True if all steps were taken before."""
        if self.is_sent:
            return True
        if self._is_urgent:
            self._send()
        elif not self._is_announced:
            self._announce(now)
        return False

    def advance(self, now: float) -> bool:
        """Take the step that is due at `now`, once a sweep; return whether there was one."""
        if not self.is_begun or self.is_sent or now < self._next_step_at:
            return False
        if self._is_announced:
            self._send()
        else:
            self._announce(now)
        return True

    def _announce(self, now: float) -> None:
        self._is_announced = True
        self._next_step_at = now + limits.sweep_seconds  # more than a round trip
        with contextlib.suppress(ngh2.NGH2Error):
            self._engine.send_shutdown_notice()

    def _send(self) -> None:
        self.is_sent = True
        with contextlib.suppress(ngh2.NGH2Error):  # the connection has ended without it
            self._engine.send_goaway(ErrorCode.NO_ERROR)
