"""A worker remembers the names in the lists that branches have got."""

import pytest

from crewgate import limits
from crewgate.core.mcp.list_kind import ListKind
from crewgate.gateway.mcp_group.shown_names import ShownNames

TOOLS = ListKind.TOOLS


def test_a_list_is_known_for_a_minute_to_its_branch() -> None:
    """Then the worker asks again."""
    known = ShownNames()
    known.put(b"branch", TOOLS, {"files": ("read",)}, 10.0)
    found = known.of(b"branch", TOOLS, 69.9)
    assert found is not None
    assert (found.names, found.at) == ({"files": ("read",)}, 10.0)
    assert known.of(b"other", TOOLS, 10.0) is None
    assert known.of(b"branch", ListKind.PROMPTS, 10.0) is None
    assert known.of(b"branch", TOOLS, 70.0) is None
    assert known.of(b"branch", TOOLS, 10.0) is None


def test_the_oldest_lists_go_if_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest stays in any case. A list that is replaced counts once."""
    monkeypatch.setattr(limits, "mcp_group_names_chars_max", 300)
    known = ShownNames()
    for _ in range(10):
        known.put(b"a", TOOLS, {"files": ("x" * 50,)}, 1.0)
    known.put(b"b", TOOLS, {"files": ("y" * 50,)}, 1.0)
    assert known.of(b"a", TOOLS, 1.0) is not None
    known.put(b"c", TOOLS, {"files": ("z" * 1000,)}, 1.0)
    assert known.of(b"a", TOOLS, 1.0) is known.of(b"b", TOOLS, 1.0) is None
    assert known.of(b"c", TOOLS, 1.0) is not None
