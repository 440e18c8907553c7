"""Makes CPython look for reference cycles less often, and among fewer objects."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from crewgate import limits


def collect_rarely() -> None:
    """Let more objects be made between two collections, for the rest of this process.

    A call ends by reference counts and leaves no cycle. By default, the objects of some dozen calls
    under way begin a collection. It frees nothing, and counts them as old, until another collection
    walks all objects of the process.
    """
    gc.set_threshold(limits.young_objects_max, *gc.get_threshold()[1:])


def keep_all_objects() -> None:
    """Exempt the objects that exist now from all collections.

    Modules and configuration live as long as the process. A collection that walks them takes 70 ms,
    in which no call goes on.
    """
    gc.freeze()


@contextmanager
def loading_modules() -> Iterator[None]:
    """Start no collection while a process imports its modules; keep their objects from later ones.

    A collection during the imports walks the objects of the modules, 80,000 in a worker, and frees
    none.
    """
    gc.disable()
    try:
        yield
    finally:
        keep_all_objects()
        gc.enable()
