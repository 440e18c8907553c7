"""The sources of a price, and the numbers and pointers that they are read with.

Numbers are compared with fractions and with what Python's own JSON reader reads.
"""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.pricing.editable_json import EditableJSON
from crewgate.core.pricing.sources import (
    SOURCES,
    BytesTerm,
    HeaderTerm,
    ItemsTerm,
    NumberTerm,
    PlaceKind,
    PriceTerm,
    RequestParts,
    amount,
    pointer,
)

BODY = b'{"a":[1,2]}'
IN_REQUESTS = {BytesTerm(1): 11, NumberTerm(1, ("a", "1")): 2, ItemsTerm(1, ("a",)): 2}
PLACES = {PlaceKind.NOTHING: (), PlaceKind.POINTER: ("a", "0"), PlaceKind.HEADER: ("x-a",)}


class Progress:
    """Of a response that has begun."""

    bytes, events = 5, 2


def test_the_configuration_knows_each_source_by_a_key_of_its_own() -> None:
    """Two classes with one key would hide each other; a class without a direction is never used."""
    assert len({source.key for source in SOURCES}) == len(SOURCES)
    assert all(source.in_request or source.in_response for source in SOURCES)


def test_a_source_of_requests_reads_one() -> None:
    """All that may stand in `request` do, and without the body only if they say so."""
    assert {type(term) for term in IN_REQUESTS} == {each for each in SOURCES if each.in_request}
    for term, quantity in IN_REQUESTS.items():
        body, document = (BODY, EditableJSON(BODY)) if term.needs_body else (b"", None)
        assert term.of_request(RequestParts([(b"x-a", b"3")], body, document)) == quantity


@pytest.mark.parametrize("source", [each for each in SOURCES if each.in_response])
def test_a_source_of_responses_reads_one_part_of_it(source: type[PriceTerm]) -> None:
    """What is counted is stated nowhere. All else is stated in one part, in JSON if it says so."""
    term, fields = source(1, PLACES[source.place_kind]), {b"x-a": b"3"}
    parts = term.of_headers(fields), term.of_json(BODY, None), term.of_trailers(fields)
    assert source.reads_json or parts[1] is None
    assert sum(part is not None for part in parts) == (not source.is_counted)
    assert not source.is_counted or term.of_progress(Progress()) > 0


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
    with pytest.raises(ValueError, match=r"not a number of 0 or more|more than"):
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
    assert pointer(NumberTerm(1, tuple(steps)).name) == tuple(steps)


def test_a_field_is_named_as_it_is() -> None:
    """A header's name has no slash before it."""
    assert HeaderTerm(1, ("x-cost",)).name == "x-cost"
