"""A file system of 1 MiB for a script to fill, in a mount namespace of its own."""

import subprocess
import sys
import tempfile
from pathlib import Path


def on_a_small_disk(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script that finds it at `folder`, its only argument."""
    mount = 'mount -t tmpfs -o size=1m none "$1" || exit 77; shift; exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(folder)]
    return subprocess.run(
        [*command, sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )


def may_mount() -> bool:
    """Whether this machine lets us have a mount namespace (some containers do not)."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return on_a_small_disk(Path(folder), "pass").returncode == 0
        except FileNotFoundError:
            return False
