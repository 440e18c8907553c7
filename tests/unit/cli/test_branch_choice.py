"""Which branch a person means by a few characters or a name; where it is not clear, none."""

import pytest

from crewgate import limits
from crewgate.cli.branch_choice import the_only
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.cluster_tree import ClusterTreeRow, MachineShare
from crewgate.ipc.cluster_view import SilentMachine


def row(number: int, role: str = "researcher", parent: str = "run") -> ClusterTreeRow:
    return ClusterTreeRow(
        crew="article",
        branch=f"7c0a0000-0000-4000-8000-{number:012}",
        state="live",
        role=role,
        parent=parent,
        machines=(MachineShare("gw-1", "live", 0, 0, 0), MachineShare("gw-2", "live", 0, 0, 0)),
    )


def test_the_only_one_is_meant() -> None:
    """Whatever was written for it."""
    assert the_only("7c0a", [row(1)]) == the_only("article/researcher", [row(1)]) == row(1)


def test_several_are_listed_and_none_is_taken() -> None:
    """With what tells them apart: crew, role and state; hostile roles do not reach the screen."""
    rows = [row(1), row(2, role=""), row(3, role="", parent=""), row(4, role="a\x1b[2J")]
    with pytest.raises(ServiceRefusedError) as refused:
        the_only("7c0a", rows)
    first, *listed = str(refused.value).splitlines()
    assert first == "7c0a may be one of 4 branches; write more of the id:"
    assert listed[0] == f"  {rows[0].branch}  article/researcher  live  on gw-1, gw-2"
    assert [line.split()[1] for line in listed[1:3]] == ["article/ancestor", "article/run"]
    assert "\x1b" not in str(refused.value)


def test_a_name_means_no_branch_while_a_machine_may_know_another_one() -> None:
    """The beginning of an id does: no other branch has it."""
    unasked = [SilentMachine("gw-3", "no answer in time")]
    assert the_only("7c0a0000", [row(1)], unasked) == row(1)
    with pytest.raises(ServiceRefusedError) as refused:
        the_only("article/researcher", [row(1)], unasked)
    first, candidate = str(refused.value).splitlines()
    assert first == (
        "article/researcher may be one of several branches, because gw-3 did not answer; write the "
        "id:"
    )
    assert row(1).branch in candidate
    with pytest.raises(ServiceRefusedError, match="may be one of several"):
        the_only("7c0a", [row(1)], unasked)


def test_a_long_list_is_cut() -> None:
    """And says by how many."""
    number = limits.branch_candidates_max + 3
    with pytest.raises(ServiceRefusedError) as refused:
        the_only("article/researcher", [row(each) for each in range(number)])
    first, *listed = str(refused.value).splitlines()
    assert first.endswith(f"{number} branches; write the id, or its beginning:")
    assert (len(listed), listed[-1]) == (limits.branch_candidates_max + 1, "  and 3 more")


@pytest.mark.parametrize(
    ("reference", "says"),
    [("beef", "a branch whose id begins with beef"), ("article/r", "a live branch article/r")],
)
def test_none_is_an_error(reference: str, says: str) -> None:
    """The table may have forgotten it, or it is mistyped."""
    with pytest.raises(ServiceRefusedError, match=f"no machine that answered knows {says}"):
        the_only(reference, [])
