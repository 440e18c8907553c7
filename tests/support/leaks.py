"""Whether native code keeps what it was lent: memory that grows, references that stay."""

import gc
import sys
import tracemalloc
from collections.abc import Callable

_BYTES_MAX = 4096  # what the interpreter itself allocates between two looks


def assert_no_leak(walk: Callable[[], None], *lent: object) -> None:
    """Run `walk` three times: memory stays as it was, and so do the references to what was lent."""
    walk()
    gc.collect()
    references = [sys.getrefcount(thing) for thing in lent]
    tracemalloc.start()
    try:
        walk()
        before = tracemalloc.get_traced_memory()[0]
        walk()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < _BYTES_MAX
    assert references == [sys.getrefcount(thing) for thing in lent]
