"""Probes whether a folder can be written, to find a full, dead or read-only disk early.

The probe writes a few kilobytes to a file without a name and syncs them, like a record.
"""

import os
import time
from pathlib import Path

import trio

from crewgate import limits
from crewgate.core.health import ComponentHealth, failed, ok
from crewgate.runtime.cleanup import lent


def write_error(folder: Path) -> str:
    """Return why `folder` cannot be written; empty if it can. May hang if the disk hangs."""
    path = folder / f".probe-{os.getpid()}"
    try:
        # A killed process may have left a file of this name. A link is not followed.
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with lent(os.open(path, flags, 0o600)) as descriptor:
            path.unlink()
            os.write(descriptor, bytes(limits.disk_probe_bytes))
            os.fdatasync(descriptor)
    except OSError as error:
        return error.strerror or str(error)
    return ""


class FolderWriteProbe:
    """A folder that is probed at an interval, and the result of the last probe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._problem = ""
        # When the probe began that is still running.
        self._began: float | None = None

    async def watch(self) -> None:
        """Probe the folder in a thread, at an interval, until cancelled."""
        while True:
            self._began = time.monotonic()
            self._problem = await trio.to_thread.run_sync(
                write_error, self.folder, abandon_on_cancel=True
            )
            self._began = None
            await trio.sleep(limits.disk_probe_seconds)

    def fact(self, component: str, *, refuses: bool) -> ComponentHealth:
        """Return the result of the last probe; with `refuses`, calls need this folder."""
        began = self._began
        if began is not None and time.monotonic() - began > limits.disk_probe_seconds_max:
            problem = f"a write has not ended for {time.monotonic() - began:.0f} s"
        else:
            problem = self._problem
        if not problem:
            return ok(component)
        remedy = "make room, or check the disk and the permissions of the folder"
        return failed(component, f"{self.folder}: cannot write: {problem}", remedy, refuses=refuses)
