"""Checks the parameters of the public API: credits, tools, times, texts and branch ids."""

import math
from collections.abc import Mapping, Sequence

from crewgate import limits
from crewgate.core import ids
from crewgate.core.credits import parse_credits
from crewgate.core.tokens.claims import is_text
from crewgate.errors import IssuerError


def amount(text: str) -> int:
    """Convert credits, as decimal text, to micro-credits.

    Raises:
        IssuerError: `text` is anything else, for example a number.
    """
    if not isinstance(text, str):
        raise IssuerError(f'credits are decimal text such as "2.50", not {text!r}')
    try:
        return parse_credits(text)
    except ValueError as error:
        raise IssuerError(str(error)) from None


def whole_seconds(seconds: int | None) -> int | None:
    """Return a number of seconds of a branch's life, or None, unchanged.

    Raises:
        IssuerError: It is not a whole number within the bounds.
    """
    longest = limits.branch_seconds_max
    if seconds is not None and (type(seconds) is not int or not 1 <= seconds <= longest):
        raise IssuerError(f"seconds: expected a whole number from 1 to {longest}, not {seconds!r}")
    return seconds


def journal_text(reason: str) -> str:
    """Return the beginning of a text for the journal: `limits.reason_chars_max` characters.

    A lone surrogate, as in an argument of a command that is no UTF-8, becomes a `?`.
    """
    return reason[: limits.reason_chars_max].encode(errors="replace").decode()


def tool_list(tools: Sequence[str]) -> list[str]:
    """Return the tools as a list.

    Raises:
        IssuerError: `tools` is one text, which Python would take for a sequence of letters.
    """
    if isinstance(tools, str):
        raise IssuerError(f"tools must be a list: write [{tools[:64]!r}]")
    return list(tools)


def branch_id(text: str) -> str:
    """Return the id of a branch unchanged.

    Raises:
        IssuerError: `text` is not a UUID.
    """
    try:
        ids.uuid_bytes(text)
    except (ValueError, AttributeError, TypeError):
        raise IssuerError(
            f"not a branch id: {str(text)[:64]!r}; expected a lower-case hyphenated UUID"
        ) from None
    return text


def check_texts(texts: Mapping[str, str]) -> None:
    """Refuse a text that no token can hold.

    Raises:
        IssuerError: A text, which has its name in the error, has other characters or no length.
    """
    for name, text in texts.items():
        if not is_text(text):
            raise IssuerError(
                f"{name} {text[:64]!r} must be 1 to {limits.claim_chars_max} characters of "
                "A-Z a-z 0-9 . _ : / @ -"
            )


def clock_seconds(now: object) -> int:
    """Return a time of the caller in whole seconds.

    Raises:
        IssuerError: It is no time.
    """
    if not isinstance(now, int | float) or not -math.inf < now < math.inf:
        raise IssuerError(f"now must be wall-clock seconds since the epoch, not {now!r}")
    return int(now)


def check_quota(quota: object) -> None:
    """Refuse credits that are no integer.

    Raises:
        IssuerError: They are not.
    """
    if type(quota) is not int:
        raise IssuerError(f"quota must be an integer of micro-credits, not {quota!r}")
