"""A file system on a loop device, and what of it would be there if the power were lost now.

A copy of the device's content has what the device was given, and nothing of what waits in the
kernel's memory: mounted anew it is what a machine finds after a power loss. For root alone.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
SIZE_BYTES = 64 * 2**20
_STILL_SECONDS = 0.02
_WAIT_SECONDS = 60.0


def why_not(folder: Path) -> str:
    """Why there can be no such disk in `folder`; "" if there can."""
    if os.geteuid() != 0:
        return "loop devices are for root"
    if shutil.which("mkfs.ext4") is None or shutil.which("losetup") is None:
        return "mkfs.ext4 or losetup is not installed"
    try:
        with mounted(make(folder / "probe.img"), folder / "probe"):
            return ""
    except subprocess.CalledProcessError as error:
        return f"no loop device can be mounted here: {error.stderr.strip()}"


def make(image: Path, size: int = SIZE_BYTES) -> Path:
    """A new ext4 of so many bytes, in a file."""
    with image.open("wb") as file:
        file.truncate(size)
    _run("mkfs.ext4", "-q", "-F", str(image))
    return image


@contextmanager
def mounted(image: Path, at: Path, *options: str, content: Path | None = None) -> Iterator[str]:
    """The image as a disk at a folder; the loop device's name, such as loop3.

    It has the `content` of another folder before it is seen at `at`.
    """
    at.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as aside:
        first = Path(aside, "disk") if content else at
        first.mkdir(exist_ok=True)
        _run("mount", "-o", ",".join(["loop", *options]), str(image), str(first))
        if content:
            _run("cp", "-a", f"{content}/.", str(first))
            _run("mount", "--bind", str(first), str(at))
            _run("umount", "-l", str(first))
    try:
        device = _run("losetup", "-n", "-O", "NAME", "-j", str(image)).split()[0]
        yield Path(device).name
    finally:
        _run("umount", "-l", str(at))


def kill_disk(image: Path, device: str) -> None:
    """From now on every read and write of it is an error, as of a disk that has died."""
    os.truncate(image, 0)
    _run("losetup", "-c", f"/dev/{device}")  # it has no sector any more


def clone(device: str, image: Path, to: Path, process: int, settle: Callable[[], T]) -> T:
    """Copy the disk as it is at one instant, at which the process is stopped.

    Returns what `settle` finds of the process then. The copy takes time, in which the kernel may
    write: then it is made again.
    """
    os.kill(process, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            before = _still(device)
            to.unlink(missing_ok=True)  # a device that is still being let go keeps the old one
            _run("cp", "--sparse=always", str(image), str(to))
            if _written(device) == before:
                return settle()
        raise AssertionError(f"{device} is written without an end, though nothing runs")
    finally:
        os.kill(process, signal.SIGCONT)


def _still(device: str) -> tuple[str, str]:
    """Once nothing is on its way to the disk."""
    now = _written(device)
    while True:
        time.sleep(_STILL_SECONDS)
        before, now = now, _written(device)
        if now == before and now[1] == "0":
            return now


def _written(device: str) -> tuple[str, str]:
    """Sectors written so far, and requests under way (Documentation/block/stat.rst)."""
    fields = Path(f"/sys/block/{device}/stat").read_text().split()
    return fields[6], fields[8]


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
