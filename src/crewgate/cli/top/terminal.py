"""The terminal of `crewgate top`: takes it over, gives it back, reads bytes, draws changed lines.

It gives the terminal back on every way out of its `with`. Only the second, alternate screen of the
terminal is drawn on, so that what stood there before is there again afterwards.
"""

import os
import select
import signal
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NamedTuple, Self

from rich.cells import cell_len, set_cell_size
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

# DEC private modes (xterm's ctlseqs): 1049 alternate screen, 25 cursor, 7 wrap, 2004 paste marks.
_TAKE = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?2004h\x1b[2J"
_GIVE_BACK = "\x1b[0m\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[?1049l"
_ENDING = (signal.SIGTERM, signal.SIGHUP)
_NOTED = (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
_LOCAL = 3  # the place of the local modes in what tcgetattr returns
_STYLES = {
    "": Style.null(),
    "bold": Style(bold=True),
    "dim": Style(dim=True),
    "heading": Style(reverse=True),
    "selected": Style(reverse=True, bold=True),
    "live": Style.null(),
    # Blue and yellow differ for people who do not tell red from green, and words say it all too.
    "warning": Style(color="yellow", bold=True),
    "ended": Style(dim=True),
    "good": Style(color="bright_blue", bold=True),
    "key": Style(bold=True),
}


class Size(NamedTuple):
    """The columns and lines of a screen."""

    columns: int
    lines: int


# A line of the screen: texts, each with the name of a style.
Line = Sequence[tuple[str, str]]


class Terminal:
    """Standard input and output, which must be one terminal; use it in a `with`.

    SIGTERM and SIGHUP raise SystemExit inside the `with`, and SIGINT raises KeyboardInterrupt.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        console = Console(no_color=None)
        names = {"standard": ColorSystem.STANDARD, None: None}
        self._colors = names.get(console.color_system, ColorSystem.EIGHT_BIT)
        self._styles = _STYLES
        if environment.get("NO_COLOR"):
            self._styles = {name: style.without_color for name, style in _STYLES.items()}
            self._colors = self._colors or ColorSystem.STANDARD
        self.is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        self._drawn: list[str] = []
        self._drawn_size = Size(0, 0)
        self._wake_in, self._wake_out = -1, -1
        self._stop = False

    def __enter__(self) -> Self:
        self._wake_in, self._wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _end) for number in _ENDING}
        self._handlers |= {number: signal.signal(number, self._note) for number in _NOTED}
        self._modes = termios.tcgetattr(self._in)
        try:
            self._take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        # A second signal must not come between, or the terminal stays as it is.
        with _blocked():
            self._give_back()
            signal.set_wakeup_fd(self._wakeup)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            os.close(self._wake_in)
            os.close(self._wake_out)

    def size(self) -> Size:
        """Return the size of the screen now."""
        try:
            columns, lines = os.get_terminal_size(self._out)
        except OSError:
            columns, lines = 0, 0
        return Size(columns or 80, lines or 24)

    def wake(self) -> None:
        """Have `read` return; any thread may call it."""
        with suppress(OSError):
            os.write(self._wake_out, b"\0")

    def read(self, seconds: float) -> bytes | None:
        """Return the bytes of keys; none after `seconds` or a wake. None: the terminal is gone."""
        ready, _, _ = select.select([self._in, self._wake_in], [], [], max(0.0, seconds))
        if self._wake_in in ready:
            with suppress(BlockingIOError):
                os.read(self._wake_in, 4096)
        if self._stop:
            self._stop = False
            self._suspend()
        if self._in not in ready:
            return b""
        try:
            return os.read(self._in, 1024) or None
        except OSError:
            return None

    def drop_typed(self) -> None:
        """Forget what a person has typed and `read` has not returned."""
        with suppress(termios.error):
            termios.tcflush(self._in, termios.TCIFLUSH)

    def draw(self, lines: Sequence[Line], size: Size) -> None:
        """Draw a screen of this size; only lines that have changed are sent. Raises OSError."""
        drawn = [self._encoded(line, size.columns) for line in lines[: size.lines]]
        parts = []
        if size != self._drawn_size:
            self._drawn, parts = [], ["\x1b[2J"]
        for number, text in enumerate(drawn):
            if number >= len(self._drawn) or self._drawn[number] != text:
                parts.append(f"\x1b[{number + 1};1H{text}")
        self._drawn, self._drawn_size = drawn, size
        if parts:
            self._write("".join(parts))

    def _encoded(self, line: Line, columns: int) -> str:
        """Return a line that fills the screen from left to right, with its styles."""
        parts, left = [], columns
        for text, style in line:
            width = cell_len(text)
            cut = text if width <= left else set_cell_size(text, left)
            left -= min(width, left)
            if cut:
                parts.append(self._styles[style].render(cut, color_system=self._colors))
        return "".join(parts) + " " * left

    def _take(self) -> None:
        modes = termios.tcgetattr(self._in)
        modes[_LOCAL] &= ~(termios.ICANON | termios.ECHO)  # Ctrl-C and Ctrl-Z stay signals
        termios.tcsetattr(self._in, termios.TCSANOW, modes)
        self._drawn_size = Size(0, 0)
        self._write(_TAKE)

    def _give_back(self) -> None:
        with suppress(OSError):
            self._write(_GIVE_BACK)
        with suppress(termios.error):
            termios.tcsetattr(self._in, termios.TCSANOW, self._modes)

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding or "utf-8", errors="replace")
        while data:
            data = data[os.write(self._out, data) :]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        """Remember Ctrl-Z; for a change of the size it is enough that `read` wakes."""
        self._stop = self._stop or number == signal.SIGTSTP

    def _suspend(self) -> None:
        """Stop as the shell expects it, and take the terminal again when the shell goes on."""
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._note)
        self._take()


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _blocked() -> Iterator[None]:
    numbers = {signal.SIGINT, *_ENDING}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
