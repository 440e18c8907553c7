"""A SIGKILL before any store to the table leaves a state that the next agent repairs."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "ext" / "crewgate"
HEADERS = {path.name: path for path in SOURCES.rglob("*.h")}
HOOKS = "fault_injection.h"
INCLUDED = re.compile(r'^ *#include "(\w+\.h)"', re.MULTILINE)
# Fewer would mean that a scenario no longer does what it is there for.
STORES_MIN = {
    "begin_draw": 3,
    "grant": 14,
    "take_back": 8,
    "overdraw": 8,
    "overdraw while a draw is pending": 8,
    "close": 8,
    "open": 20,
    "revoke": 8,
    "revoke again": 4,
    "forget": 30,
    "compact": 100,
    "drop": 60,
    "reserve": 70,
    "reserve with limits": 15,
    "count": 3,
    "settle": 5,
    "settle ended calls": 10,
    "grow": 2,
    "release": 4,
    "settle at once": 2,
}


def _headers(source: Path) -> set[str]:
    """Return the names of our headers that a C file includes, also through other headers."""
    found: set[str] = set()
    new = [source]
    while new:
        names = set(INCLUDED.findall(new.pop().read_text())) & HEADERS.keys() - found
        found |= names
        new += [HEADERS[name] for name in names]
    return found


def _take_other_modules(library: Path) -> None:
    """Copy the modules of the real build that store nothing in the table.

    `setup.py` compiles a module only if it is older than its sources.
    """
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for source in (ROOT / "build" / "cython" / "ext" / "crewgate").rglob("*.c"):
        module = Path("crewgate", source.parent.name, f"{source.stem}{suffix}")
        if (ROOT / "src" / module).exists() and HOOKS not in _headers(source):
            (library / module).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / "src" / module, library / module)


@pytest.fixture(scope="session")
def faulty_build() -> Path:
    """The package built so that it can be killed between any two stores; kept between runs."""
    kind = f"{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    base = ROOT / "build" / f"quick-faults-{kind}"
    _take_other_modules(base / f"lib.{kind}")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-base", str(base)],
        cwd=ROOT,
        env={**os.environ, "CREWGATE_FAULTS": "1", "CREWGATE_QUICK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return next(base.glob("lib*"))


def test_killed_before_every_store(faulty_build: Path, tmp_path: Path) -> None:
    """Each of some 500 kills is repaired.

    Nothing acknowledged is forgotten, no credit is granted twice, what is missing is burned, index
    and records agree.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": f"{faulty_build}{os.pathsep}{ROOT / 'tests' / 'support'}",
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/support/fault_storm.py"), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    stores = json.loads(done.stdout)
    assert stores.keys() == STORES_MIN.keys()
    assert {name: n for name, n in stores.items() if n < STORES_MIN[name]} == {}


def test_metrics_of_a_process_that_is_killed_before_every_store(
    faulty_build: Path, tmp_path: Path
) -> None:
    """The metrics count each call whose line is whole in the audit, and count it once."""
    environment = {**os.environ, "PYTHONPATH": str(faulty_build)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/support/metrics_fault_storm.py"), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout) >= 4 * 6  # four calls, each with four cells and two marks


def test_a_worker_that_is_killed_before_every_store_of_its_straight_calls(
    faulty_build: Path, tmp_path: Path
) -> None:
    """Each call that has a record, or that the tool has seen, is charged once."""
    support = ROOT / "tests" / "support"
    done = subprocess.run(
        [sys.executable, str(support / "straight_fault_storm.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(faulty_build)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout) >= 3 * 10  # three calls, each with a reservation and its end
