import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.credits import format_credits, parse_credits


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("2.50", 2_500_000),
        ("0", 0),
        ("0.000001", 1),
        ("1000", 1_000_000_000),
        ("9007199254.740991", limits.quota_micro_max),
    ],
)
def test_reads_decimal_text_exactly(text: str, micro: int) -> None:
    """A text of credits is exactly so many micro-credits."""
    assert parse_credits(text) == micro


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".5",
        "5.",
        "-1",
        "+1",
        "1e3",
        "0.0000001",
        "1,5",
        " 1",
        "1 ",
        "1_000",
        "NaN",
        "٣",
        "1\n",
        "9007199254.740992",
    ],
)
def test_refuses_what_is_not_plainly_an_amount(text: str) -> None:
    """Signs, exponents, blanks, foreign digits, a seventh decimal and too much are refused."""
    with pytest.raises(
        ValueError, match='digits, and at most six decimals after a dot, such as "2'
    ):
        parse_credits(text)


@given(st.integers(0, limits.quota_micro_max))
def test_a_printed_amount_reads_back_as_itself(micro: int) -> None:
    """Nothing is lost on the way to text and back."""
    text = format_credits(micro)
    assert parse_credits(text) == micro
    assert len(text.split(".")[1]) >= 2


def test_an_overdrawn_amount_is_printed_with_its_sign() -> None:
    """A negative amount, as a report may hold, keeps its sign and its decimals."""
    assert format_credits(-1_250_000) == "-1.25"
