"""Whether a folder takes writes now: a full, dead or read-only disk is found before it is needed.

A few kilobytes are written to a nameless file and synced, as a record would be.
"""

import os
import time
from pathlib import Path

import trio

from crewgate import limits
from crewgate.core.health import ComponentHealth, failed, ok


def why_not(folder: Path) -> str:
    """Why nothing can be written in `folder`; empty if it can. May hang where a disk does."""
    path = folder / f".probe-{os.getpid()}"
    try:
        # One that a killed process left must not be in the way; a link is not followed.
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            path.unlink()
            os.write(descriptor, bytes(limits.disk_probe_bytes))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.strerror or str(error)
    return ""


class DiskProbe:
    """One folder that is probed again and again, and what that found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._why = ""
        self._began: float | None = None  # when the probe began that has not ended

    async def watch(self) -> None:
        """Probe again and again, in a thread; until cancelled."""
        while True:
            self._began = time.monotonic()
            self._why = await trio.to_thread.run_sync(why_not, self.folder, abandon_on_cancel=True)
            self._began = None
            await trio.sleep(limits.disk_probe_seconds)

    def fact(self, component: str, *, refuses: bool) -> ComponentHealth:
        """What the last probe found; `refuses`: calls need this folder."""
        began = self._began
        if began is not None and time.monotonic() - began > limits.disk_probe_seconds_max:
            why = f"a write has not ended for {time.monotonic() - began:.0f} s"
        else:
            why = self._why
        if not why:
            return ok(component)
        mend = "make room, or see to the disk and to who may write there"
        return failed(component, f"{self.folder}: cannot write: {why}", mend, refuses=refuses)
