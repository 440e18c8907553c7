"""A bucket gives its burst at once, and from then on what refills it."""

from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.rate_limit import TokenBucket


def test_a_burst_and_then_a_rate() -> None:
    """Ten at once; then two a second, however often one asks."""
    bucket = TokenBucket(per_second=2, burst=10)
    assert [bucket.take(100.0) for _ in range(12)] == [True] * 10 + [False] * 2
    taken = sum(bucket.take(100 + step / 100) for step in range(1, 1001))
    assert taken == 20


@given(st.integers(0, 10**15))
def test_the_burst_is_whole_at_any_time(nanoseconds: int) -> None:
    """And the next one comes when it is due, whatever floats make of it."""
    bucket, now = TokenBucket(1 / 60, 24), nanoseconds / 1e9
    assert [bucket.take(now) for _ in range(25)] == [True] * 24 + [False]
    assert bucket.take((nanoseconds + 60 * 10**9) / 1e9)


@given(st.floats(0.1, 1000), st.integers(1, 100), st.lists(st.floats(0, 10), max_size=200))
def test_never_more_than_burst_and_rate(rate: float, burst: int, pauses: list[float]) -> None:
    """Over any time: the burst, and the rate times the time."""
    bucket, now, taken = TokenBucket(rate, burst), 1000.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
        assert taken <= burst + rate * (now - 1000.0) + 1
