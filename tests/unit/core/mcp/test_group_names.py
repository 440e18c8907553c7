"""Names behind one path: each listed name reaches its own server, and shows no hidden one."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from crewgate.core.mcp import group_names
from crewgate.core.mcp.group_names import ServerName

SERVERS = ["files", "search", "a", "b-1", "x" * 32]
# Names that collide with each other, with prefixes, and with shortened names of others.
NAMES = st.one_of(
    st.sampled_from(
        [
            "read", "a.b", "a_b", "files__read", "a__read", "a__a__read", "search__", "__read",
            "y" * 64, "y" * 128, "z." * 60, "b-1__" + "y" * 60, "Grüße",
        ]
    ),
    st.sampled_from(["a.b", "y" * 128, "Grüße"]).map(
        lambda name: group_names.with_prefix("files", name).removeprefix("files__")
    ),
    st.text("ab_.-", min_size=1, max_size=4),
)  # fmt: skip
VISIBLE = st.dictionaries(
    st.sampled_from(SERVERS), st.lists(NAMES, max_size=5, unique=True), min_size=1
)


@given(VISIBLE)
def test_what_is_listed_reaches_its_own_server(visible: dict[str, list[str]]) -> None:
    """Each name has one meaning. A name with a prefix fits the APIs of language models."""
    shown = group_names.shown_names(visible, SERVERS)
    assert len({*shown.values()}) == len(shown)
    for each, text in shown.items():
        owners = [server for server, names in visible.items() if text in names]
        found = group_names.prefixed(text, visible)
        assert found == each if found is not None else ([each.server], text) == (owners, each.name)
        if text != each.name:
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text)
            assert text.startswith(f"{each.server}__")


@given(VISIBLE)
def test_all_that_a_caller_may_use_is_listed(visible: dict[str, list[str]]) -> None:
    """Only names of one server that are written alike after shortening share an entry."""
    shown = group_names.shown_names(visible, SERVERS)
    for server, names in visible.items():
        for name in names:
            text = group_names.with_prefix(server, name)
            assert ServerName(server, name) in shown or any(
                group_names.with_prefix(server, other) == text for other in names if other != name
            )


@given(VISIBLE, st.sampled_from(SERVERS))
def test_a_server_without_visible_names_changes_nothing(
    visible: dict[str, list[str]], server: str
) -> None:
    """Whether it has an empty list or does not exist for the caller, the others look the same."""
    others = {name: found for name, found in visible.items() if name != server}
    with_empty = group_names.shown_names({**others, server: []}, SERVERS)
    assert with_empty == group_names.shown_names(others, SERVERS)


@given(VISIBLE)
@example({"files": ["read"], "search": ["read"]})
def test_a_prefix_is_always_accepted(visible: dict[str, list[str]]) -> None:
    """Also where the list shows the name without it."""
    for server, names in visible.items():
        for name in names:
            whole = f"{server}__{name}"
            assert group_names.prefixed(whole, visible) == (server, name)


def test_a_name_that_two_servers_have_needs_a_choice() -> None:
    """The first one is not simply taken."""
    visible = {"files": ["read"], "search": ["read", "find"]}
    assert group_names.shown_names(visible, SERVERS) == {
        ("files", "read"): "files__read",
        ("search", "read"): "search__read",
        ("search", "find"): "find",
    }
