"""The canonical text of JSON, by the rules of RFC 8785."""

import math
from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.a2a.canonical_json import canonical


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (333333333.33333329, "333333333.3333333"), (1e30, "1e+30"), (4.5, "4.5"), (2e-3, "0.002"),
        (1e-27, "1e-27"), (5e-324, "5e-324"), (-5e-324, "-5e-324"), (0.0, "0"), (-0.0, "0"),
        (1.7976931348623157e308, "1.7976931348623157e+308"), (2.0**53, "9007199254740992"),
        (295147905179352830000.0, "295147905179352830000"), (1e21, "1e+21"), (1e20, "1" + "0" * 20),
        (999999999999999700000.0, "999999999999999700000"), (1e-7, "1e-7"),
        (-3.3333333333333333e-06, "-0.0000033333333333333333"), (1e-100, "1e-100"),
        (1e-6, "0.000001"), (123, "123"), (True, "true"), (None, "null"), (["a", {}], '["a",{}]'),
        ("€$\x0f\nA'B\"\\\\\"/", '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
        ({"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7},
         '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}'),
    ],
)  # fmt: skip
def test_a_value_has_one_text(value: object, text: str) -> None:
    """Numbers are as ECMAScript writes them, names are in the order of UTF-16."""
    assert canonical(value).decode() == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_keeps_its_value(value: float) -> None:
    """Readers get the same number, in at most 17 digits."""
    text = canonical(value).decode()
    assert float(text) == value
    assert len(Decimal(text).normalize(Context(prec=400)).as_tuple().digits) <= 17


@pytest.mark.parametrize("value", [2**53, -(2**53), math.nan, math.inf])
def test_a_number_that_readers_round_is_refused(value: float) -> None:
    """Two readers would check two texts."""
    with pytest.raises(ValueError, match="number"):
        canonical([value])
