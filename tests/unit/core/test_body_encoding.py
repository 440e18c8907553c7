"""Header fields with which a server could read another message in the bytes that were judged."""

import pytest

from crewgate.core.body_encoding import encoding_problem

JSON = frozenset({b"application/json"})


@pytest.mark.parametrize(
    ("value", "is_good"),
    [
        ("application/json", True),
        ("Application/JSON ; charset=UTF-8", True),
        ('application/json;charset="utf8"', True),
        ("application/json; charset=utf-7", False),
        ("application/json; charset=utf-8x", False),
        ("application/json; charset=utf-8; charset=shift_jis", False),
        ("text/plain", False),
        ("", False),
    ],
)
def test_a_body_has_its_type_and_is_in_utf_8(value: str, is_good: bool) -> None:
    """In UTF-7 "+ACI-" is a quote; in Shift JIS a character can end with a backslash."""
    assert (not encoding_problem([(b"content-type", value.encode())], JSON)) is is_good


def test_a_body_is_not_compressed() -> None:
    """Bytes that are JSON can also be a compressed text, to a server that tries."""
    assert not encoding_problem([], JSON)
    assert not encoding_problem([(b"content-encoding", b"Identity")], JSON)
    assert "compressed" in encoding_problem([(b"content-encoding", b"deflate")], JSON)


def test_a_type_that_comes_twice_is_refused() -> None:
    """Servers differ in which of the two they read."""
    assert "2 times" in encoding_problem([(b"content-type", b"application/json")] * 2, JSON)
