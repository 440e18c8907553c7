"""Programs and libraries of npm that tests run: the versions in tests/support/package.json.

`make npm` installs them in build/npm, with a Node of their own: Debian's may be older than they
need.
"""

import os
import subprocess
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[2] / "build" / "npm" / "node_modules"
BIN = MODULES / ".bin"
REASON = "build/npm has no packages: run `make npm`"

needs_npm = pytest.mark.skipif(not (BIN / "node").exists(), reason=REASON)


def run_node(
    *words: object, folder: Path, environment: dict[str, str] | None = None, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a script and its arguments, which are `words`, with the Node of the tests in a folder.

    Raises:
        subprocess.TimeoutExpired: The script did not end.
    """
    return subprocess.run(
        [str(BIN / "node"), *map(str, words)],
        cwd=folder,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def run_module(
    text: str, *words: object, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a module's text, which may import the packages of `package.json`."""
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(MODULES)
    file = folder / "client.mjs"
    file.write_text(text)
    return run_node(file, *words, folder=folder, environment=environment)


def program(name: str) -> Path:
    """The file of a program of `package.json`, for `run_node`."""
    return (BIN / name).resolve()
