"""How often a worker looks for reference cycles, and among which objects."""

import gc

from crewgate import limits
from crewgate.runtime.cycle_collection import collect_rarely, keep_all_objects


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
