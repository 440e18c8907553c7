"""The automaton of a pattern, against Python's own regular expressions, and its bounds."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_depth import deep

from crewgate.core.json_schema.regex_automaton import CompileBudget, RegexAutomaton


def automaton(pattern: str) -> RegexAutomaton:
    return RegexAutomaton(pattern, CompileBudget())


atoms = st.sampled_from(
    ["a", "b", "-", "é", "[ab]", "[^a]", "[a-c-]", ".", r"\d", r"\W", r"\.", "^", "$"]
)
patterns = st.recursive(
    atoms,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3).map("".join),
        st.lists(parts, min_size=1, max_size=3).map("|".join).map("({})".format),
        st.builds(
            "(?:{}){}".format, parts, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"])
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=deep(300))
@given(patterns, st.lists(st.text("ab-é1.", max_size=6), min_size=1, max_size=6))
def test_it_matches_what_python_matches(pattern: str, texts: list[str]) -> None:
    """A text matches if Python, which backtracks, finds a match anywhere in it."""
    expected = re.compile(pattern.replace("$", r"\Z"), re.ASCII)
    compiled = automaton(pattern)
    for text in texts:
        assert compiled.matches(text) is (expected.search(text) is not None), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("^a$", "a\n", False),  # "$" is the end only
        (".", "\u2028", False),  # ECMA-262: no line terminator
        (r"^\s$", "\ufeff", True),
        (r"\w", "ü", False),
        (r"^\u00e9\x41\u{1F600}$", "éA\U0001f600", True),
        ("^.$", "\U0001f600", True),  # a character is a code point
        ("[^]", "\n", True),
        ("[]", "x", False),
        ("", "anything", True),
        ("$^", "", True),
        (r"^[\w.+\-[]+@[a-z]{2,}$", "a.b+c@xyz", True),
    ],
)
def test_it_reads_patterns_as_ecma_262(pattern: str, text: str, matches: bool) -> None:
    """Where Python differs from ECMA-262, JSON Schema means the latter."""
    assert automaton(pattern).matches(text) is matches


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a)\1", "(?=a)", "(?<!a)", r"\bword", r"\p{L}", "(?i)a", "a{2,1}", "a{9999}", "a**",
        "*a", "(a", "a)", "[a", "[z-a]", r"[\d-z]", "a\\", r"\ud800", r"\u{110000}", "x{1}{2}",
        "}", "a" * 2000, "(" * 40 + ")" * 40,
    ],
)  # fmt: skip
def test_what_no_automaton_can_match_is_refused(pattern: str) -> None:
    """An unsupported construct is an error, never a pattern that means something else."""
    with pytest.raises(ValueError, match=r"pattern|longer than"):
        automaton(pattern)


@pytest.mark.parametrize(
    "pattern", ["a.{30}b", "(?:(?:){1000}){1000}", "(x{1000}){1000}", "(.*a){9}.{12}"]
)
def test_a_pattern_of_too_many_states_is_refused(pattern: str) -> None:
    """The compilation ends after a bounded number of steps."""
    with pytest.raises(ValueError, match="too many states"):
        automaton(pattern)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a*)*b", "(x+x+)+y"])
def test_a_pattern_that_makes_others_backtrack_reads_each_character_once(pattern: str) -> None:
    """A text on which a backtracking matcher would not end."""
    assert not automaton(pattern).matches("a" * 100_000 + "!")
