"""A person can read what happens, and no answer from outside can drive the terminal."""

import io
import re

from demo_observations import READ_NS, crossed, ended, restarted, said, seen
from msgspec.structs import replace
from rich.console import Console

from crewgate.demo.agents import SEARCH, SUMMARY, AgentEvent
from crewgate.demo.cross_crew_act import DecommissionOutput
from crewgate.demo.display import Display, show
from crewgate.demo.story_figures import judge


def screen(*, terminal: bool = False) -> Console:
    """A console that writes into memory."""
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def text(console: Console) -> str:
    """What it shows."""
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_news_is_told_once() -> None:
    """300 calls of the loop are two lines: the first answer and the first refusal."""
    console = screen()
    with Display(console) as board:
        for one in seen().events["collector"]:
            board.on_event("collector", one)
    first, second = text(console).splitlines()
    assert "the collector calls /search" in first
    assert "call 251 of the collector to /search is refused: 403 credits-exhausted" in second


def test_a_stream_is_told_from_its_beginning_to_its_end() -> None:
    """Also how it ended."""
    console = screen()
    with Display(console) as board:
        board.on_event("fact-checker", AgentEvent("opened", 1, SUMMARY, 200))
        board.on_event("fact-checker", AgentEvent("ended", 2, SUMMARY, 200, "reset"))
    assert "opens a stream at /summary" in text(console)
    assert "the stream of the fact-checker ends: reset" in text(console)


def test_a_long_line_goes_on_below_its_text() -> None:
    """No word is cut on a terminal of 80 columns; in a file, it stays one line."""
    words = "an alert comes, with a good signature: rule same-call has ended branch " + "b" * 36
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    Display(console).print_line(words)
    first, second = text(console).splitlines()
    assert first.endswith(
        " s  an alert comes, with a good signature: rule same-call has ended branch"
    )
    assert second == " " * 9 + "b" * 36
    console = screen()
    Display(console).print_line(f"{words} {words}")
    assert len(text(console).splitlines()) == 1


def test_a_terminal_shows_everybody_live() -> None:
    """Each role has its row, whatever has happened so far."""
    console = screen(terminal=True)
    with Display(console) as board:
        board.on_event("drafter", said(SEARCH, 403, "tool-not-allowed"))
        console.print(board._table())
    assert "style-reviewer" in text(console)
    assert "403 tool-not-allowed" in text(console)


def test_the_summary_says_what_held() -> None:
    """Each figure that a reader is after, and the verdict."""
    console = screen()
    show(judge(seen(), crossed(), restarted(), ended()), console)
    for part in ("250 calls for 2.50 of 2.50", "then 50 refused", "; one more call: ", "8.0 ms"):
        assert part in text(console)
    verdict = r"\nEvery promise held, [0-9.]+ s after the gateway was ready\."
    assert re.search(verdict, text(console))
    assert "its stream at gateway 2 cut in 4.0 ms" in text(console)
    assert "Its later calls  0 accepted, 20 refused at gateway 3" in text(console)
    assert "on the disks of 3 of 3 machines after 7.0 ms" in text(console)
    assert "BROKEN" not in text(console)


def test_the_summary_fits_a_terminal() -> None:
    """80 columns; what a figure is of stands in 17 of them, and no line is wrapped."""
    console = screen()
    show(judge(seen(), crossed(), restarted(), ended()), console)
    told = text(console).splitlines()
    assert max(len(line.rstrip()) for line in told) <= 80
    figures = told[told.index(next(line for line in told if line.startswith("Retry loop"))) : -1]
    assert len(figures) > 10
    assert all(line[16] == " " != line[17] for line in figures)


def test_the_summary_names_what_did_not_hold() -> None:
    """A broken promise is not hidden behind the figures."""
    console = screen()
    show(judge(replace(seen(), received=[]), crossed(), restarted(), ended()), console)
    assert "Every promise held" in text(console)
    show(judge(replace(seen(), calls=[]), crossed(), restarted(), ended()), console)
    assert "BROKEN: the audit and the agents count different calls" in text(console)


def test_what_the_list_of_the_revoked_closed_has_no_time() -> None:
    """None that is below 0."""
    console = screen()
    act = replace(crossed(), decommissioned=DecommissionOutput(READ_NS + 6_000_000))
    show(judge(seen(), act, restarted(), ended()), console)
    assert "orchestrator bd-1: its stream closed by the CRL" in text(console)


def test_a_stream_that_never_came_was_not_cut() -> None:
    """A time that nobody measured is not shown as one."""
    console = screen()
    act = replace(ended(), events=ended().events | {"translator": []})
    show(judge(seen(), crossed(), restarted(), act), console)
    assert "its stream at gateway 2 not cut" in text(console)
    assert "Its later calls  0 accepted, 0 refused at gateway 3" in text(console)


def test_an_answer_cannot_drive_the_terminal() -> None:
    """Reasons come from a server; they are shown, not obeyed."""
    console = screen()
    with Display(console) as board:
        board.on_event("drafter", said(SEARCH, 403, "\x1b[2J[red]\u202e"))
    assert "\x1b" not in text(console)
    assert r"\x1b[2J[red]\u202e" in text(console)
