"""Waits for signals and descriptors together; no signal handler does any work."""

import selectors
import signal
import socket
from collections.abc import Iterable
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing: Python has already written the number to the wake-up descriptor."""


class Signals:
    """A context in which only `wait` receives SIGTERM, SIGINT, SIGHUP, SIGUSR2 and SIGCHLD."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._write.setblocking(False)  # noqa: FBT003
        self._before: dict[signal.Signals, object] = {}
        self._wakeup_before = -1
        self._again: set[int] = set()

    def __enter__(self) -> Self:
        self._wakeup_before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, _ignore)
        return self

    def __exit__(self, *raised: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # signal() returned it
        signal.set_wakeup_fd(self._wakeup_before)
        self._read.close()
        self._write.close()

    def again(self, received: set[int]) -> None:
        """Return these signals from the next `wait`, for a caller that handles them later."""
        self._again |= received

    def wait(self, seconds: float, descriptors: Iterable[int] = ()) -> set[int]:
        """Wait up to `seconds` for signals; return early if a descriptor is readable."""
        if self._again:
            received, self._again = self._again, set()
            return received
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            for descriptor in descriptors:
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(max(0.0, seconds))
        try:
            return set(self._read.recv(4096))
        except BlockingIOError:
            return set()
