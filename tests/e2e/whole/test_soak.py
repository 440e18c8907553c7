"""A short soak: the same as `make soak`, with two quiet points after the first."""

import os
import random
from pathlib import Path

import pytest
from soak import soak

SECONDS = float(os.environ.get("CREWGATE_SOAK_SECONDS", "15"))


@pytest.mark.timeout(SECONDS * 3 + 120)
def test_nothing_leaks_and_every_count_agrees(tmp_path: Path) -> None:
    """Under load, dying tools, reloads, revocations and a killed worker nothing is lost or kept."""
    seed = int(os.environ.get("CREWGATE_SEED", random.randrange(2**32)))
    found = soak(tmp_path, SECONDS, seed)
    print(found.summary())
    assert not found.faults, "\n".join([f"CREWGATE_SEED={seed}", *found.faults.lines()])
    assert found.upheaval.counts["a worker killed"] >= 1
    assert found.books.counts["requests that reached a tool"] >= 100
