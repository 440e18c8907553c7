"""How a child tells its parent how far it is: a word over a pipe. Plain blocking code."""

import os
from contextlib import suppress
from typing import Self

WAITING = b"waiting"  # all is loaded, and the process before it may end
READY = b"ready"  # it serves


class ReadinessNotifier:
    """The child's end: a descriptor that was inherited, or -1 if the parent does not listen."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - its own signature

    def send_loaded(self) -> None:
        """Say that all is loaded."""
        self._write(WAITING)

    def send_ready(self) -> None:
        """Say that it serves; once, and then nothing more."""
        self._write(READY)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, word: bytes) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):  # the parent has stopped listening
                os.write(self._descriptor, word)


class ReadinessListener:
    """The parent's end of one pipe. Use it in a `with`."""

    def __init__(self) -> None:
        self.ours, self.theirs = os.pipe()
        os.set_blocking(self.ours, False)
        self._heard = b""
        self.is_over = False  # the child has closed its end, or has ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.started()
        os.close(self.ours)

    def started(self) -> None:
        """The child has its end; ours of it would keep the pipe open."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    def poll(self, word: bytes) -> bool:
        """Whether the child has said it by now."""
        with suppress(BlockingIOError):
            data = os.read(self.ours, 64)
            self._heard += data
            self.is_over = not data
        return word in self._heard
