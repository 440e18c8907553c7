from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.policy.scope import (
    count_covered,
    is_pattern,
    is_tool_name,
    matches,
    within,
)

names = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=3).map(".".join)
patterns = names | names.map(lambda name: name + ".*")


@pytest.mark.parametrize(
    "name", ["search", "search.web", "Search.Web", "a:b.c", "a-b_c.0", "_", "x" * 128]
)
def test_tool_names(name: str) -> None:
    """Segments joined by single dots or colons, at most 128 characters."""
    assert is_tool_name(name)
    assert is_pattern(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a.:b",
        "a:",
        "a b",
        "a/b",
        "a\n",
        "é",
        "x" * 129,
        "a.*.*",
        "*.a",
        "a*",
    ],
)
def test_neither_names_nor_patterns(text: str) -> None:
    """Anything else is refused, as a name and as a pattern."""
    assert not is_tool_name(text)
    assert not is_pattern(text)


def test_a_star_is_a_pattern_behind_a_dot_only() -> None:
    """`search.*` is a pattern and no name; `*` and `.*` grant what does not exist yet."""
    assert is_pattern("search.*")
    assert not is_tool_name("search.*")
    assert not is_pattern("*")
    assert not is_pattern(".*")
    assert is_pattern("x" * 126 + ".*")
    assert not is_pattern("x" * 127 + ".*")


def test_a_star_covers_everything_below_and_not_the_name_itself() -> None:
    """`search.*` is any depth below `search`, and neither `search` nor `searching`."""
    assert matches("search.*", "search.web")
    assert matches("search.*", "search.web.deep")
    assert not matches("search.*", "search")
    assert not matches("search.*", "searching.web")
    assert not matches("search.web", "search.web.deep")


def covers(some: Iterable[str], tool: str) -> bool:
    """Whether one of the patterns fits."""
    return any(matches(pattern, tool) for pattern in some)


@given(child=st.lists(patterns, max_size=3), parent=st.lists(patterns, max_size=3), tool=names)
def test_what_is_within_never_covers_more(child: list[str], parent: list[str], tool: str) -> None:
    """Within means: whatever the child covers, the parent covers."""
    if within(child, parent) and covers(child, tool):
        assert covers(parent, tool)


@given(child=patterns, parent=st.lists(patterns, max_size=3))
def test_what_is_not_within_covers_something_more(child: str, parent: list[str]) -> None:
    """Not within means: there is a tool that the child covers and the parent does not."""
    if not within([child], parent):
        # No pattern above names this segment, so a star covers it only by covering all of it.
        witness = child.replace("*", "zz")
        assert covers([child], witness)
        assert not covers(parent, witness)


@given(st.lists(patterns, max_size=5), st.sets(names, max_size=12))
def test_counting_is_covering_one_by_one(some: list[str], tools: set[str]) -> None:
    """However patterns overlap or repeat, a tool counts once."""
    counted = count_covered(some, sorted(tools))
    assert counted == sum(covers(some, tool) for tool in tools)


def test_neighbours_of_a_pattern_are_not_counted() -> None:
    """`search-x`, `search` and `search0` sort around `search.*` and are none of its tools."""
    tools = sorted(["search", "search-x", "search.a", "search.z.b", "search0", "search_y"])
    assert count_covered(["search.*"], tools) == 2
    assert count_covered(["search.*", "search.a", "search"], tools) == 3
    assert count_covered(["search.*"], []) == 0
