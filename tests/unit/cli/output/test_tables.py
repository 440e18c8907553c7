"""A table fits the screen, and ends no line with blanks."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from crewgate.cli.output.tables import print_table, table_of

ID = "7b678c5d-f141-4370-876d-3542bbbac79a"
WHY = "revoked by operator/ada: " + "it runs in circles " * 8
ROWS = [(ID, "live"), (ID, WHY), ("x" * 100, "expired")]


def printed(width: int, rows: list[tuple[str, str]], *, is_terminal: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=is_terminal, highlight=False)
    columns = {"run": lambda row: row[0], "number": lambda _: "7", "state": lambda row: row[1]}
    print_table(console, table_of(columns, rows, ("number",)))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_no_line_ends_with_blanks(width: int) -> None:
    for line in printed(width, ROWS):
        assert line == line.rstrip()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_screen_unless_a_word_is(width: int) -> None:
    """An id stays whole, so that a person can copy it."""
    lines = printed(width, ROWS)
    assert all(len(line) <= width for line in lines if "x" * 100 not in line)
    assert sum(ID in line for line in lines) == 2
    assert " ".join(" ".join(lines).split()).count("it runs in circles") == 8


def test_a_table_that_fits_stays_a_table() -> None:
    assert printed(80, ROWS[:1]) == [
        f"run{' ' * 33}  number  state",
        f"{ID}       7  live",
    ]


def test_headings_keep_their_style() -> None:
    out = printed(80, ROWS[:1], is_terminal=True)[0]
    assert "\x1b[1mstate\x1b[0m" in out
    assert Text.from_ansi(out).plain == f"run{' ' * 33}  number  state"
