"""DER is written in one way, and read in that way only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.x509 import der


@given(st.integers(0, 2**200))
def test_whole_numbers_come_back(value: int) -> None:
    """X.690 §8.3, in the fewest bytes."""
    assert der.DERReader(der.write_integer(value)).integer() == value


@given(st.lists(st.binary(max_size=400), max_size=5))
def test_sequences_come_back(parts: list[bytes]) -> None:
    """Lengths of one, two and three bytes."""
    data = der.write(der.SEQUENCE, *(der.write(der.OCTET_STRING, part) for part in parts))
    outer = der.DERReader(data)
    reader = outer.enter()
    outer.end()
    assert [reader.take(der.OCTET_STRING) for _ in parts] == parts
    reader.end()


@given(st.binary(max_size=60))
def test_whatever_it_is_reading_ends_in_a_value_error(data: bytes) -> None:
    """Nothing but ValueError leaves the reader, and it never reads past the end."""
    reader = der.DERReader(data)
    try:
        while reader.tag != -1:
            reader.take_any()
    except ValueError:
        return
    reader.end()


@pytest.mark.parametrize(
    "data",
    [
        "0201",  # cut short
        "02",
        "3080020101 0000",  # indefinite
        "02810101",  # a long length of what fits into a short one
        "3082000402020101",  # a zero in front of a length
        "0284ffffffff01",  # four bytes of length
        "02850000000001",
    ],
)
def test_lengths_have_one_form(data: str) -> None:
    """X.690 §10.1: definite, in the fewest bytes, and of what is there."""
    with pytest.raises(ValueError, match="DER"):
        der.DERReader(bytes.fromhex(data)).take_any()


@pytest.mark.parametrize("data", ["0200", "0201ff", "02020001", "02020000"])
def test_numbers_have_one_form(data: str) -> None:
    """Empty, negative, or with a zero that nobody needs."""
    with pytest.raises(ValueError, match="fewest"):
        der.DERReader(bytes.fromhex(data)).integer()


def test_a_zero_in_front_is_needed_above_the_sign() -> None:
    """128 is 00 80."""
    assert der.DERReader(bytes.fromhex("02020080")).integer() == 128


@pytest.mark.parametrize(
    ("dotted", "hexadecimal"),
    [
        ("2.5.29.37", "551d25"),
        ("1.3.6.1.5.5.7.3.2", "2b06010505070302"),
        (
            "2.25.329800735698586629295641978511506172918",
            "6983f09da7ebcfdee0c7a1a7b2c0948cc8f9d776",
        ),
    ],
)
def test_object_identifiers(dotted: str, hexadecimal: str) -> None:
    """The last is the example of ITU-T X.667 for a UUID."""
    assert der.identifier(dotted).hex() == hexadecimal


def test_texts_and_octets_are_bounded() -> None:
    """Too long, too short, or no UTF-8."""
    with pytest.raises(ValueError, match="more than 64"):
        der.DERReader(der.write(der.UTF8_STRING, b"n" * (limits.name_chars_max + 1))).text()
    with pytest.raises(ValueError, match="utf-8"):
        der.DERReader(der.write(der.UTF8_STRING, b"\xff")).text()
    with pytest.raises(ValueError, match="3 bytes where 4"):
        der.DERReader(der.write(der.OCTET_STRING, b"abc")).octets(4)
