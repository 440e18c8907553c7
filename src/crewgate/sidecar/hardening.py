"""What closes the supervisor of an orchestrator to processes of its own user (prctl(2)).

No switch opens it, since it is closed to the program that it starts. Undumpable: its
/proc/PID/mem, environ, fd and maps belong to root, no process of the same user may trace it, and it
leaves no core. A subreaper: its descendants stay below it, however often they fork, so
its end reaches all of them. Plain calls; knows no key.
"""

import ctypes
import os

from crewgate.errors import SidecarError

_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def disable_dumping() -> None:
    """Before there is a key; SidecarError if the kernel will not."""
    _prctl(_PR_SET_DUMPABLE, 0, "make this process undumpable")


def become_subreaper() -> None:
    """Before there is a child; SidecarError if the kernel will not."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, "make this process the parent of orphans below it")


def _prctl(option: int, value: int, what: str) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise SidecarError(f"cannot {what}: {os.strerror(ctypes.get_errno())}")
