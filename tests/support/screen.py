"""A program at a pseudo-terminal, with a terminal emulator that says what a person sees."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from typing import Self

import pyte

SECONDS = 40.0  # a hang, not a slow machine


class Screen:
    """`crewgate ARGUMENTS` at a terminal of this size; use it in a `with`."""

    def __init__(
        self,
        *arguments: object,
        columns: int = 80,
        lines: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._terminal, slave = pty.openpty()
        self.emulator = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.emulator)
        self.sent = b""  # all that the program has written
        self._resize(columns, lines)
        self.modes = termios.tcgetattr(slave)
        given = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(environment or {})}
        dropped = {"NO_COLOR", "COLORTERM", "COLUMNS", "LINES"}
        inherited = {name: text for name, text in os.environ.items() if name not in dropped}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "crewgate.cli", *map(str, arguments)],
            stdin=slave, stdout=slave, stderr=slave, env=inherited | given,
            process_group=0,
        )  # fmt: skip
        self._slave = slave  # open, so that what the program leaves can be read after its end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._slave)
        if self._terminal >= 0:
            os.close(self._terminal)

    @property
    def text(self) -> str:
        """What is on the screen, a line each, without the blanks at their ends."""
        return "\n".join(line.rstrip() for line in self.emulator.display)

    def press(self, keys: str) -> None:
        """Type keys."""
        os.write(self._terminal, keys.encode())

    def shows(self, text: str) -> None:
        """Wait until the screen shows a text, on one line or on several."""
        self.until(lambda: text in " ".join(self.text.split()), text)

    def until(self, true: Callable[[], object], what: str = "") -> None:
        """Read what the program writes until something is true."""
        end = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < end, f"{what!r} did not come:\n{self.text}"
            self.read(0.1)

    def read(self, seconds: float) -> None:
        """Take what the program writes within some seconds."""
        ready, _, _ = select.select([self._terminal], [], [], seconds)
        if ready:
            data = os.read(self._terminal, 65_536)
            self.sent += data
            self._stream.feed(data)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size, as a person does who drags the edge of a window."""
        self.emulator.resize(lines, columns)
        self._resize(columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def ended(self) -> int:
        """Wait for the end; the exit status."""
        self.until(lambda: self.process.poll() is not None, "the end")
        self.read(0.1)
        return self.process.returncode

    def hang_up(self) -> None:
        """Close the terminal, as when the connection of ssh breaks."""
        os.close(self._terminal)
        self._terminal = -1

    @property
    def is_given_back(self) -> bool:
        """Whether the terminal is as the program found it: modes, cursor, first screen."""
        last = self.sent.rfind(b"\x1b[?1049h")
        after = self.sent[last:]
        marks = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?7h", b"\x1b[?2004l")
        return termios.tcgetattr(self._slave) == self.modes and all(each in after for each in marks)

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
