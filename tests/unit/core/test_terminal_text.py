"""Nothing from outside can drive a terminal or pretend to be another text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.terminal_text import printable

active = st.sampled_from(
    ["\x1b", "\x9b", "\r", "\n", "\x7f", "\u202e", "\u2066", "\u200d", "\ufeff"]
)
anything = st.text(st.characters(codec=None) | active | st.just("\\"))


@given(anything)
def test_nothing_active_is_left(text: str) -> None:
    """No control, format, surrogate or line separator survives, so neither ANSI nor bidi does."""
    kinds = {unicodedata.category(character) for character in printable(text)}
    assert kinds.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@given(anything, anything)
def test_different_texts_stay_different(one: str, other: str) -> None:
    """The backslash is escaped too: nobody can write an escape that looks like another's."""
    assert (printable(one) == printable(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("search.web", "search.web"),
        ("Überprüfung 検索", "Überprüfung 検索"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb", r"a\u202eb"),
        ("\U000e0001", r"\U000e0001"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\\x1b", r"\\x1b"),
    ],
)
def test_vectors(text: str, shown: str) -> None:
    """Plain words of any language stay as they are; the rest shows its code."""
    assert printable(text) == shown
