"""The output about the health of a machine: lines of 80 columns, and the exit status."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from crewgate.cli.output.line_wrapping import between_words

EXIT_STATUS = {"ok": 0, "degraded": 1, "failed": 2}
_COLUMNS = 80
# The headline names so many components; the lines below it have all.
_NAMED_MAX = 4
_INDENT = " " * 10


def headline(state: str, troubles: Iterable[Mapping[str, Any]]) -> str:
    """Return whether the machine is ready, and which components are at fault."""
    if state == "ok":
        return "ready"
    if state != "degraded":
        troubles = [each for each in troubles if each["refuses"] and each["state"] == "failed"]
    named = [each["component"] for each in troubles]
    more = len(named) - _NAMED_MAX
    shown = "; ".join(named[:_NAMED_MAX]) + (f"; and {more} more" if more > 0 else "")
    words = "ready, but degraded" if state == "degraded" else "not ready"
    return f"{words}: {shown}"


def lines(troubles: Iterable[Mapping[str, Any]], now: float) -> Iterator[str]:
    """Yield for each trouble since when, why, and how to mend it; `now` is seconds since 1970."""
    for each in troubles:
        word = "starting" if each["passing"] else each["state"]
        yield f"{word:<10}{each['component']}{_since(each['since'], now)}"
        yield from wrapped(each["why"])
        if each["mend"]:
            yield from wrapped(f"To mend it: {each['mend']}.")


def _since(seconds: float, now: float) -> str:
    """Return since when; "" for 0, a condition without a known start."""
    if not seconds:
        return ""
    since = datetime.fromtimestamp(seconds, UTC)
    return f", since {since:%Y-%m-%d %H:%M:%S}Z ({_span(now - seconds)})"


def wrapped(text: str) -> list[str]:
    """Return indented lines; what a person copies, a path or a command in backquotes, stays whole.

    A longer command is wrapped by the terminal, which copies it as one line.
    """
    return between_words([_INDENT + " ".join(text.split())], _COLUMNS, _INDENT)


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
