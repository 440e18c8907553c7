"""Sends the records of the audit over one channel: in batches, again after a failure, in order.

At least once: a batch that a receiver may have taken without an answer is sent again, and a crash
repeats the records since the last saved position. A record keeps its id, so a receiver can drop the
repetition. A record that its receiver refuses is given up, but only if the receiver took another
one of the same batch: a receiver that refuses everything is misconfigured, and waits.
"""

import logging
import math
import random
from collections import deque
from collections.abc import Sequence

import trio

from crewgate import limits
from crewgate.audit.audit_entry import AuditEntry
from crewgate.audit.audit_tail import AuditTail, Batch
from crewgate.core.health import ComponentHealth, degraded, failed, ok
from crewgate.errors import ReceiverError, ReceiverRefusedError
from crewgate.export.channel import Channel
from crewgate.export.export_metrics import ExportMetrics
from crewgate.export.position_file import ExportPosition, PositionFile
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.runtime.durable_files import cause

_log = logging.getLogger(__name__)


class Delivery:
    """The way of the audit over one channel. `place` is where its receiver is, for texts."""

    def __init__(
        self,
        channel: Channel,
        place: str,
        tail: AuditTail[ExportPosition],
        file: PositionFile,
        metrics: ProcessMetrics,
    ) -> None:
        self._channel = channel
        self._metrics = ExportMetrics(metrics, channel.name)
        self._place = place
        self._tail = tail
        self._file = file
        self._backoff = 0.0
        self._records_max = limits.audit_batch_records_max  # in one request
        self._failing_since: float | None = None
        self._why = ""
        self._unsaved = ""  # why the position could not be saved
        self._saved_at = -math.inf
        self._lost_at = -math.inf
        self._return_logged_at = -math.inf
        self._step_at = math.inf  # when the last step began: a look, a request or a save

    async def run(self, ending: trio.Event) -> None:
        """Send until `ending` is set and all is sent; or until cancelled."""
        batch, is_last_look = Batch(), False
        try:
            while True:
                self._step_at = trio.current_time()
                await trio.to_thread.run_sync(self._tail.read, batch)
                self._note_losses()
                if not batch.ends:
                    if is_last_look:
                        return
                    if ending.is_set():
                        is_last_look = True
                        self._tail.look_at_once()
                        continue
                    await self._save(seconds=limits.export_save_seconds)
                    with trio.move_on_after(limits.audit_look_seconds):
                        await ending.wait()
                elif await self._try_batch(batch):
                    batch = Batch()
                    await self._save(seconds=limits.export_save_seconds)
                else:
                    await self._pause()
        finally:
            with trio.CancelScope(shield=True):
                await self._save(seconds=0.0)
                await self._channel.close()

    def health(self) -> ComponentHealth:
        """Return whether the receiver takes the records, and what was lost lately."""
        self._metrics.backlog.set(self._tail.backlog_bytes)
        name = f"export to {self._channel.name}"
        now = trio.current_time()
        if now - self._step_at > limits.export_stuck_seconds:
            why = f"a file system has not answered for {now - self._step_at:.0f} s"
            mend = f"look at the disks of the audit, of `state` and of {self._place}"
            return failed(name, why, mend, refuses=False)
        if self._failing_since is not None:
            waiting = f"{self._tail.backlog_bytes / 1e6:.1f} MB of the audit wait"
            seconds = now - self._failing_since
            why = f"{self._place} has taken no records for {seconds:.0f} s: {self._why}"
            mend = "start the receiver, or correct its table [export.NAME]"
            grace = limits.receiver_grace_seconds
            return failed(name, f"{why}; {waiting}", mend, refuses=False, grace=grace, logged=True)
        if self._unsaved:
            why = f"its position cannot be saved: {self._unsaved}"
            return degraded(name, why, "until then, a restart sends records again", logged=True)
        if now - self._lost_at < limits.export_loss_shown_seconds:
            found = self._tail.position
            why = (
                f"in all, {found.lost_bytes} bytes of {found.lost_files} audit files were deleted "
                f"before they were sent, and the receiver refused {found.refused} records"
            )
            return degraded(name, why, "raise keep_bytes of [audit]; see the log", logged=True)
        return ok(name)

    async def _pause(self) -> None:
        """Wait for the backoff; look at the files meanwhile, so that each deletion is counted."""
        until = trio.current_time() + self._backoff
        while (left := until - trio.current_time()) > 0:
            self._step_at = trio.current_time()
            await trio.sleep(min(left, limits.audit_look_seconds))
            await trio.to_thread.run_sync(self._tail.look)
            self._note_losses()

    async def _try_batch(self, batch: Batch) -> bool:
        """Send a batch; return False, after setting the next pause, if it must be sent again."""
        entries = [entry for entry in batch.entries if self._channel.wants(entry)]
        try:
            if entries:
                await self._send(entries, batch)
        except ReceiverError as error:
            self._note_failure(error)
            return False
        except Exception as error:  # noqa: BLE001 - one receiver must not end the others
            name = f"export to {self._channel.name}"
            _log.warning("%s: an internal error", name, exc_info=True, extra={"subject": name})
            self._note_failure(ReceiverError(f"an internal error ({type(error).__name__})"))
            return False
        if entries:
            self._note_success()
        if batch.unreadable:
            _log.warning(
                "export to %s: skipped %d lines of the audit that are no records",
                self._channel.name,
                batch.unreadable,
            )
        self._tail.commit(batch)
        return True

    async def _send(self, entries: Sequence[AuditEntry], batch: Batch) -> None:
        """Send the entries of a batch that are not settled.

        Halve what the receiver refuses, until the refused records are alone. Send the parts in the
        order of the entries. After a failure, continue with the first entry that is not settled.

        After each failure, a request has half as many records, since a slow receiver may not take
        more in time; after each whole batch, it has twice as many.
        """
        rest, size = entries[batch.settled :], self._records_max
        parts = deque(rest[at : at + size] for at in range(0, len(rest), size))
        refused: list[str] = []
        is_any_taken, refusals = batch.settled > 0, 0
        while parts:
            part, self._step_at = parts[0], trio.current_time()
            try:
                rejection = await self._channel.send(part)
            except ReceiverRefusedError as error:
                refusals += 1
                if not is_any_taken and refusals > limits.export_refusals_max:
                    raise ReceiverError(f"it refuses the records: {error}") from error
                del parts[0]
                if len(part) == 1:
                    refused.append(str(error))
                    continue
                middle = len(part) // 2
                parts.extendleft([part[middle:], part[:middle]])
            except ReceiverError:
                if is_any_taken:
                    batch.settled = len(entries) - sum(map(len, parts))
                    self._note_refused(refused)
                raise
            else:
                del parts[0]
                is_any_taken = True
                self._metrics.sent.add(len(part) - rejection.records)
                self._note_rejection(rejection.records, rejection.why)
        if refused and not is_any_taken:
            raise ReceiverError(f"it refuses the records: {refused[0]}")
        self._note_refused(refused)

    async def _save(self, *, seconds: float) -> None:
        """Save the position, unless that was done in the last `seconds`."""
        now = trio.current_time()
        if now - self._saved_at < seconds:
            return
        self._saved_at = now
        try:
            await trio.to_thread.run_sync(self._file.save, self._tail.position)
        except OSError as error:
            if not self._unsaved:
                _log.warning(
                    "export to %s: cannot save the position: %s", self._channel.name, cause(error)
                )
            self._unsaved = cause(error)
        else:
            self._unsaved = ""

    def _note_failure(self, error: ReceiverError) -> None:
        name = self._channel.name
        if self._failing_since is None:
            self._failing_since = trio.current_time()
        if str(error) != self._why:
            _log.warning(
                "export to %s: %s takes no records: %s", name, self._place, error,
                extra={"subject": f"export to {name}"},
            )  # fmt: skip
        self._why = str(error)
        self._records_max = max(self._records_max // 2, 1)
        least, most = limits.receiver_backoff_seconds_min, limits.receiver_backoff_seconds_max
        self._backoff = min(max(2 * self._backoff, least), most)
        if error.retry_seconds is not None:
            self._backoff = max(error.retry_seconds, least)
        # Several gateways should not come back to a receiver in the same moment.
        self._backoff *= random.uniform(1.0, 1.2)  # noqa: S311

    def _note_success(self) -> None:
        if self._failing_since is not None:
            now = trio.current_time()
            # A receiver that fails each second time must not fill the log: no limit holds for info.
            if now - self._return_logged_at >= limits.log_repeat_seconds:
                self._return_logged_at = now
                _log.info(
                    "export to %s: %s takes records again after %.0f s",
                    self._channel.name,
                    self._place,
                    now - self._failing_since,
                )
        self._failing_since, self._why, self._backoff = None, "", 0.0
        self._records_max = min(2 * self._records_max, limits.audit_batch_records_max)

    def _note_refused(self, whys: Sequence[str]) -> None:
        if whys:
            self._note_rejection(len(whys), whys[0])

    def _note_rejection(self, count: int, why: str) -> None:
        if count:
            self._tail.position.refused += count
            self._metrics.refused.add(count)
            self._lost_at = trio.current_time()
        if count or why:
            _log.warning(
                "export to %s: %s refused %d records: %s",
                self._channel.name,
                self._place,
                count,
                why or "it gives no reason",
            )

    def _note_losses(self) -> None:
        lost_bytes, files = self._tail.take_losses()
        if files:
            self._lost_at = trio.current_time()
            self._metrics.lost.add(lost_bytes)
            _log.warning(
                "export to %s: %d audit files were deleted before at least %d bytes of them were "
                "sent; raise keep_bytes of [audit], or find out why the receiver is slow",
                self._channel.name,
                files,
                lost_bytes,
            )
