"""Takes the alerts of the outbox to one receiver: one at a time, again after a failure.

At least once: an alert that a receiver may have taken without an answer is sent again with the same
id. After a failure, the pause before the next attempt grows; the alert of another subject is next.
When the receiver takes alerts again, those that it did not take go by their urgency again: once for
each, so that one which always fails does not come before all others again and again.
An alert that its receiver refuses again and again is given up, but only if the receiver took
another one meanwhile: a receiver that refuses everything is misconfigured, and its alerts wait.
"""

import logging
import math
import random
import time
from collections.abc import Callable

import trio

from crewgate import limits
from crewgate.alerts.channel import AlertChannel
from crewgate.alerts.machine_assignment import MachineAssignment
from crewgate.alerts.outbox import (
    ELSEWHERE,
    EXPIRED,
    REFUSED,
    AlertOutbox,
    ReceiverCounts,
    WaitingAlert,
)
from crewgate.config import AlertConfig
from crewgate.core.health import ComponentHealth, degraded, failed, ok
from crewgate.errors import (
    AlertOutboxError,
    ConfigurationError,
    ReceiverError,
    ReceiverRefusedError,
)
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0  # between two looks into the outbox, which a command may change


class AlertSender:
    """The way of the alerts to one receiver. `wall` is the clock, in seconds since 1970."""

    def __init__(
        self,
        receiver: AlertConfig,
        channel: AlertChannel,
        outbox: AlertOutbox,
        metrics: ProcessMetrics,
        assignment: MachineAssignment,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.receiver = receiver
        self._channel, self._outbox, self._wall = channel, outbox, wall
        self._assignment = assignment
        self._sent = metrics.series(families.ALERTS_DELIVERED, receiver.name)
        self._given_up = metrics.series(families.ALERTS_GIVEN_UP, receiver.name)
        self._waiting = metrics.series(families.ALERTS_WAITING, receiver.name)
        self._counts = ReceiverCounts()
        self._counted_at = -math.inf
        self._backoff = 0.0
        self._failing_since: float | None = None
        self._why = ""
        self._secret_trouble = ""
        self._return_logged_at = -math.inf
        self._failed_seqs = set[int]()  # since the receiver has taken an alert
        self._excused = set[int]()
        self._news = trio.Event()

    def wake(self) -> None:
        """Look into the outbox at once."""
        self._news.set()

    async def run(self, ending: trio.Event) -> None:
        """Send until `ending` is set and no alert is due; or until cancelled."""
        try:
            while True:
                self._news = trio.Event()
                try:
                    await self._count()
                    is_done = await self._send_next()
                except AlertOutboxError as error:
                    _log.warning("%s", error, extra={"subject": "alerts"})
                    is_done = True
                if not is_done:
                    continue
                if ending.is_set():
                    return
                with trio.move_on_after(_LOOK_SECONDS):
                    await self._news.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self._channel.close()

    def health(self) -> ComponentHealth:
        """Return whether the receiver takes the alerts, and what was given up lately."""
        name, counts = self._name, self._counts
        if self._failing_since is not None:
            seconds = trio.current_time() - self._failing_since
            waiting = "1 alert waits" if counts.waiting == 1 else f"{counts.waiting} alerts wait"
            why = (
                f"{self.receiver.place} has taken no alert for {seconds:.0f} s: {self._why}; "
                f"{waiting}"
            )
            mend = (
                f"bring the receiver back, or correct [alert.{self.receiver.name}]; `crewgate "
                "alerts test` says whether it answers"
            )
            grace = limits.receiver_grace_seconds
            return failed(name, why, mend, refuses=False, grace=grace, logged=True)
        if self._secret_trouble:
            # A person must not learn of it with the first alert that does not arrive.
            mend = "put a good secret into that file; then try `crewgate alerts test`"
            return failed(name, self._secret_trouble, mend, refuses=False)
        dropped_ago = self._wall() - counts.dropped_at
        if counts.dropped and dropped_ago < limits.alerts_done_seconds:
            why = (
                f"in all, {counts.dropped} alerts found no room among the "
                f"{limits.alerts_waiting_max} that may wait, the last {dropped_ago / 3600:.1f} "
                "hours ago"
            )
            mend = "choose fewer with `kinds`, `severity` and `crews`"
            return degraded(name, why, mend, logged=True)
        if counts.refused or counts.expired:
            why = (
                f"the receiver refused {counts.refused} alerts, and {counts.expired} waited too "
                "long"
            )
            return degraded(name, why, "see them with `crewgate alerts list`", logged=True)
        return ok(name)

    @property
    def _name(self) -> str:
        return f"alerts to {self.receiver.name}"

    async def _count(self) -> None:
        """Note what waits, and whether the secret can be used, once a second."""
        now = trio.current_time()
        if now - self._counted_at >= _LOOK_SECONDS:
            self._counts = await trio.to_thread.run_sync(self._outbox.counts, self.receiver.name)
            self._secret_trouble = await trio.to_thread.run_sync(self._find_secret_trouble)
            self._counted_at = now
            self._waiting.set(self._counts.waiting)

    def _find_secret_trouble(self) -> str:
        try:
            self._channel.check_secret()
        except ConfigurationError as error:
            return str(error)
        return ""

    async def _send_next(self) -> bool:
        """Try the next alert, and wait after a failure; return True if none is due."""
        name = self.receiver.name
        found = await trio.to_thread.run_sync(self._outbox.next, name, self._wall())
        if found is None:
            return True
        if self._wall() - found.since > limits.alerts_wait_seconds:
            await self._give_up(found, EXPIRED, "")
            return False
        if found.assigned_to and self._assignment.reaches(found.assigned_to):
            await self._end(found, ELSEWHERE, f"machine {found.assigned_to} sends it")
            return False
        try:
            await self._channel.send(found.alert)
        except ReceiverError as error:
            await self._failed(found, error)
        except Exception as error:  # noqa: BLE001 - one receiver must not end the others
            _log.warning("%s: an internal error", self._name, exc_info=True)
            await self._failed(found, ReceiverError(f"an internal error ({type(error).__name__})"))
        else:
            self._note_success()
            await self._until_stored(self._outbox.delivered, name, found.seq, self._wall())
            await self._excuse()
        return False

    async def _excuse(self) -> None:
        """Have the alerts that failed since the last success go by their urgency again."""
        excused = self._failed_seqs - self._excused
        self._failed_seqs.clear()
        if len(self._excused) >= limits.alerts_waiting_max:
            self._excused.clear()
        if excused:
            self._excused |= excused
            await self._until_stored(self._outbox.excuse, self.receiver.name, excused)

    async def _failed(self, found: WaitingAlert, error: ReceiverError) -> None:
        name, is_refusal = self.receiver.name, isinstance(error, ReceiverRefusedError)
        if is_refusal and found.refusals + 1 >= limits.alert_refusals_max:
            run_sync = trio.to_thread.run_sync
            if await run_sync(self._outbox.has_taken_since, name, found.since):
                await self._give_up(found, REFUSED, str(error))
                return
        self._note_failure(error)
        self._failed_seqs.add(found.seq)
        await self._until_stored(
            lambda: self._outbox.failed(name, found.seq, str(error), is_refusal=is_refusal)
        )
        await self._pause()

    async def _give_up(self, found: WaitingAlert, state: str, why: str) -> None:
        _log.warning("%s: gave up %s: %s", self._name, found.alert.id, why or state)
        self._given_up.add()
        await self._end(found, state, why)

    async def _end(self, found: WaitingAlert, state: str, why: str) -> None:
        name = self.receiver.name
        await self._until_stored(self._outbox.give_up, name, found.seq, state, self._wall(), why)

    async def _until_stored(self, store: Callable[..., object], *arguments: object) -> None:
        """Store the end of an attempt; without it, the alert would be sent again at once."""
        while True:
            try:
                await trio.to_thread.run_sync(store, *arguments)
            except AlertOutboxError as error:
                _log.warning("%s", error, extra={"subject": "alerts"})
                await trio.sleep(_LOOK_SECONDS)
            else:
                return

    async def _pause(self) -> None:
        """Wait for the backoff, or until a person asks to try again."""
        name, run_sync = self.receiver.name, trio.to_thread.run_sync
        until = trio.current_time() + self._backoff
        asked = await run_sync(self._outbox.tried, name)
        while (now := trio.current_time()) < until:
            await trio.sleep_until(min(until, now + _LOOK_SECONDS))
            await self._count()
            if await run_sync(self._outbox.tried, name) != asked:
                self._backoff = 0.0
                return

    def _note_failure(self, error: ReceiverError) -> None:
        if self._failing_since is None:
            self._failing_since = trio.current_time()
        if str(error) != self._why:
            _log.warning(
                "%s: %s takes no alert: %s", self._name, self.receiver.place, error,
                extra={"subject": self._name},
            )  # fmt: skip
        self._why = str(error)
        least, most = limits.receiver_backoff_seconds_min, limits.receiver_backoff_seconds_max
        self._backoff = min(max(2 * self._backoff, least), most)
        pause = self._backoff
        if error.retry_seconds is not None:
            pause = max(error.retry_seconds, least)
        # Several gateways should not come back to a receiver in the same moment.
        self._backoff = pause * random.uniform(1.0, 1.2)  # noqa: S311

    def _note_success(self) -> None:
        self._sent.add()
        now = trio.current_time()
        is_news = now - self._return_logged_at >= limits.log_repeat_seconds
        if self._failing_since is not None and is_news:
            self._return_logged_at = now
            seconds, place = now - self._failing_since, self.receiver.place
            _log.info("%s: %s takes alerts again after %.0f s", self._name, place, seconds)
        self._failing_since, self._why, self._backoff = None, "", 0.0
