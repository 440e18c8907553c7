"""Signals as something to wait for, beside descriptors; no handler of ours does any work."""

import selectors
import signal
import socket
from collections.abc import Iterable
from types import FrameType
from typing import Self

_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)


def _ignore(number: int, frame: FrameType | None) -> None:
    """The number has been written to the wake-up descriptor already."""


class Signals:
    """In a `with`: SIGTERM, SIGINT, SIGHUP, SIGUSR2 and SIGCHLD are heard by `wait` alone."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)  # noqa: FBT003  -- the standard library's signature
        self._write.setblocking(False)  # noqa: FBT003
        self._before: dict[signal.Signals, object] = {}
        self._wakeup_before = -1
        self._again: set[int] = set()

    def __enter__(self) -> Self:
        self._wakeup_before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in _HEARD:
            self._before[number] = signal.signal(number, _ignore)
        return self

    def __exit__(self, *raised: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what signal() gave us
        signal.set_wakeup_fd(self._wakeup_before)
        self._read.close()
        self._write.close()

    def again(self, heard: set[int]) -> None:
        """Have the next `wait` return what this one was not about."""
        self._again |= heard

    def wait(self, seconds: float, descriptors: Iterable[int] = ()) -> set[int]:
        """Signals that came within `seconds`; returns early for one, or if anything is readable."""
        if self._again:
            heard, self._again = self._again, set()
            return heard
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            for descriptor in descriptors:
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(max(0.0, seconds))
        try:
            return set(self._read.recv(4096))
        except BlockingIOError:
            return set()
