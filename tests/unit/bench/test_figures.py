"""Samples, medians and ratios of the hop's bench."""

import pytest

from bench.hop.figures import CPU, RATE, Case, Measured, find, interleaved, percentile, times


def measured(case: str, name: str, *cpu: float) -> Measured:
    return Measured(case, name, [{CPU.name: value, RATE.name: 1.0} for value in cpu])


def test_a_spread_is_least_median_and_most() -> None:
    """Of a few rounds percentiles would say no more."""
    spread = measured("one", "a", 3.0, 1.0, 2.0).spread(CPU)
    assert (spread.low, spread.median, spread.high) == (1.0, 2.0, 3.0)


def test_a_ratio_is_taken_within_a_round() -> None:
    """A slow round falls on both sides: the ratio of medians would be another."""
    own, other = measured("one", "a", 2.0, 200.0, 4.0), measured("one", "b", 1.0, 100.0, 4.0)
    assert own.ratio(CPU, other).median == 2.0
    assert own.ratio(CPU, other).low == 1.0


def test_a_ratio_of_unequal_rounds_is_refused() -> None:
    """A round that one of them lacks has no ratio."""
    with pytest.raises(ValueError, match="shorter"):
        measured("one", "a", 1.0, 2.0).ratio(CPU, measured("one", "b", 1.0))


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.001, 1)]
)
def test_a_percentile_is_a_value_that_was_seen(share: float, expected: int) -> None:
    """The nearest rank: at least that share of the values is not above it."""
    assert percentile(range(1, 101), share) == expected


def test_times_need_no_order() -> None:
    """The log of a load is in the order of the answers."""
    found = times([5.0, 1.0, 3.0])
    assert found == {"p50_milliseconds": 3.0, "p99_milliseconds": 5.0, "p999_milliseconds": 5.0}


def test_cases_are_sampled_in_turn_and_the_first_round_is_dropped() -> None:
    """A B A B A B, the first two with a tenth of the requests and without effect."""
    asked: list[tuple[str, int]] = []

    def case(name: str) -> Case:
        def take(requests: int) -> dict[str, float]:
            asked.append((name, requests))
            return {CPU.name: float(len(asked))}

        return Case(Measured("one", name), take)

    results = interleaved([case("a"), case("b")], 2, 50)
    assert asked == [("a", 5), ("b", 5), ("a", 50), ("b", 50), ("a", 50), ("b", 50)]
    assert [sample[CPU.name] for sample in results[0].samples] == [3.0, 5.0]


def test_who_was_not_there_is_not_found() -> None:
    """Of another case neither."""
    results = [measured("one", "a", 1.0)]
    assert find(results, "one", "a") is results[0]
    assert find(results, "one", "b") is None
    assert find(results, "two", "a") is None
