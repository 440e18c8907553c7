"""Memory that processes share, in C, mostly under ThreadSanitizer.

The table: threads (`stress.c`), processes stopped anywhere (`resumed.c`), `looks.c`. The metrics:
`metrics_stress.c`. All other native memory is used only with the GIL.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "tests" / "native"
HEADERS = ROOT / "ext" / "crewgate" / "_native"
COMPILER = os.environ.get("CC", "cc").split()
FLAGS = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
# A header of inline functions has some that one program does not use, and a parameter that only
# the fault-injection build reads. GCC says that TSan does not follow fences: the two words that
# one orders are atomic themselves.
FLAGS += ["-Wno-unused-function", "-Wno-unused-parameter"]
TSAN = ["-fsanitize=thread", "-Wno-unknown-warning-option", "-Wno-tsan"]
SECONDS = "2"


def build(source: Path, program: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Compile; the compiler's word on it."""
    command = [*COMPILER, *FLAGS, *flags, f"-I{HEADERS}", str(source), "-o", str(program)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to its end; a report of a race ends it at once with status 66."""
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1 exitcode=66"}
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, env=environment
    )


@pytest.fixture
def program(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A stress program; skips where there is no compiler, or none with ThreadSanitizer."""
    if shutil.which(COMPILER[0]) is None:
        pytest.skip(f"no C compiler {COMPILER[0]!r}; set CC")
    name, kind = request.param.split()
    flags = TSAN if kind == "tsan" else []
    empty, nothing = tmp_path / "empty.c", tmp_path / "empty"
    empty.write_text("int main(void) { return 0; }\n")
    if flags and build(empty, nothing, *flags).returncode:
        pytest.skip(f"{COMPILER[0]} makes no programs with ThreadSanitizer")
    if flags and run(nothing).returncode:
        pytest.skip("no program with ThreadSanitizer runs here")
    built = build(SOURCES / f"{name}.c", tmp_path / name, *flags)
    assert built.returncode == 0, built.stderr
    return tmp_path / name


@pytest.mark.parametrize("program", ["stress tsan", "stress fast"], indirect=True)
def test_nothing_is_missed_and_nothing_is_lost(program: Path) -> None:
    """No live revocation and no live branch is missed, spenders' sums equal the table's, no race.

    All that while the agent revokes, forgets, compacts, grants, takes back, burns and seals.
    """
    ended = run(program, SECONDS, "1")
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    done = dict(re.findall(r"(\w+) (\d+)", ended.stdout))
    assert set(done) == {"turns", "lookups", "calls", "moves", "retired"}
    assert all(int(count) > 0 for count in done.values())


@pytest.mark.parametrize("program", ["metrics_stress tsan", "metrics_stress fast"], indirect=True)
def test_a_scrape_sees_whole_metrics(program: Path) -> None:
    """Each entry and each exemplar is whole, and no counter goes back, while a worker counts."""
    ended = run(program, "1")
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    done = dict(re.findall(r"(\w+) (\d+)", ended.stdout))
    assert set(done) == {"series", "calls", "looks", "exemplars"}
    assert all(int(count) > 0 for count in done.values())


def test_whoever_was_stopped_and_goes_on_harms_nobody(tmp_path: Path) -> None:
    """Stopped before any store of a call, dropped, its slots and number and record given away.

    The call of whoever has them now is settled all the same, and every micro-credit is accounted.
    """
    if shutil.which(COMPILER[0]) is None:
        pytest.skip(f"no C compiler {COMPILER[0]!r}; set CC")
    built = build(SOURCES / "resumed.c", tmp_path / "resumed", "-DCREWGATE_FAULTS")
    assert built.returncode == 0, built.stderr
    ended = run(tmp_path / "resumed")
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert int(ended.stdout.removeprefix("stops ")) >= 400


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_look_never_takes_for_burned_what_is_on_its_way(tmp_path: Path, seed: str) -> None:
    """Others go on by any number of stores between any two of its reads.

    What they move may be seen twice or not yet, but never nowhere; what was dropped is found.
    """
    if shutil.which(COMPILER[0]) is None:
        pytest.skip(f"no C compiler {COMPILER[0]!r}; set CC")
    built = build(SOURCES / "looks.c", tmp_path / "looks", "-DCREWGATE_FAULTS")
    assert built.returncode == 0, built.stderr
    ended = run(tmp_path / "looks", seed)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    done = dict(re.findall(r"(\w+) (\d+)", ended.stdout))
    assert int(done["found"]) > 100
