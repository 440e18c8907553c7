"""Ships the audit of this machine to an archive in Parquet: each line once, whatever ends it.

The name of an object says which bytes of which audit file it has. The process notes on its disk
which object comes next before it stores it. So after a crash it stores the same object again, and
no line is in two objects. If the name exists, it compares the object with the audit (`adoption`).
It does so at its start too, because an older backup of the state folder may say less.
"""

import logging
import math
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

from crewgate import limits
from crewgate.audit.file_part import FilePart
from crewgate.config import ExportConfig
from crewgate.core.health import ComponentHealth, HealthState, degraded
from crewgate.errors import ObjectExistsError, ReceiverError
from crewgate.export.archive.adoption import Adoption, foreign_text
from crewgate.export.archive.archive_position import ArchivePosition, ArchiveProgress
from crewgate.export.archive.archive_words import (
    LOOK_AT_DISKS,
    POSITION_LOST,
    archive_words,
    place_of,
)
from crewgate.export.archive.listing import Listing
from crewgate.export.archive.object_names import (
    CHECKPOINTS,
    LogPart,
    day_folder,
    machine_folder,
    writer_name,
    writer_of,
)
from crewgate.export.archive.parquet_writer import ParquetWriter
from crewgate.export.archive.part_planner import PartPlanner
from crewgate.export.archive.retention import Retention
from crewgate.export.archive.store import ArchiveStore, store_of
from crewgate.export.export_metrics import ExportMetrics
from crewgate.export.position_file import PositionFile
from crewgate.export.receiver_status import ReceiverStatus
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.runtime.durable_files import mend_of, reason_at

_log = logging.getLogger(__name__)


class Archiver:
    """The way of the audit in `folder` to one archive. `state` has the position and drafts."""

    def __init__(
        self,
        receiver: ExportConfig,
        machine: str,
        folder: Path,
        state: Path,
        metrics: ProcessMetrics,
        store: ArchiveStore | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = receiver.place
        self._store = store_of(receiver) if store is None else store
        self._folder = machine_folder(machine)
        self._file = PositionFile(
            state / f"{receiver.name}.archive.position", ArchivePosition, POSITION_LOST
        )
        self._progress = ArchiveProgress(folder, self._load(), now)
        self._planner = PartPlanner(folder, self._progress, receiver.flush_seconds, now)
        self._writer = ParquetWriter(folder, state, receiver.name)
        self._retention: Retention | None = None
        if receiver.keep_days is not None:
            self._retention = Retention(
                self._store, self._folder, receiver.keep_days, self._planner.is_in_use
            )
        self._metrics = ExportMetrics(metrics, receiver.name)
        self._status = ReceiverStatus(receiver.name, place_of(receiver), archive_words(receiver))
        self._adoption = Adoption(
            self._status.name, self._store, self._folder, self._progress, self._planner,
            self._writer, self._status.begin_step,
        )  # fmt: skip
        self._is_open = False
        self._is_new = False  # whether nobody has tried to store the pending part
        self._passed_at = self._looked_at = -math.inf
        self._others: list[str] = []
        self._kept_why = self._kept_mend = ""  # why old objects could not be deleted

    def _load(self) -> ArchivePosition:
        """Return the saved position; for another archive than before, the beginning."""
        place = f"{self._place}/{self._folder}"
        found = self._file.load()
        if found.place in {"", place}:
            found.place = place
            return found
        lost = found.lost_bytes, found.lost_files
        return ArchivePosition(place=place, lost_bytes=lost[0], lost_files=lost[1])

    async def run(self, ending: trio.Event) -> None:
        """Ship until `ending` is set and the archive has all; or until cancelled."""
        is_last = False
        try:
            while True:
                is_more = await self._try_step()
                if is_more is None:
                    await self._pause()
                elif is_more:
                    continue
                elif is_last:
                    return
                elif ending.is_set():
                    is_last = True
                    await trio.to_thread.run_sync(self._planner.begin_round)
                else:
                    with trio.move_on_after(limits.audit_look_seconds):
                        await ending.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self._writer.close()
                await self._save()
                await self._store.close()

    def health(self) -> ComponentHealth:
        """Return whether the archive takes the objects, and what was lost lately."""
        self._metrics.backlog.set(self._planner.due_bytes)
        found = self._progress.position
        loss = (
            f"in all, {found.lost_bytes} bytes of {found.lost_files} audit files were deleted "
            "before the archive had them"
        )
        state = self._status.health(self._planner.due_bytes, loss)
        if state.state is not HealthState.OK:
            return state
        if self._others:
            names = ", ".join(map(writer_name, self._others))
            why = f"another machine has written to {self._folder} of {self._place} too ({names})"
            mend = (
                "give each machine its own `name`; or if this machine wrote it with another state "
                "folder, delete that object. Until then, nothing old is deleted"
            )
            return degraded(self._status.name, why, mend)
        if found.foreign:
            why = (
                f"somebody else has written objects to {self._folder} of {self._place}: "
                f"{foreign_text(found.foreign)}"
            )
            mend = (
                "find out who may write there, keep a copy of these objects, and delete them; no "
                "line is lost, because this machine ships its lines under other names"
            )
            return degraded(self._status.name, why, mend)
        if self._kept_why:
            why = f"{self._place} does not let old objects go: {self._kept_why}"
            mend = f"{self._kept_mend or 'permit it'}, or remove `keep_days`"
            return degraded(self._status.name, why, mend)
        return state

    async def _try_step(self) -> bool | None:
        """Do one step; return whether another one may follow at once, or None after a failure."""
        self._status.begin_step()
        try:
            is_more = await self._step()
        except ReceiverError as error:
            self._status.note_failure(error)
        except OSError as error:
            mend = mend_of(error) or LOOK_AT_DISKS
            self._status.note_failure(ReceiverError(reason_at(error), mend=mend))
        except Exception as error:  # noqa: BLE001 - one receiver must not end the others
            self._status.note_internal_error(error)
        else:
            self._status.note_success()
            return is_more
        return None

    async def _step(self) -> bool:
        """Do what is next; return False if there was nothing."""
        if not self._is_open:
            await trio.to_thread.run_sync(self._progress.look)
            await self._open()
        await trio.to_thread.run_sync(self._planner.look)
        self._note_losses()
        part = await trio.to_thread.run_sync(self._planner.next_part)
        if part is not None:
            await self._ship(part)
            return True
        log_part = self._planner.next_log_part()
        if log_part is not None:
            await self._ship_log_part(log_part)
            return True
        await self._writer.close()
        self._planner.end_round()
        if trio.current_time() - self._passed_at >= limits.archive_retention_interval_seconds:
            await self._pass()
        await self._look_at_foreign()
        return False

    async def _open(self) -> None:
        """Put the name of this writer into the archive, and note what it has already."""
        position = self._progress.position
        listing = await self._store.list(self._folder)
        if not position.writer:
            position.writer = secrets.token_hex(16)
        await self._save_or_fail()
        name = writer_name(position.writer)
        if all(each.name != name for each in listing.objects):
            text = f"Crewgate writes the audit of a machine to this folder, {self._folder}\n"
            with suppress(ObjectExistsError):  # the answer to an attempt before was lost
                await self._store.put(self._folder + name, text.encode())
        await self._adoption.adopt(listing)
        self._note_writers(listing)
        self._is_open = True

    async def _ship(self, part: FilePart) -> None:
        position = self._progress.position
        part = self._adoption.free(day_folder(part), part)
        if position.pending != part:
            position.pending = part
            await self._save_or_fail()
            self._is_new = True
        self._status.begin_step(limits.archive_write_seconds)
        try:
            data, count = await self._writer.write(part)
        except ReceiverError:
            if self._is_new:  # so no object of it can be in the archive
                position.pending = None
                self._planner.shrink_parts()
            raise
        self._is_new = False
        self._status.begin_step(limits.archive_request_seconds)
        try:
            await self._store.put(self._folder + day_folder(part) + part.object_name, data)
        except ObjectExistsError:
            if not await self._adoption.has(part):
                return  # the next step ships these lines under another name
        self._progress.stored(part)
        self._planner.grow_parts()
        position.pending = None
        self._metrics.sent.add(count)
        await self._save()

    async def _ship_log_part(self, part: LogPart) -> None:
        data = await trio.to_thread.run_sync(self._planner.read_log_part, part)
        if data is None:
            _log.warning("%s: the checkpoints in %s are gone", self._status.name, part.file)
        else:
            part = self._adoption.free(CHECKPOINTS, part)
            self._planner.rename_log_part(part)
            try:
                await self._store.put(self._folder + CHECKPOINTS + part.object_name, data)
            except ObjectExistsError:
                if not await self._adoption.has_log(part, data):
                    return
        self._planner.log_part_stored(part)
        await self._save()

    async def _pass(self) -> None:
        """Look who writes to the archive, and delete what is too old."""
        self._passed_at = trio.current_time()
        listing = await self._store.list(self._folder)
        self._note_writers(listing)
        if self._retention is None or self._others:
            return
        try:
            count = await self._retention.sweep(listing)
        except ReceiverError as error:
            if str(error) != self._kept_why:
                text = error.text_and_mend
                _log.warning("%s: cannot delete old objects: %s", self._status.name, text)
            self._kept_why, self._kept_mend = str(error), error.mend
            return
        self._kept_why = ""
        if count:
            _log.info("%s: deleted %d old objects", self._status.name, count)

    async def _look_at_foreign(self) -> None:
        """Look now and then whether the operator has deleted the objects of others."""
        since = trio.current_time() - self._looked_at
        if self._progress.position.foreign and since >= limits.archive_foreign_look_seconds:
            self._looked_at = trio.current_time()
            if await self._adoption.look_again():
                await self._save()

    def _note_writers(self, listing: Listing) -> None:
        writers = filter(None, (writer_of(each.name) for each in listing.objects))
        own = self._progress.position.writer
        self._others = [each for each in writers if each != own][: limits.archive_writers_shown]

    async def _pause(self) -> None:
        """Wait for the backoff; look at the files meanwhile, so that each deletion is counted."""
        await self._writer.close()
        until = trio.current_time() + self._status.pause_seconds
        while (left := until - trio.current_time()) > 0:
            self._status.begin_step()
            await trio.sleep(min(left, limits.audit_look_seconds))
            await trio.to_thread.run_sync(self._progress.look)
            self._note_losses()

    async def _save(self) -> None:
        try:
            await trio.to_thread.run_sync(self._file.save, self._progress.position)
        except OSError as error:
            self._status.note_saved(reason_at(error))
        else:
            self._status.note_saved("")

    async def _save_or_fail(self) -> None:
        try:
            await trio.to_thread.run_sync(self._file.save, self._progress.position)
        except OSError as error:
            why = f"the position cannot be saved: {reason_at(error)}"
            raise ReceiverError(why, mend=mend_of(error) or LOOK_AT_DISKS) from error

    def _note_losses(self) -> None:
        lost_bytes, files = self._progress.take_losses()
        if files:
            self._metrics.lost.add(lost_bytes)
            self._status.note_lost_files(lost_bytes, files)
