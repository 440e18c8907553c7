"""How often a worker looks for reference cycles, and among which objects."""

import gc
import subprocess
import sys
from contextlib import suppress

from crewgate import limits
from crewgate.runtime.cycle_collection import collect_rarely, keep_all_objects, loading_modules


def test_only_the_young_objects_are_more() -> None:
    """How often old objects are searched stays as CPython has it."""
    before = gc.get_threshold()
    try:
        collect_rarely()
        assert gc.get_threshold() == (limits.young_objects_max, *before[1:])
    finally:
        gc.set_threshold(*before)


def test_a_collection_walks_only_objects_made_later() -> None:
    """The objects of the start are in no generation; those that a call makes are."""
    before: list[object] = [[]]
    gc.collect()
    try:
        keep_all_objects()
        after: list[object] = [[]]
        walked = {id(each) for each in gc.get_objects()}
        assert id(before) not in walked
        assert id(after) in walked
    finally:
        gc.unfreeze()


def test_no_collection_walks_the_modules_of_a_process() -> None:
    """Neither while they are imported nor afterwards, also when an import fails."""
    before = gc.get_freeze_count()
    try:
        with suppress(ImportError), loading_modules():
            assert not gc.isenabled()
            alive: list[object] = []
            raise ImportError("a module that is not installed")
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
        assert all(each is not alive for each in gc.get_objects())
    finally:
        gc.unfreeze()


PROGRAM = """
import gc, runpy, sys
for part in "admin", "agent", "control", "export", "gateway":
    sys.argv = ["", "--help"]
    gc.unfreeze()
    try:
        runpy.run_module(f"crewgate.{part}", run_name="__main__")
    except SystemExit:
        pass
    assert gc.isenabled() and gc.get_freeze_count() > 10_000, part
    assert "importlib.metadata" not in sys.modules, part
"""


def test_all_processes_of_a_gateway_load_their_modules_so() -> None:
    """And they read no metadata of installed packages, which takes 15 modules more."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
