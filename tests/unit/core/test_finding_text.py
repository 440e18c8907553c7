"""What a person reads of why a rule has ended a branch."""

import pytest

from crewgate.core.rules.finding_text import end_reason


@pytest.mark.parametrize(
    ("kind", "count", "limit", "says"),
    [
        ("same-call", 20, 20, "20 equal calls in a row, and ends a branch at 20"),
        ("wall-time", 5, 5, "5 seconds since the first call, and ends a branch at 5"),
        ("credits-per-minute", 250_000, 200_000,
         "0.25 credits in this minute, and ends a branch at 0.20"),
        ("", 20, 20, "20, and ends a branch at 20"),
        ("of-a-later-version", 20, 20, "20, and ends a branch at 20"),
    ],
)  # fmt: skip
def test_the_reason_has_the_unit(kind: str, count: int, limit: int, says: str) -> None:
    """Credits are no micro-credits; a kind that is unknown here has none."""
    assert end_reason("r", kind, count, limit) == f"rule r has counted {says}"
