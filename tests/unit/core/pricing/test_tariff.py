"""Rates and costs, against fractions; models by their names."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariffs import by_usage, rated

from crewgate import limits
from crewgate.core.pricing.sources import BytesTerm, HeaderTerm, ItemsTerm, NumberTerm
from crewgate.core.pricing.tariff import MILLION, Tariff, cost

quantities = st.integers(0, limits.amount_max) | st.fractions(0, limits.amount_max)
charges = st.lists(st.tuples(st.integers(0, limits.rate_micro_max), quantities), max_size=8)


@given(st.integers(0, limits.price_micro_max), charges)
def test_a_cost_is_the_exact_sum_rounded_up_once(
    call: int, charged: list[tuple[int, int | Fraction]]
) -> None:
    """Exact fractions are added, and only their sum is made whole: never too little, never 1 more.

    It is an integer, as everything that counts credits wants it.
    """
    exact = call + sum(Fraction(rate) * Fraction(units) / MILLION for rate, units in charged)
    found = cost(call, charged)
    assert type(found) is int
    assert found == math.ceil(exact)


@pytest.mark.parametrize(
    ("charged", "micro"),
    [
        ([], 7),
        ([(MILLION, 0)], 7),
        ([(1, 1)], 8),
        ([(500_000, 1), (500_000, 1)], 8),  # two halves are one
        ([(500_001, 1), (500_000, 1)], 9),
        ([(MILLION, Fraction(1, 3)), (MILLION, Fraction(2, 3))], 8),
        ([(limits.rate_micro_max, limits.amount_max)], 7 + 10**12 * limits.amount_max),
    ],
)
def test_a_fraction_of_a_micro_credit_costs_one(
    charged: list[tuple[int, int | Fraction]], micro: int
) -> None:
    """What is charged beside the call is rounded together, up."""
    assert cost(7, charged) == micro


patterns = st.text("ab-", max_size=4).flatmap(lambda it: st.sampled_from([it or "*", f"{it}*"]))


@given(st.lists(patterns, max_size=6, unique=True), st.text("ab-", max_size=5))
def test_a_model_is_priced_by_itself_or_its_longest_beginning(names: list[str], asked: str) -> None:
    """The more exactly a table names it, the sooner it is the one; a star alone names any."""
    found = by_usage("openai", rated("x"), *map(rated, names)).model(asked)
    stars = [name for name in names if name.endswith("*") and asked.startswith(name[:-1])]
    if asked in names:
        assert found == rated(asked)
    else:
        assert found == (rated(max(stars, key=len)) if stars else None)


@pytest.mark.parametrize("asked", ["M", "m ", " m", "m\n", "mm", ""])
def test_a_name_without_a_star_is_a_whole_name(asked: str) -> None:
    """Neither its beginning nor another spelling is this model, as far as the price goes."""
    assert by_usage().model(asked) is None


@pytest.mark.parametrize(
    ("tariff", "body", "answer"),
    [
        (Tariff(1, 9, request=(BytesTerm(1),)), True, False),
        (Tariff(1, 9, request=(NumberTerm(1, ("a",)),)), True, False),
        (Tariff(1, 9, request=(ItemsTerm(1, ("a",)),)), True, False),
        (Tariff(1, 9, response=(BytesTerm(1),)), False, True),
        (Tariff(1, 9, response=(HeaderTerm(1, ("a",)),)), False, True),
        (Tariff(1, 9, usage=by_usage()), True, True),
    ],
)
def test_a_tariff_knows_what_it_has_to_read(tariff: Tariff, body: bool, answer: bool) -> None:
    """A body is waited for, and an answer read, only where the price stands in it."""
    assert (tariff.reads_body, tariff.reads_answer) == (body, answer)
