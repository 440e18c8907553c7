"""A question is refused where it cannot be meant, with a word on how to write it."""

from datetime import UTC, datetime, timedelta

import pytest

from crewgate import limits
from crewgate.audit.filters import AuditFilter, parse_serial, parse_since

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
    "text",
    [
        "", "10", "m", "1w", "-1h", "1.5h", "١m", "2026-11-24T12:00:00", "now", "999999999d",
        "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00",
    ],
)  # fmt: skip
def test_other_texts_are_refused_with_examples(text: str) -> None:
    """No guess: a time without an offset, for one, could be two moments."""
    with pytest.raises(ValueError, match="write 30s, 10m, 2h, 1d or 2026-11-24T12:00:00Z"):
        parse_since(text, NOON)


@pytest.mark.parametrize("tool", ["", "*", "search/web", "a b", "search.*.x", "'; DROP TABLE x"])
def test_a_tool_that_no_tool_can_be_called_is_refused(tool: str) -> None:
    """A typing mistake must not look like an empty audit."""
    with pytest.raises(ValueError, match="not a tool name or pattern"):
        AuditFilter(tool=tool)


@pytest.mark.parametrize("branch", ["", "0199C1D2-0000-7000-8000-000000000001", "' OR 1=1"])
def test_a_branch_that_no_branch_can_be_called_is_refused(branch: str) -> None:
    """Nor must half a UUID."""
    with pytest.raises(ValueError, match="not a branch id"):
        AuditFilter(branch=branch)


@pytest.mark.parametrize("name", ["grant", "subject", "process", "orchestrator", "request"])
@pytest.mark.parametrize("text", ["", "a b", "'; DROP TABLE x", "x" * 129])
def test_a_text_that_no_record_can_have_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"not a {name}"):
        AuditFilter(**{name: text})  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [-1, limits.audit_rows_max + 1])
def test_a_listing_is_bounded(limit: int) -> None:
    """More rows than a person or a script can take are refused before they are read."""
    with pytest.raises(ValueError, match="0 to 1000000 can be listed"):
        AuditFilter(limit=limit)


@pytest.mark.parametrize(
    ("text", "serial"),
    [("0a1b", "0A1B"), ("0A:1B", "0A1B"), ("a1b", "0A1B"), ("1", "01"), ("5F" * 20, "5F" * 20)],
)
def test_a_serial_as_openssl_writes_it(text: str, serial: str) -> None:
    """With colons or without, in either case, is found as the log has it."""
    assert parse_serial(text) == serial


@pytest.mark.parametrize("text", ["", ":", "0A:", "0x1B", "0A 1B", "xyz", "A:1B", "٠١", "0" * 129])
def test_what_is_no_serial_is_refused(text: str) -> None:
    """A typing mistake must not look like a certificate that did nothing."""
    with pytest.raises(ValueError, match="crewgate ca list"):
        parse_serial(text)
