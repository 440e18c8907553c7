"""Rates, amounts and pointers, against fractions and what Python's own JSON reader reads."""

import json
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tariffs import by_usage, rated

from crewgate import limits
from crewgate.core.pricing.tariff import MILLION, PriceTerm, Tariff, amount, cost, pointer

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


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"0", 0),
        (b" 7\t\r\n", 7),
        (b"7.0", 7),
        (b"7.50", Fraction(15, 2)),
        (b"1e2", 100),
        (b"1E+2", 100),
        (b"25e-1", Fraction(5, 2)),
        (b"0e99", 0),
        (b"0.000000000001", Fraction(1, 10**12)),
        (b"9007199254740991", limits.amount_max),
        (b"1" * 15 + b"." + b"1" * 12 + b"e-10", Fraction(int("1" * 27), 10**22)),
    ],
)
def test_reads_what_json_calls_a_number(text: bytes, number: int | Fraction) -> None:
    """Fractions and exponents are exact; what is whole is an int, however it was written."""
    found = amount(text)
    assert found == number
    assert type(found) is type(number)


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"-1", b"-0", b"+1", b".5", b"5.", b"05", b"00", b"1e", b"e5", b"1e+", b"1.e5",
        b"NaN", b"nan", b"Infinity", b"inf", b"1e999", b"1e99", b"0x10", b"1_000", b"1,5", b"1 2",
        b"5\x00", b"5\n5", b"true", b"null", b'"5"', b"[5]", b"{}", b"5;", b"5%", b"\xff", b"1/2",
        "٣".encode(), "５".encode(), "²".encode(), b"9007199254740992", b"9007199254740991.5",
        b"0.0000000000001", b"1" * 17, b"0" * 33, b"1e100", b"1" * 16 + b"." + b"1" * 12 + b"e-10",
    ],
)  # fmt: skip
def test_what_is_no_number_is_not_zero(text: bytes) -> None:
    """A sign, a foreign digit, too many of them or more than 2**53 - 1 is refused."""
    with pytest.raises(ValueError, match=r"no number of 0 or more|more than"):
        amount(text)


numbers = st.from_regex(rb"-?(0|[0-9]{1,20})(\.[0-9]{1,14})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


def as_json(text: bytes) -> Fraction | None:
    """What Python reads; None for what is no number to it, a true or a text."""
    try:
        value = json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=lambda _: 0)
    except ValueError:
        return None
    return Fraction(value) if isinstance(value, Decimal) and value.is_finite() else None


@given(
    numbers | st.binary(max_size=12) | st.text("0123456789.eE+-naif ", max_size=8).map(str.encode)
)
@example(b"1e-99")
def test_no_text_is_read_as_another_number(text: bytes) -> None:
    """Whatever is read is what JSON says it is, and within bounds; all else is refused."""
    try:
        found = amount(text)
    except ValueError:
        return
    assert 0 <= found <= limits.amount_max
    assert found == as_json(text)


@given(st.integers(0, limits.amount_max))
def test_every_whole_number_up_to_the_bound_is_read(number: int) -> None:
    """No number of units that every JSON reader keeps exact is refused."""
    assert amount(b"%d" % number) == number
    assert amount(b"%d.0" % number) == number


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", ()),
        ("/", ("",)),
        ("/usage/pages", ("usage", "pages")),
        ("/a~1b/m~0n", ("a/b", "m~n")),
        ("/~01", ("~1",)),
        ('/c%d/ /k"l', ("c%d", " ", 'k"l')),
        ("/0", ("0",)),
        ("/" * limits.pointer_depth_max, ("",) * limits.pointer_depth_max),
        ("/" + "a" * (limits.pointer_chars_max - 1), ("a" * (limits.pointer_chars_max - 1),)),
    ],
)
def test_a_pointer_is_read_as_its_rfc_has_it(text: str, steps: tuple[str, ...]) -> None:
    """RFC 6901, section 5: "~1" is a slash, "~0" a tilde, and "~01" no slash."""
    assert pointer(text) == steps


@pytest.mark.parametrize(
    "text",
    ["usage", "usage/pages", "#/usage", "/~", "/a~2", "/~a/b", "/" * (limits.pointer_depth_max + 1),
     "/" + "a" * limits.pointer_chars_max],
)  # fmt: skip
def test_what_is_no_pointer_is_refused(text: str) -> None:
    """One that begins otherwise, a bare tilde, and one that is over a bound."""
    with pytest.raises(ValueError, match=r"JSON pointer|too long"):
        pointer(text)


@given(st.lists(st.text("ab~/01", max_size=4), max_size=limits.pointer_depth_max))
def test_a_place_is_named_as_it_was_configured(steps: list[str]) -> None:
    """A term's name leads a pointer back to the same place."""
    assert pointer(PriceTerm("number", 1, tuple(steps)).name) == tuple(steps)


def test_a_field_is_named_as_it_is() -> None:
    """A header's name has no slash before it."""
    assert PriceTerm("header", 1, ("x-cost",)).name == "x-cost"


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
        (Tariff(1, 9, request=(PriceTerm("bytes", 1),)), True, False),
        (Tariff(1, 9, request=(PriceTerm("number", 1, ("a",)),)), True, False),
        (Tariff(1, 9, request=(PriceTerm("items", 1, ("a",)),)), True, False),
        (Tariff(1, 9, response=(PriceTerm("bytes", 1),)), False, True),
        (Tariff(1, 9, response=(PriceTerm("header", 1, ("a",)),)), False, True),
        (Tariff(1, 9, usage=by_usage()), True, True),
    ],
)
def test_a_tariff_knows_what_it_has_to_read(tariff: Tariff, body: bool, answer: bool) -> None:
    """A body is waited for, and an answer read, only where the price stands in it."""
    assert (tariff.reads_body, tariff.reads_answer) == (body, answer)
