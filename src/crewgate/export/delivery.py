"""Sends the records of the audit over one channel: in batches, again after a failure, in order.

At least once: a batch that a receiver may have taken without an answer is sent again, and a crash
repeats the records since the last saved position. A record keeps its id, so a receiver can drop the
repetition. A record that its receiver refuses is given up, but only if the receiver took another
one of the same batch: a receiver that refuses everything is misconfigured, and waits.
"""

import logging
import math
from collections import deque
from collections.abc import Sequence

import trio

from crewgate import limits
from crewgate.audit.audit_entry import AuditEntry
from crewgate.audit.audit_tail import AuditTail, Batch
from crewgate.core.health import ComponentHealth
from crewgate.errors import ReceiverError, ReceiverRefusedError
from crewgate.export.channel import Channel
from crewgate.export.export_metrics import ExportMetrics
from crewgate.export.position_file import ExportPosition, PositionFile
from crewgate.export.receiver_status import ReceiverStatus, record_words
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
        file: PositionFile[ExportPosition],
        metrics: ProcessMetrics,
    ) -> None:
        self._channel = channel
        self._metrics = ExportMetrics(metrics, channel.name)
        self._place = place
        self._tail = tail
        self._file = file
        table = channel.name.partition(" (")[0]  # of `NAME (traces)`
        self._status = ReceiverStatus(channel.name, place, record_words(table, place))
        self._records_max = limits.audit_batch_records_max  # in one request
        self._saved_at = -math.inf

    async def run(self, ending: trio.Event) -> None:
        """Send until `ending` is set and all is sent; or until cancelled."""
        batch, is_last_look = Batch(), False
        try:
            while True:
                self._status.begin_step()
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
        found = self._tail.position
        loss = (
            f"in all, {found.lost_bytes} bytes of {found.lost_files} audit files were deleted "
            f"before they were sent, and the receiver refused {found.refused} records"
        )
        return self._status.health(self._tail.backlog_bytes, loss)

    async def _pause(self) -> None:
        """Wait for the backoff; look at the files meanwhile, so that each deletion is counted."""
        until = trio.current_time() + self._status.pause_seconds
        while (left := until - trio.current_time()) > 0:
            self._status.begin_step()
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
            self._status.note_failure(error)
            self._send_less()
            return False
        except Exception as error:  # noqa: BLE001 - one receiver must not end the others
            self._status.note_internal_error(error)
            self._send_less()
            return False
        if entries:
            self._status.note_success()
            self._records_max = min(2 * self._records_max, limits.audit_batch_records_max)
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
            part = parts[0]
            self._status.begin_step()
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
            self._status.note_saved(cause(error))
        else:
            self._status.note_saved("")

    def _send_less(self) -> None:
        """Have the next request carry half as many records, after one that failed."""
        self._records_max = max(self._records_max // 2, 1)

    def _note_refused(self, whys: Sequence[str]) -> None:
        if whys:
            self._note_rejection(len(whys), whys[0])

    def _note_rejection(self, count: int, why: str) -> None:
        if count:
            self._tail.position.refused += count
            self._metrics.refused.add(count)
            self._status.note_lost()
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
            self._metrics.lost.add(lost_bytes)
            self._status.note_lost_files(lost_bytes, files)
