"""Keeps whether a receiver takes what it is sent: for the log, for health and for a pause."""

import logging
import math
import random
from typing import NamedTuple

import trio

from crewgate import limits
from crewgate.core.health import ComponentHealth, degraded, failed, ok
from crewgate.errors import ReceiverError

_log = logging.getLogger(__name__)


class ReceiverWords(NamedTuple):
    """What log and health say of a receiver after its place, and what to do.

    `mend` is about a failure, `unsaved` about a position that cannot be saved. `disks` are those
    that can hold the process.
    """

    takes_none: str
    has_taken_none: str
    takes_again: str
    mend: str
    unsaved: str
    disks: str


def record_words(name: str, place: str) -> ReceiverWords:
    """Return the words for a receiver of records at a place, of the table [export.NAME]."""
    return ReceiverWords(
        takes_none="takes no records",
        has_taken_none="has taken no records",
        takes_again="takes records again",
        mend=f"start the receiver, or correct its table [export.{name}]",
        unsaved="make room on the disk of `state`; until then, a restart sends records again",
        disks=f"of the audit, of `state` and of {place}",
    )


class ReceiverStatus:
    """The state of one way to a receiver, which is at `place`.

    `why` is the last failure; empty while the receiver takes all. `unsaved` is why the position
    could not be saved. `pause_seconds` is how long to wait after the last failure.
    """

    def __init__(self, name: str, place: str, words: ReceiverWords) -> None:
        self.name = f"export to {name}"
        self.why = ""
        self.unsaved = ""
        self.pause_seconds = 0.0
        self._place, self._words = place, words
        self._mend = words.mend
        self._failing_since: float | None = None
        self._return_logged_at = -math.inf
        self._lost_at = -math.inf
        self._step_at = math.inf

    def begin_step(self, seconds: float = 0.0) -> None:
        """Note that a step begins now: a look, a request or a save, with a bound in `seconds`."""
        self._step_at = trio.current_time() + seconds

    def note_failure(self, error: ReceiverError) -> None:
        """Note that the receiver did not take something, and log a new reason."""
        if self._failing_since is None:
            self._failing_since = trio.current_time()
        if str(error) != self.why:
            _log.warning(
                "%s: %s %s: %s",
                self.name, self._place, self._words.takes_none, error.text_and_mend,
                extra={"subject": self.name},
            )  # fmt: skip
        self.why, self._mend = str(error), error.mend or self._words.mend
        least, most = limits.receiver_backoff_seconds_min, limits.receiver_backoff_seconds_max
        backoff = min(max(2 * self.pause_seconds, least), most)
        if error.retry_seconds is not None:
            backoff = max(error.retry_seconds, least)
        # Several gateways should not come back to a receiver in the same moment.
        self.pause_seconds = backoff * random.uniform(1.0, 1.2)  # noqa: S311

    def note_internal_error(self, error: Exception) -> None:
        """Note and log an error of this program."""
        subject = {"subject": self.name}
        _log.warning("%s: an internal error", self.name, exc_info=error, extra=subject)
        self.note_failure(ReceiverError(f"an internal error ({type(error).__name__})"))

    def note_success(self) -> None:
        """Note that the receiver took something."""
        if self._failing_since is not None:
            now = trio.current_time()
            # A receiver that fails each second time must not fill the log: no limit holds for info.
            if now - self._return_logged_at >= limits.log_repeat_seconds:
                self._return_logged_at = now
                seconds = now - self._failing_since
                again = self._words.takes_again
                _log.info("%s: %s %s after %.0f s", self.name, self._place, again, seconds)
        self._failing_since, self.why, self.pause_seconds = None, "", 0.0

    def note_saved(self, why: str) -> None:
        """Note whether the position was saved: an empty text, or why not."""
        if why and not self.unsaved:
            _log.warning("%s: cannot save the position: %s", self.name, why)
        self.unsaved = why

    def note_lost(self) -> None:
        """Note that records were lost now."""
        self._lost_at = trio.current_time()

    def note_lost_files(self, lost_bytes: int, files: int) -> None:
        """Note and log that files were deleted before they were sent."""
        self.note_lost()
        _log.warning(
            "%s: %d audit files were deleted before at least %d bytes of them were "
            "sent; raise keep_bytes of [audit], or find out why %s is slow",
            self.name,
            files,
            lost_bytes,
            self._place,
        )

    def health(self, backlog_bytes: int, loss: str) -> ComponentHealth:
        """Return whether the receiver takes the records; `loss` says what was lost in all."""
        now = trio.current_time()
        if now - self._step_at > limits.export_stuck_seconds:
            why = f"a file system has not answered for {now - self._step_at:.0f} s"
            mend = f"look at the disks {self._words.disks}"
            return failed(self.name, why, mend, refuses=False)
        if self._failing_since is not None:
            waiting = f"{backlog_bytes / 1e6:.1f} MB of the audit wait"
            seconds = now - self._failing_since
            since = f"{self._place} {self._words.has_taken_none} for {seconds:.0f} s"
            why, grace = f"{since}: {self.why}; {waiting}", limits.receiver_grace_seconds
            return failed(self.name, why, self._mend, refuses=False, grace=grace, logged=True)
        if self.unsaved:
            why = f"its position cannot be saved: {self.unsaved}"
            return degraded(self.name, why, self._words.unsaved, logged=True)
        if now - self._lost_at < limits.export_loss_shown_seconds:
            return degraded(
                self.name, loss, "raise keep_bytes of [audit]; see the log", logged=True
            )
        return ok(self.name)
