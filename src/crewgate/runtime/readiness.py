"""Tells a parent process over a pipe how far its child has started. Blocks."""

import os
from contextlib import suppress
from typing import Self

WAITING = b"waiting"  # the child has loaded everything; its predecessor may end
READY = b"ready"  # the child serves


class ReadinessNotifier:
    """The child's end: an inherited descriptor, or -1 if the parent does not listen."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's signature

    def send_loaded(self) -> None:
        """Tell the parent that everything is loaded."""
        self._write(WAITING)

    def send_ready(self) -> None:
        """Tell the parent that this process serves, and close the descriptor."""
        self._write(READY)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, state: bytes) -> None:
        if self._descriptor >= 0:
            # The parent may have stopped listening.
            with suppress(OSError):
                os.write(self._descriptor, state)


class ReadinessListener:
    """The parent's end of one pipe. Use it in a `with`."""

    def __init__(self) -> None:
        self.ours, self.theirs = os.pipe()
        os.set_blocking(self.ours, False)
        self._received = b""
        self.is_over = False  # the child has closed its end, or has ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.started()
        os.close(self.ours)

    def started(self) -> None:
        """Close our copy of the child's end, which would keep the pipe open."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    def poll(self, state: bytes) -> bool:
        """Whether the child has reported `state`, WAITING or READY, by now."""
        with suppress(BlockingIOError):
            data = os.read(self.ours, 64)
            self._received += data
            self.is_over = not data
        return state in self._received
