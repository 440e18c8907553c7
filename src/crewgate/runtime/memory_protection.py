"""Keeps the memory of processes with keys out of core files and away from their user's processes.

A core file would contain the CA's key or TLS keys. A process that is not dumpable (prctl(2),
PR_SET_DUMPABLE) writes none, and other processes of its user can neither trace it nor read its
memory and environment, since root then owns its files in /proc/PID. With CREWGATE_DUMPABLE=1, a
developer gets cores, debuggers and profilers back; `serve` warns of that when it starts.
"""

import ctypes
import os
import resource

SWITCH = "CREWGATE_DUMPABLE"
_PR_SET_DUMPABLE = 4
_libc = ctypes.CDLL(None, use_errno=True)


def is_open() -> bool:
    """Whether a developer has asked for core files and debuggers."""
    return os.environ.get(SWITCH) == "1"


def keep_memory_private() -> None:
    """Make this process undumpable, before it reads a key, but not what it starts; OSError."""
    if not is_open():
        disable_dumping()


def disable_dumping() -> None:
    """Make this process undumpable even with CREWGATE_DUMPABLE=1; OSError."""
    set_attribute(_PR_SET_DUMPABLE, 0, "make this process undumpable")


def set_attribute(option: int, value: int | bytes, what: str) -> None:
    """Call prctl(2); if that fails, raise OSError with a text that says `what` is not possible."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot {what}: {os.strerror(code)}")


def leave_no_cores() -> None:
    """Make this process undumpable, and forbid core files to it and its children; OSError."""
    keep_memory_private()
    if not is_open():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
