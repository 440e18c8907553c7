"""Verdicts, as a person meets them in a shell."""

import pytest
from grant_builders import branch_id, grant
from msgspec import structs

from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial, SpentWindow


def test_a_denial_is_short_and_no_truth_value() -> None:
    """Its grant has keys and claims that nobody wants to read there."""
    assert repr(Denial(Reason.INVALID_TOKEN)) == "<Denial invalid-token>"
    waiting = Denial(Reason.BUDGET_UNAVAILABLE, grant(1, 5), retry=True)
    assert repr(waiting) == f"<Denial budget-unavailable branch={branch_id(1)} retry>"
    empty = Denial(
        Reason.CREDITS_EXHAUSTED,
        grant(1, 5),
        level="article",
        used_micro=3,
        quota_micro=4,
        need_micro=2,
    )
    assert repr(empty) == (
        f"<Denial credits-exhausted branch={branch_id(1)} "
        "level=article used_micro=3 quota_micro=4 need_micro=2>"
    )
    hour = structs.replace(empty, window=SpentWindow(3600, 7200, 61), level="")
    assert repr(hour) == (
        f"<Denial credits-exhausted branch={branch_id(1)} window=3600s left_seconds=61>"
    )
    with pytest.raises(TypeError, match="isinstance"):
        assert empty
