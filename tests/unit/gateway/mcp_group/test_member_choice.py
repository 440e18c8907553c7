"""A client can call each name in a list of a group, and the call reaches the right server."""

from collections.abc import Collection
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from mcp_messages import encoded, modern

from crewgate._native.json_rpc import read_message
from crewgate.core.mcp import group_names
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.mcp.rpc_errors import RefusedMessageError
from crewgate.gateway.mcp_group.member_choice import MemberChooser
from crewgate.gateway.mcp_group.reached_member import ReachedMember

SERVERS = ["a", "b", "files"]
NAMES = st.sampled_from(["read", "a__read", "b__a__read", "x.y", "x_y", "z" * 70, "find", "_"])
TOOLS = st.dictionaries(
    st.sampled_from(SERVERS), st.lists(NAMES, max_size=5, unique=True), min_size=1
)
# Of each server, the names that a token allows besides those of a pattern for all.
GRANTS = st.dictionaries(st.sampled_from(SERVERS), st.one_of(st.none(), st.sets(NAMES)))


class Member:
    """An endpoint that allows some names; None stands for all."""

    def __init__(self, name: str, allowed: Collection[str] | None) -> None:
        self.name = name
        self.permit = self
        self._allowed = allowed

    def allows(self, tool: str) -> bool:
        return self._allowed is None or tool.removeprefix(f"{self.name}.") in self._allowed


def outcome(members: list[Member], visible: dict[str, list[str]], name: str) -> tuple[str, str]:
    """The server and the name there that a call reaches; or "" and why it reaches none."""
    message = read_message(encoded(modern("tools/call", name=name)))
    known: Any = {ListKind.TOOLS: visible}.get
    try:
        found = MemberChooser(cast("list[ReachedMember]", members), message, known).choose()
    except RefusedMessageError as error:
        return "", str(error)
    return found.reached.name, found.message.name or ""


@given(TOOLS, GRANTS)
def test_a_call_reaches_what_the_list_shows(
    tools: dict[str, list[str]], grants: dict[str, set[str] | None]
) -> None:
    """Under its shown name, with any prefix, and bare where that says which one it is."""
    members = [Member(name, grants.get(name, set())) for name in SERVERS if name in grants]
    visible = {
        each.name: [tool for tool in tools.get(each.name, []) if each.allows(f"{each.name}.{tool}")]
        for each in members
    }
    shown = group_names.shown_names(visible, SERVERS)
    for (server, tool), text in shown.items():
        assert outcome(members, visible, text) == (server, tool)
        assert outcome(members, visible, f"{server}__{tool}") == (server, tool)
        if group_names.prefixed(tool, dict.fromkeys(visible, ())) is None:
            owners = [name for name, names in visible.items() if tool in names]
            found, why = outcome(members, visible, tool)
            assert found == server if len(owners) == 1 else "use" in why


@given(TOOLS, GRANTS, NAMES)
def test_a_bare_name_reaches_only_what_the_token_allows(
    tools: dict[str, list[str]], grants: dict[str, set[str] | None], name: str
) -> None:
    """Where no server allows it, the call goes to the first one, whose gate refuses it."""
    members = [Member(each, grants.get(each, set())) for each in SERVERS if each in grants]
    if not members or group_names.prefixed(name, dict.fromkeys(grants, ())) is not None:
        return
    server, _ = outcome(members, tools, name)
    allowing = [each.name for each in members if each.allows(f"{each.name}.{name}")]
    assert server in {"", *(allowing or [members[0].name])}
