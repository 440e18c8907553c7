"""Disks without room or that fail: filled ones, and one of 1 MiB in a mount namespace."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path


def fill(folder: Path) -> Path:
    """Until not a byte is left; the file that takes it all."""
    path = folder / "fill"
    size = -1
    with path.open("wb", buffering=0) as file:
        # What a file system has put by for what it has not written yet, it may give back.
        while size != (size := file.tell()):
            for piece in (65_536, 4096, 1):
                with suppress(OSError):
                    while file.write(bytes(piece)):
                        pass
            with suppress(OSError):
                os.fsync(file.fileno())
    return path


@contextmanager
def failing_disk() -> Iterator[None]:
    """No file can be written to by this process: EFBIG, for SQLite an I/O error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def on_a_small_disk(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script that finds it at `folder`, its only argument, and may import what is here."""
    mount = 'mount -t tmpfs -o size=1m none "$1" || exit 77; shift; exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(folder)]
    return subprocess.run(
        [*command, sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )


@cache
def why_no_small_disk() -> str:
    """Why there can be none here, as in some containers; "" where there can."""
    if missing := [name for name in ("unshare", "mount") if shutil.which(name) is None]:
        return f"{missing[0]} is not installed"
    with tempfile.TemporaryDirectory() as folder:
        done = on_a_small_disk(Path(folder), "pass")
    return "" if done.returncode == 0 else f"no mount namespace can be made: {done.stderr.strip()}"
