"""What the fuzzers found worth keeping is played through the real build, each input once."""

import os
import shutil
import subprocess
from pathlib import Path

import fuzz_replay
import pytest

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "fuzz" / "corpus"
COMPILER = os.environ.get("CC", "cc").split()
PLAYED = {
    "answer": fuzz_replay.answer,
    "base64url": fuzz_replay.base64url,
    "bearer": fuzz_replay.bearers,
    "call_digest": fuzz_replay.call_digest,
    "credit": fuzz_replay.credit,
    "field_arena": fuzz_replay.field_arena,
    "field_name": fuzz_replay.field_name,
    "field_rules": fuzz_replay.field_rules,
    "json": fuzz_replay.json,
    "json_document": fuzz_replay.json_document,
    "proof": fuzz_replay.proof,
    "request_line": fuzz_replay.request_line,
    "token": fuzz_replay.token,
}


@pytest.mark.parametrize("target", PLAYED)
def test_an_input_of_a_stranger_is_read_or_refused(target: str) -> None:
    """And nothing is raised but what callers are promised."""
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    for path in inputs:
        PLAYED[target](path.read_bytes())


def test_a_damaged_table_is_read_or_refused(tmp_path: Path) -> None:
    """Whatever was written into it."""
    for path in sorted((CORPUS / "table").iterdir()):
        fuzz_replay.table(path.read_bytes(), tmp_path)


def test_every_target_compiles() -> None:
    """With any compiler: only `make fuzz` links the targets, and needs clang."""
    if shutil.which(COMPILER[0]) is None:
        pytest.skip(f"no C compiler {COMPILER[0]!r}; set CC")
    folders = [CORPUS.parent, *(ROOT / "ext" / "crewgate").glob("_*/")]
    flags = ["-std=gnu11", "-fsyntax-only", *[f"-I{folder}" for folder in folders]]
    sources = sorted(CORPUS.parent.glob("*.c"))
    done = subprocess.run(
        [*COMPILER, *flags, *sources], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_target_has_inputs_and_is_played() -> None:
    """A new one is put into the list above. tests/e2e/gateway/test_straight_random.py has one."""
    targets = {source.stem for source in CORPUS.parent.glob("*.c")}
    assert targets == {*PLAYED, "table"}
    assert {*targets, "straight_calls"} == {path.name for path in CORPUS.iterdir()}
