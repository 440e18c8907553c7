"""Finds the epoll with which Trio waits, so that the poller can wait for Trio.

Trio has no function for that. The kernel shows which descriptors an epoll watches (proc(5),
`/proc/[pid]/fdinfo`). Trio's epoll is the one that watches a socket for which a task waits.
"""

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import trio

from crewgate import limits

_FDINFO = Path("/proc/self/fdinfo")
_LINKS = Path("/proc/self/fd")
_EPOLL = "anon_inode:[eventpoll]"


class _Poller(Protocol):
    def watch(self, descriptor: int, ready: Callable[[int], None]) -> None:
        """Call `ready` when there is something to read."""

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more."""


async def find_trio_epoll() -> int | None:
    """Return the descriptor of Trio's epoll; None if the kernel shows none or several."""
    near, far = socket.socketpair()
    with near, far:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.wait_readable, near)
            for _ in range(2):  # after the first, the task may still be about to run
                await trio.lowlevel.checkpoint()
            found = _epolls_that_watch(near.fileno())
            nursery.cancel_scope.cancel()
    return found[0] if len(found) == 1 else None


async def reaches_sockets(poller: _Poller) -> bool:
    """Return whether the poller serves a socket while Trio waits for this task."""
    near, far = socket.socketpair()
    served = trio.Event()
    with near, far:
        poller.watch(near.fileno(), lambda _: _serve(near, served))
        try:
            far.send(b"x")
            with trio.move_on_after(limits.turns_proof_seconds_max):
                await served.wait()
        finally:
            poller.forget(near.fileno())
    return served.is_set()


def _serve(near: socket.socket, served: trio.Event) -> None:
    near.recv(1)
    served.set()


def _epolls_that_watch(descriptor: int) -> list[int]:
    watches = re.compile(rf"^tfd: +{descriptor} ", re.MULTILINE)
    try:
        epolls = [link.name for link in _LINKS.iterdir() if _target(link) == _EPOLL]
        return [int(name) for name in epolls if watches.search((_FDINFO / name).read_text())]
    except OSError:
        return []  # no /proc


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""  # the descriptor that lists the folder
