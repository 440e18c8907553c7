"""The proofs that a machine remembers, while its processes and its agent are killed and stopped."""

import subprocess
from pathlib import Path

import pytest
from native_programs import compiled
from search_depth import deep


@pytest.mark.parametrize("seed", [1, 2])
def test_no_proof_is_new_twice(seed: int, tmp_path: Path) -> None:
    """Three processes race for the same proofs, in windows that an agent opens and forgets."""
    program = compiled("proofs", tmp_path)
    done = subprocess.run(
        [program, str(deep(1)), str(seed)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
