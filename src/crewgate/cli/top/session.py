"""One session of `crewgate top`: takes keys, readings and receipts, and draws the screen."""

import queue
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from crewgate import limits
from crewgate.cli.top.background import Background, Failure, Receipt
from crewgate.cli.top.frame import HELP, Bottom, details, frame
from crewgate.cli.top.keys import KeyReader
from crewgate.cli.top.reading import LiveRow, Reading
from crewgate.cli.top.source import Source
from crewgate.cli.top.terminal import Terminal
from crewgate.cli.top.view import TreeLine, View
from crewgate.core.terminal_text import printable, printable_lines


class _Question(NamedTuple):
    """What a person must answer with the word yes before it is done."""

    text: str
    title: str
    work: Callable[[], list[str]]


class Session:
    """The state of the screen beside the `View`: a question, a panel, a filter that is typed."""

    def __init__(self, terminal: Terminal, source: Source, view: View, interval: float) -> None:
        self.receipts: list[Receipt] = []
        self._terminal = terminal
        self._source = source
        self._view = view
        self._keys = KeyReader()
        self._background = Background(source, interval, terminal.wake)
        self._failure: Failure | None = None
        self._question: _Question | None = None
        self._typed: str | None = None
        self._title, self._panel = "", list[str]()
        self._note = ""
        self._running = 0
        self._is_ending = False

    @property
    def unfinished(self) -> bool:
        """Whether an order has no receipt yet."""
        return self._running > 0

    def run(self) -> None:
        """Show the screen until a person quits or the terminal is gone.

        Raises what a thread has not expected, and OSError of the terminal.
        """
        self._background.start()
        try:
            while not (self._is_ending and not self._running):
                self._draw()
                seconds = limits.top_escape_seconds if self._keys.waits else 1.0
                data = self._terminal.read(seconds)
                if data is None:
                    return
                expired = self._keys.waits and not data
                for key in self._keys.expire() if expired else self._keys.feed(data):
                    if self._press(key):
                        break
                self._take_results()
        except KeyboardInterrupt:
            return
        finally:
            self._background.stop()
            with suppress(queue.Empty):
                while True:
                    self._take(self._background.results.get_nowait())

    def _draw(self) -> None:
        size, question = self._terminal.size(), self._question
        note = self._note
        if self._running:
            note = "waiting for the receipt" + (", then it ends" if self._is_ending else "")
        bottom = Bottom(
            self._title, self._panel, question.text if question else "", self._typed, note
        )
        lines = frame(
            self._view,
            size,
            bottom,
            now=f"{datetime.now(UTC):%H:%M:%S}Z",
            trouble=self._trouble(),
            is_unicode=self._terminal.is_unicode,
        )
        self._terminal.draw(lines, size)

    def _trouble(self) -> str:
        """Return why the reading is an old one; nothing if it is not."""
        now, asked_at = time.monotonic(), self._background.asked_at
        seconds = now - self._background.answered_at
        if self._failure is not None:
            return f"no answer for {seconds:.0f} s: {printable(self._failure.why)}"
        if asked_at is not None and now - asked_at > limits.top_late_seconds:
            return f"no answer for {seconds:.0f} s: waiting for the agent"
        return ""

    def _take_results(self) -> None:
        with suppress(queue.Empty):
            while True:
                found = self._background.results.get_nowait()
                if isinstance(found, BaseException):
                    raise found
                self._take(found)

    def _take(self, found: Reading | Failure | Receipt | BaseException) -> None:
        if isinstance(found, Reading):
            self._failure = None
            self._view.take(found)
        elif isinstance(found, Failure):
            self._failure = found
        elif isinstance(found, Receipt):
            self._running -= 1
            self._title = "Receipt"
            self._panel = printable_lines("\n".join(found.lines)).split("\n")
            self.receipts = [*self.receipts, found][-limits.top_receipts_max :]

    def _press(self, key: str) -> bool:
        """Act on a key; return whether keys that came with it must not count."""
        if self._question is not None:
            self._answer(self._question, key)
        elif self._typed is not None:
            self._type_filter(key)
        elif self._panel or self._title:
            self._title, self._panel = "", []
        elif key in {"e", "u"}:
            self._ask(key)
            # Who types ahead, or pastes, has not read the question.
            self._terminal.drop_typed()
            self._keys.forget()
            return True
        else:
            self._choose(key)
        return False

    def _choose(self, key: str) -> None:
        view, page = self._view, max(1, self._terminal.size().lines - 6)
        self._note = ""
        moves = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -page, "pagedown": page}
        acts: dict[str, Callable[[], object]] = {
            "home": partial(view.move_to, 0),
            "end": partial(view.move_to, len(view.lines)),
            "left": partial(view.fold, unfold=False),
            "right": partial(view.fold, unfold=True),
            "tab": partial(view.turn_table, 1),
            "backtab": partial(view.turn_table, -1),
            "s": view.turn_order,
            "a": view.turn_ended,
            "escape": partial(view.filter_by, ""),
            "/": self._begin_filter,
            "enter": self._show_details,
            "?": self._show_help,
            "h": self._show_help,
            "q": self._begin_end,
        }
        if key in moves:
            view.move_to(view.position + moves[key])
        elif key in acts:
            acts[key]()

    def _begin_filter(self) -> None:
        self._typed = self._view.pattern

    def _begin_end(self) -> None:
        self._is_ending = True

    def _show_help(self) -> None:
        self._title, self._panel = "Keys", list(HELP)

    def _show_details(self) -> None:
        line = self._view.selected_line
        if isinstance(line, TreeLine):
            self._title, self._panel = "Details", details(line.live)

    def _type_filter(self, key: str) -> None:
        text = self._typed or ""
        if key == "enter":
            self._typed = None
            return
        if key == "escape":
            self._typed, text = None, ""
        elif key == "backspace":
            self._typed = text = text[:-1]
        elif len(key) == 1 and len(text) < limits.top_filter_chars_max:
            self._typed = text = text + key
        self._view.filter_by(text)

    def _ask(self, key: str) -> None:
        line = self._view.selected_line
        if not isinstance(line, TreeLine) or not line.live.row.branch:
            self._note = "select a branch first, in the table of branches"
        elif self._running:
            self._note = "wait for the receipt"
        elif key == "e":
            self._question = self._about_end(line)
        elif not line.live.row.orchestrator:
            self._note = "no machine knows the orchestrator of this branch"
        else:
            self._question = self._about_quarantine(line.live)
        self._typed = "" if self._question else None

    def _about_end(self, line: TreeLine) -> _Question | None:
        row, live = line.live.row, line.live
        if row.state in {"revoked", "closed"}:
            self._note = f"this branch is {row.state} already"
            return None
        name = f"branch {row.branch} ({row.role or 'run'}) of crew {row.crew}"
        below = f"{live.live_below} live {'branch' if live.live_below == 1 else 'branches'}"
        asked = f"End {name} with {below} below it? All machines refuse its calls at once, and "
        return _Question(
            f"{printable(asked)}nobody can undo it. Type yes and Enter.",
            f"End {printable(name)}",
            partial(self._source.end, line.node),
        )

    def _about_quarantine(self, live: LiveRow) -> _Question:
        row = live.row
        asked = (
            f"Quarantine orchestrator {row.orchestrator}? It can start no branches on any machine, "
            "and its live branches continue."
        )
        return _Question(
            f"{printable(asked)} Type yes and Enter.",
            f"Quarantine {printable(row.orchestrator)}",
            partial(self._source.quarantine, row.orchestrator.partition("/")[0], row.orchestrator),
        )

    def _answer(self, question: _Question, key: str) -> None:
        text = self._typed or ""
        if key == "enter":
            if text == "yes":
                self._running += 1
                self._background.order(question.title, question.work)
            else:
                self._note = "nothing was done: the answer was not yes"
            self._question, self._typed = None, None
        elif key == "escape":
            self._question, self._typed = None, None
            self._note = "nothing was done"
        elif key == "backspace":
            self._typed = text[:-1]
        elif len(key) == 1 and len(text) < len("yes") + 1:
            self._typed = text + key
