"""Eyes in the processes of a soaked gateway: on SIGUSR1 they count what a leak would leave behind.

Found by Python at its start, since the soak puts this folder on PYTHONPATH of `serve`. Changes
nothing that the product does; writes one JSON document per look into the folder SOAK_EYES.
"""

import ctypes
import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

TYPES_TOLD = 40


def tasks() -> Counter[str]:
    """Trio's tasks by name, system tasks included; none where no loop runs."""
    trio: Any = sys.modules.get("trio")
    if trio is None:
        return Counter()
    root = trio.lowlevel.current_root_task()
    found: Counter[str] = Counter()
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        found[task.name] += 1
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


class _MallocInfo(ctypes.Structure):
    """What mallinfo2(3) tells, of glibc 2.33 and later."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


def malloc_kib() -> tuple[int, int]:
    """What malloc has given out, and what it keeps free; all that C code and large objects use."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return 0, 0
    ask.restype = _MallocInfo
    found = ask()
    return (found.uordblks + found.hblkhd) // 1024, found.fordblks // 1024


def look(_number: int, _frame: FrameType | None) -> None:
    """Count, and write it down."""
    gc.collect()
    blocks = sys.getallocatedblocks()
    kinds = Counter(type(each).__qualname__ for each in gc.get_objects())
    seen = {
        "blocks": blocks,
        "malloc": malloc_kib(),
        "objects": sum(kinds.values()),
        "tasks": tasks(),
        "kinds": dict(kinds.most_common(TYPES_TOLD)),
    }
    path = Path(os.environ["SOAK_EYES"]) / f"{os.getpid()}.json"
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(seen))
    beside.replace(path)


if "SOAK_EYES" in os.environ:
    signal.signal(signal.SIGUSR1, look)
