"""Runs `python -m bench.hop` in its smallest form: Crewgate alone, one round, short samples."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

needs_h2load = pytest.mark.skipif(
    shutil.which("h2load") is None, reason="no h2load (Debian: nghttp2-client)"
)
ROOT = Path(__file__).parents[2]
_ATTEMPTS = 4
_REQUESTS = 100  # of a sample: the fewest that the bench takes
_DESCRIPTORS = 1640  # of each process: what does not fit into that is to be measured smaller
_PASSING = ("choose another port", "answered with 200", "not every request")  # another run helps
_WITHOUT = re.compile(r"^Without (\w+): ", re.MULTILINE)


def measure(place: str, output: Path, *groups: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Measure these groups, or the usual ones; return the last run and what all runs printed.

    Its ports were free when they were chosen, and other tests choose as well; they also keep the
    machine busy, and a call whose draw takes long is asked to come again, which no bench does. So
    groups that have no figures for such a reason are measured again. `place` gets all files.
    """
    printed = ""
    for _ in range(_ATTEMPTS):
        done = _run(place, output, groups)
        printed += done.stdout
        if not any(text in done.stderr for text in _PASSING):
            break
        groups = tuple(_WITHOUT.findall(done.stderr)) or groups
    return done, printed


def processes_of(place: str) -> list[bytes]:
    """Return the command lines of all processes that name `place`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes())
    return [words for words in found if place.encode() in words]


def _run(place: str, output: Path, groups: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    shortest = ["--rounds", "1", "--requests", str(_REQUESTS), "--rest", "0", "--peer", "none"]
    shortest += ["--flood", "resets later"]
    words = [sys.executable, "-m", "bench.hop", *shortest, "--output", str(output)]
    words += [word for group in groups for word in ("--group", group)]
    return subprocess.run(
        ["/bin/sh", "-c", 'ulimit -n "$1" && shift && exec "$@"', "-", str(_DESCRIPTORS), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": place},
    )
