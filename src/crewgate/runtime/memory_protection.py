"""What keeps the memory of processes that hold keys from disks and from others of their user.

A core would hold the CA's key or those of TLS. An undumpable process (prctl(2), PR_SET_DUMPABLE)
leaves none, and no other process of its user may trace it or read its memory and environment: what
is open to others of /proc/PID then belongs to root. A developer sets CREWGATE_DUMPABLE=1 and
has cores, debuggers and profilers back; `serve` says so when it starts.
"""

import ctypes
import os
import resource

SWITCH = "CREWGATE_DUMPABLE"
_PR_SET_DUMPABLE = 4


def is_open() -> bool:
    """Whether a developer wants cores and tracers."""
    return os.environ.get(SWITCH) == "1"


def keep_memory_private() -> None:
    """Before there is a key. Programs that this one starts are as they are; OSError."""
    if is_open():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot make this process undumpable: {os.strerror(code)}")


def leave_no_cores() -> None:
    """The same, and neither this process nor what it starts may write a core, for good; OSError."""
    keep_memory_private()
    if not is_open():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
