"""How often a worker looks for reference cycles."""

import gc

from crewgate import limits
from crewgate.runtime.cycle_collection import collect_rarely


def test_only_the_young_objects_are_more() -> None:
    """How often old objects are searched stays as CPython has it."""
    before = gc.get_threshold()
    try:
        collect_rarely()
        assert gc.get_threshold() == (limits.young_objects_max, *before[1:])
    finally:
        gc.set_threshold(*before)
