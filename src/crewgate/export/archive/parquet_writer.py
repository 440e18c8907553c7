"""Makes and compares objects of audit files, in a process of its own (`audit.parquet_process`).

The process has bounds of its own on memory and time, so a large or damaged file cannot fill the
export process. It takes one object after another, and ends when nothing more is due.
"""

import secrets
import subprocess
import sys
from pathlib import Path

import msgspec
import trio

from crewgate import limits
from crewgate.audit.file_part import FilePart
from crewgate.audit.parquet_order import ParquetOrder, ParquetResult
from crewgate.errors import ReceiverError
from crewgate.export.archive.archive_words import LOOK_AT_DISKS, LOOK_AT_ENGINE

_SUFFIX = ".parquet.draft"


class ParquetWriter:
    """Writes one object at a time, to a draft in the folder `state`, which it removes again.

    A process that was killed may have left a process that still writes its own draft.
    """

    def __init__(self, folder: Path, state: Path, name: str) -> None:
        self._folder = folder
        self._draft = state / f"{name}.{secrets.token_hex(8)}{_SUFFIX}"
        self._process: trio.Process | None = None
        for draft in state.glob(f"{name}.*{_SUFFIX}"):
            draft.unlink(missing_ok=True)

    async def write(self, part: FilePart) -> tuple[bytes, int]:
        """Return the object of a part, and its number of rows. Raises ReceiverError or OSError."""
        order = ParquetOrder(str(self._folder), part, str(self._draft))
        try:
            result = await self._answer(order)
            if result.why:
                why = f"bytes of {part.file} cannot be written as Parquet: {result.why}"
                raise ReceiverError(why, mend=LOOK_AT_ENGINE)
            return await trio.to_thread.run_sync(self._draft.read_bytes), result.rows
        except trio.TooSlowError:
            seconds = limits.archive_write_seconds
            text = f"{part.object_name} cannot be written as Parquet within {seconds:g} s"
            raise ReceiverError(text, mend=LOOK_AT_ENGINE) from None
        finally:
            self._draft.unlink(missing_ok=True)

    async def difference(self, part: FilePart, data: bytes) -> str:
        """Return why `data` is not the object of a part; empty if it is.

        Raises ReceiverError if the audit file cannot be read, or OSError.
        """
        order = ParquetOrder(str(self._folder), part, str(self._draft), is_there=True)
        try:
            await trio.to_thread.run_sync(self._draft.write_bytes, data)
            result = await self._answer(order)
        except trio.TooSlowError:
            return f"it cannot be read within {limits.archive_write_seconds:g} s"
        except ReceiverError as error:  # what another person has written may end the engine
            return str(error)
        finally:
            self._draft.unlink(missing_ok=True)
        if result.is_unread:
            why = f"the audit file {part.file} cannot be read: {result.why}"
            raise ReceiverError(why, mend=LOOK_AT_DISKS)
        return result.why

    async def _answer(self, order: ParquetOrder) -> ParquetResult:
        """Return the answer to an order; without one in time, end the process.

        Raises ReceiverError or trio.TooSlowError.
        """
        is_done = False
        try:
            with trio.fail_after(limits.archive_write_seconds):
                result = await self._asked(msgspec.json.encode(order) + b"\n")
            is_done = True
            return result
        finally:
            if not is_done:
                await self.close()

    async def close(self) -> None:
        """End the process at once: it only writes the draft."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                for pipe in process.stdin, process.stdout:
                    if pipe is not None:
                        await pipe.aclose()

    async def _asked(self, order: bytes) -> ParquetResult:
        """Return the answer of the process. Raises ReceiverError if it ends without one."""
        if self._process is None:
            # With -P, Python does not import a file named trio.py from the present folder.
            self._process = await trio.lowlevel.open_process(
                [sys.executable, "-P", "-m", "crewgate.audit.parquet_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        process, answer = self._process, b""
        try:
            if process.stdin is not None and process.stdout is not None:
                await process.stdin.send_all(order)
                while not answer.endswith(b"\n") and (piece := await process.stdout.receive_some()):
                    answer += piece
        except trio.BrokenResourceError:
            answer = b""
        if not answer.endswith(b"\n"):
            status = await process.wait()
            why = f"the process that writes Parquet ended with status {status}"
            raise ReceiverError(why, mend=LOOK_AT_ENGINE)
        return msgspec.json.decode(answer, type=ParquetResult)
