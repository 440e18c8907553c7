"""When the bench of rolling restarts ends with status 1."""

import pytest

from bench.cluster.restarts import GAP_SECONDS_MAX, Seen, complaints

GOOD = {"calls": 5000, "gap": GAP_SECONDS_MAX}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, []),
        ({"gap": GAP_SECONDS_MAX + 0.5}, ["a gateway gave no answer for 1.50 s, over 1.0 s"]),
        ({"failed_at_first": {"503": 9}}, []),
        ({"failed_at_first": {"503": 10}}, ["10 of 10000 calls failed at first, 0.1% or more"]),
        ({"failed": {"503": 1}}, ["1 calls failed in the end"]),
    ],
)
def test_each_thing_that_callers_must_not_lose_is_a_complaint(
    other: dict[str, object], said: list[str]
) -> None:
    """One gateway is enough: the others do not make up for it."""
    assert complaints([Seen(**GOOD), Seen(**{**GOOD, **other})]) == said  # type: ignore[arg-type]
