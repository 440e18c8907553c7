"""Probes whether folders can be written, to find a full, dead or read-only disk early.

The probe writes a few kilobytes to a file without a name in each folder, like a record. Then it
syncs one of the files of each disk: a sync costs ten times as much as all else. It also finds out
how much room is left, so that a person hears of a full disk before it is full.
"""

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import trio

from crewgate import limits
from crewgate.core.health import ComponentHealth, degraded, failed, ok
from crewgate.runtime.cleanup import lent, on_error
from crewgate.runtime.ticks import sleep_until_tick


def write_errors(folders: Sequence[Path]) -> list[str]:
    """Return for each folder why it cannot be written; empty if it can.

    May hang if a disk hangs.
    """
    errors = [""] * len(folders)
    # By device: the number of the folder, and the descriptor of the file.
    written = defaultdict[int, list[tuple[int, int]]](list)
    with ExitStack() as stack:
        for number, folder in enumerate(folders):
            try:
                descriptor = stack.enter_context(lent(_open_nameless(folder)))
                os.write(descriptor, bytes(limits.disk_probe_bytes))
                written[os.fstat(descriptor).st_dev].append((number, descriptor))
            except OSError as error:
                errors[number] = error.strerror or str(error)
        for of_disk in written.values():
            try:
                os.fdatasync(of_disk[-1][1])
            except OSError as error:
                for number, _ in of_disk:
                    errors[number] = error.strerror or str(error)
    return errors


def shortages(folders: Sequence[Path]) -> list[str]:
    """Return for each folder how little room its disk has; empty if there is enough.

    May hang if a disk hangs.
    """
    return [_shortage(folder) for folder in folders]


def _shortage(folder: Path) -> str:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    free = disk.f_bavail * disk.f_frsize
    if free < min(disk.f_blocks * disk.f_frsize * limits.disk_free_share, limits.disk_free_bytes):
        return f"only {free / 1e6:.0f} MB are free"
    # Some file systems have no number of files.
    if disk.f_files and disk.f_favail < min(
        disk.f_files * limits.disk_free_share, limits.disk_free_files
    ):
        return f"there is room for only {disk.f_favail} more files"
    return ""


def _open_nameless(folder: Path) -> int:
    """Return the descriptor of a new file that has no name any more. Raises OSError."""
    path = folder / f".probe-{os.getpid()}"
    # A killed process may have left a file of this name. A link is not followed.
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    with on_error(os.close, descriptor):
        path.unlink()
    return descriptor


class FolderWriteProbe:
    """A folder that is probed at an interval, and the result of the last probe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._problem = ""
        self._shortage = ""
        # When the probe began that is still running.
        self._began: float | None = None

    def begin(self) -> None:
        """Note that a probe begins now."""
        self._began = time.monotonic()

    def end(self, problem: str, shortage: str = "") -> None:
        """Note what the probe has found; empty if the folder can be written and has room."""
        self._problem, self._shortage, self._began = problem, shortage, None

    def disk(self) -> int:
        """Return the device of the folder; -1 if it cannot be found."""
        try:
            return self.folder.stat().st_dev
        except OSError:
            return -1

    def fact(self, component: str, *, refuses: bool) -> ComponentHealth:
        """Return the result of the last probe; with `refuses`, calls need this folder."""
        began = self._began
        if began is not None and time.monotonic() - began > limits.disk_probe_seconds_max:
            problem = f"a write has not ended for {time.monotonic() - began:.0f} s"
        else:
            problem = self._problem
        if not problem and self._shortage:
            why = f"{self.folder}: its disk is nearly full: {self._shortage}"
            return degraded(component, why, "make room before the gateway cannot write any more")
        if not problem:
            return ok(component)
        remedy = "make room, or check the disk and the permissions of the folder"
        return failed(component, f"{self.folder}: cannot write: {problem}", remedy, refuses=refuses)


async def watch_folders(probes: Sequence[FolderWriteProbe]) -> None:
    """Probe the folders at an interval, until cancelled; one thread probes those of one disk."""
    by_disk = defaultdict[int, list[FolderWriteProbe]](list)
    for each in probes:
        by_disk[each.disk()].append(each)
    async with trio.open_nursery() as nursery:
        for of_disk in by_disk.values():
            nursery.start_soon(_watch_disk, of_disk)


def _probe(folders: Sequence[Path]) -> list[tuple[str, str]]:
    return [*zip(write_errors(folders), shortages(folders), strict=True)]


async def _watch_disk(probes: Sequence[FolderWriteProbe]) -> None:
    while True:
        for each in probes:
            each.begin()
        folders = [each.folder for each in probes]
        found = await trio.to_thread.run_sync(_probe, folders, abandon_on_cancel=True)
        for each, (problem, shortage) in zip(probes, found, strict=True):
            each.end(problem, shortage)
        await sleep_until_tick(limits.disk_probe_seconds)
