"""What is read of processes, of this one as an example."""

import os
import subprocess
import sys
import time

import pytest

from bench.hop.limits import SPARE, room
from bench.hop.processes import (
    busiest,
    cpu_seconds,
    forget_peak,
    resident_megabytes,
    tree,
)


def test_the_cpu_of_a_process_is_that_of_all_its_threads() -> None:
    """The same clock as the process's own, to the nanosecond."""
    before = time.process_time()
    seen = cpu_seconds([os.getpid()])
    assert before <= seen <= time.process_time()


def test_a_process_that_is_gone_ends_the_measurement() -> None:
    """Its time would be missing from the sum."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with pytest.raises(SystemExit, match="ended while it was measured"):
        cpu_seconds([process.pid])


def test_children_belong_to_a_tree_and_the_busiest_is_found() -> None:
    """A child that sleeps has used less than its parent."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = tree(os.getpid())
        assert found[0] == os.getpid()
        assert process.pid in found
        assert busiest(found) == os.getpid()


def test_a_peak_can_be_forgotten() -> None:
    """What was given back is in it before and not after."""
    pid = os.getpid()
    block = bytearray(64 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    del block
    high = resident_megabytes(pid, "VmHWM")
    forget_peak([pid])
    assert resident_megabytes(pid, "VmHWM") < high - 30
    assert 0 < resident_megabytes(pid) < high


def test_some_descriptors_are_left_to_a_process() -> None:
    """Whatever the limit is."""
    assert 0 < room() <= 2**20 - SPARE
