"""Reaps orphans, if this process is the first one of a container.

The kernel gives this process each orphan of the container: a process whose parent has ended, such
as one that a `docker exec` left behind. An orphan that has ended keeps its process id until its new
parent reaps it.
"""

import os
from collections.abc import Container
from contextlib import suppress

_FIRST = 1


def reap_orphans(own: Container[int]) -> None:
    """Reap orphans that have ended, up to the first process of `own`, which its owner reaps."""
    if os.getpid() != _FIRST:
        return
    with suppress(ChildProcessError):
        while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if found.si_pid in own:
                return
            os.waitpid(found.si_pid, 0)
