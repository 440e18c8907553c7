"""Protects the sidecar from processes of its own user, and keeps CMD's descendants below it.

Both use prctl(2). Undumpable: root owns the sidecar's /proc/PID/mem, environ, fd and maps, no
process of the same user may trace it, and it writes no core file. No switch turns that off, since
it protects against the program that the sidecar starts. Subreaper: CMD's descendants stay below the
sidecar, however often they fork, so that it can end them all.
"""

import ctypes
import os

from crewgate.errors import SidecarError

_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def disable_dumping() -> None:
    """Make this process undumpable; call it before there is a key. SidecarError."""
    _prctl(_PR_SET_DUMPABLE, 0, "make this process undumpable")


def become_subreaper() -> None:
    """Adopt orphaned descendants; call it before the first child starts. SidecarError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, "make this process the parent of orphans below it")


def _prctl(option: int, value: int, what: str) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise SidecarError(f"cannot {what}: {os.strerror(ctypes.get_errno())}")
