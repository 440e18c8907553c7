"""Strangers are counted exactly, in bounded memory and a bounded number of lines."""

from hypothesis import given
from hypothesis import strategies as st

from crewgate.audit.refusal_counts import OTHERS, RefusalCounts
from crewgate.core.audit.records import when
from crewgate.core.reasons import Reason

SECOND = 1_000_000_000


def test_a_summary_says_how_often_and_when() -> None:
    """One record per listener, reason and network, with the first and the last time."""
    counts = RefusalCounts()
    counts.add("agents", Reason.INVALID_TOKEN, "192.0.2.0/24", 1 * SECOND)
    counts.add("agents", Reason.MISSING_TOKEN, "192.0.2.0/24", 2 * SECOND)
    counts.add("agents", Reason.INVALID_TOKEN, "192.0.2.0/24", 5 * SECOND)
    invalid, missing = counts.flush(9 * SECOND)
    assert (invalid.listener, invalid.reason, invalid.peer) == (
        "agents",
        "invalid-token",
        "192.0.2.0/24",
    )
    assert (invalid.count, missing.count) == (2, 1)
    assert (invalid.first, invalid.last, invalid.time) == (
        when(1 * SECOND),
        when(5 * SECOND),
        when(9 * SECOND),
    )


def test_a_flush_starts_anew() -> None:
    """Nothing is counted in two summaries; a quiet interval writes none."""
    counts = RefusalCounts()
    counts.add("agents", Reason.INVALID_TOKEN, "-", 0)
    assert len(counts.flush(1)) == 1
    assert counts.flush(2) == []


@given(st.lists(st.tuples(st.sampled_from(Reason), st.integers(0, 50)), max_size=300))
def test_strangers_share_a_line_beyond_the_bound_and_are_still_counted(
    refusals: list[tuple[Reason, int]],
) -> None:
    """The keys are bounded whatever networks come, and no refusal goes uncounted."""
    counts = RefusalCounts(keys_max=8)
    for reason, network in refusals:
        counts.add("agents", reason, f"10.0.{network}.0/24", 0)
    summaries = counts.flush(1)
    assert len(summaries) <= 8 + len(Reason)
    for reason in Reason:
        assert sum(line.count for line in summaries if line.reason == reason.value) == sum(
            1 for one, _ in refusals if one is reason
        )
    assert sum(1 for line in summaries if line.peer != OTHERS) <= 8
