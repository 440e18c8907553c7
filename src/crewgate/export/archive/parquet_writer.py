"""Makes the object of a part of an audit file, in a process of its own (`audit.parquet_process`).

The process has bounds of its own on memory and time, so a large or damaged file cannot fill the
export process.
"""

import secrets
import sys
from pathlib import Path

import trio

from crewgate import limits
from crewgate.audit.file_part import FilePart
from crewgate.errors import ReceiverError

_SUFFIX = ".parquet.draft"


class ParquetWriter:
    """Writes one object at a time, to a draft in the folder `state`, which it removes again.

    A process that was killed may have left a process that still writes its own draft.
    """

    def __init__(self, folder: Path, state: Path, name: str) -> None:
        self._folder = folder
        self._draft = state / f"{name}.{secrets.token_hex(8)}{_SUFFIX}"
        for draft in state.glob(f"{name}.*{_SUFFIX}"):
            draft.unlink(missing_ok=True)

    async def write(self, part: FilePart) -> tuple[bytes, int]:
        """Return the object of a part, and its number of rows. Raises ReceiverError or OSError."""
        # With -P, Python does not import a file named trio.py from the present folder.
        command = [sys.executable, "-P", "-m", "crewgate.audit.parquet_process"]
        command += [str(self._folder / part.file), str(part.begin), str(part.end), str(self._draft)]
        try:
            with trio.fail_after(limits.archive_convert_seconds):
                done = await trio.run_process(
                    command,
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                    deliver_cancel=_kill,
                )
            if done.returncode:
                why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
                why = why or f"the process ended with status {done.returncode}"
                raise ReceiverError(f"bytes of {part.file} cannot be written as Parquet: {why}")
            return await trio.to_thread.run_sync(self._draft.read_bytes), int(done.stdout)
        except trio.TooSlowError:
            seconds = limits.archive_convert_seconds
            text = f"{part.object_name} cannot be written as Parquet within {seconds:g} s"
            raise ReceiverError(text) from None
        finally:
            self._draft.unlink(missing_ok=True)


async def _kill(process: trio.Process) -> None:
    """End the process at once: another one writes the object anew."""
    process.kill()
