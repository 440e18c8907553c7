"""A question is refused where it cannot be meant, with a word on how to write it."""

from datetime import UTC, datetime, timedelta

import pytest

from crewgate import limits
from crewgate.audit.question import Question, parse_since

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30s", NOON - timedelta(seconds=30)),
        ("10m", NOON - timedelta(minutes=10)),
        ("2h", NOON - timedelta(hours=2)),
        ("1d", NOON - timedelta(days=1)),
        ("2026-11-24T11:59:00Z", NOON - timedelta(minutes=1)),
        ("2026-11-24T13:00:00.5+02:00", NOON - timedelta(hours=1) + timedelta(seconds=0.5)),
    ],
)
def test_durations_and_times(text: str, moment: datetime) -> None:
    """A duration counts back from now; a time is what RFC 3339 says it is."""
    assert parse_since(text, NOON) == moment


@pytest.mark.parametrize(
    "text", ["", "10", "m", "1w", "-1h", "1.5h", "١m", "2026-11-24T12:00:00", "now", "999999999d"]
)
def test_other_texts_are_refused_with_examples(text: str) -> None:
    """No guess: a time without an offset, for one, could be two moments."""
    with pytest.raises(ValueError, match="write 30s, 10m, 2h, 1d or 2026-11-24T12:00:00Z"):
        parse_since(text, NOON)


@pytest.mark.parametrize("tool", ["", "*", "Search", "a b", "search.*.x", "'; DROP TABLE x"])
def test_a_tool_that_no_tool_can_be_called_is_refused(tool: str) -> None:
    """A typing mistake must not look like an empty audit."""
    with pytest.raises(ValueError, match="not a tool name or pattern"):
        Question(tool=tool)


@pytest.mark.parametrize("branch", ["", "0199C1D2-0000-7000-8000-000000000001", "' OR 1=1"])
def test_a_branch_that_no_branch_can_be_called_is_refused(branch: str) -> None:
    """Nor must half a UUID."""
    with pytest.raises(ValueError, match="not a branch id"):
        Question(branch=branch)


@pytest.mark.parametrize("limit", [-1, limits.audit_rows_max + 1])
def test_a_listing_is_bounded(limit: int) -> None:
    """More rows than a person or a script can take are refused before they are read."""
    with pytest.raises(ValueError, match="at most"):
        Question(limit=limit)
