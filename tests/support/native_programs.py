"""Compiles the programs of `tests/native`."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def compiled(name: str, folder: Path, *more: str) -> Path:
    """A program of `tests/native`."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wno-unused-function", *more]
    headers = [f"-I{ROOT / 'ext/crewgate/_native'}", f"-I{ROOT / 'tests/native'}"]
    source, program = str(ROOT / "tests/native" / f"{name}.c"), folder / name
    subprocess.run([compiler, *flags, *headers, source, "-o", str(program)], check=True)
    return program
