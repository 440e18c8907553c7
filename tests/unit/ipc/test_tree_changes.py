"""What changes from answer to answer comes to the same tree as merging each answer anew."""

from collections.abc import Mapping, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine_trees import tree_answers, tree_changes

from crewgate import limits
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.ipc.admin_messages import BranchState, TreeRow
from crewgate.ipc.cluster_tree import ClusterTreeRow
from crewgate.ipc.cluster_view import tree_of
from crewgate.ipc.machine_messages import AskMachines, MachineAnswer, TreeQuestion, encode
from crewgate.ipc.tree_changes import BranchName, ClusterTreeChanges

STATES: tuple[BranchState, ...] = ("live", "exhausted", "expired", "revoked", "closed")
# Each branch with the one above it; "g" is never there.
PARENTS = {"a": "", "b": "a", "c": "a", "d": "b", "e": "b", "f": "g"}
CREWS = ("article", "bd")


@st.composite
def rows(draw: st.DrawFn) -> list[TreeRow]:
    """The rows of one machine, in any order."""
    names = draw(
        st.lists(st.tuples(st.sampled_from(CREWS), st.sampled_from(["", *PARENTS])), unique=True)
    )
    amounts = st.integers(0, 3)
    return [
        TreeRow(
            crew, branch, draw(st.sampled_from(STATES)), parent=PARENTS.get(branch, ""),
            role=draw(st.sampled_from(["", "writer"])), quota=draw(amounts), spent=draw(amounts),
            reserved=draw(amounts), burned=draw(amounts), left=draw(st.integers(-1, 3)),
            leased=draw(amounts), leased_on=draw(st.dictionaries(st.sampled_from("xy"), amounts)),
            overrun=draw(amounts), left_hour=draw(st.integers(-1, 3)), spent_here=draw(amounts),
            issued=draw(amounts), calls=draw(st.integers(-1, 3)), rule=draw(st.sampled_from("rs")),
            rule_step=draw(st.sampled_from([None, *RuleStep])),
            rule_mode=draw(st.sampled_from([None, *RuleMode])),
        )
        for crew, branch in names
    ]  # fmt: skip


machines = st.dictionaries(st.sampled_from(["gw-1", "gw-2", "gw-3"]), rows())


@given(st.lists(st.tuples(machines, st.booleans()), max_size=6))
def test_the_changes_come_to_the_merged_tree(
    readings: Sequence[tuple[Mapping[str, Sequence[TreeRow]], bool]],
) -> None:
    """After each answer, what was told has made the tree that merging all of it makes."""
    changes, told = ClusterTreeChanges(), dict[BranchName, ClusterTreeRow]()
    for trees, shares in readings:
        change = changes.take(tree_answers(trees, shares=shares))
        for name in change.gone:
            del told[name]
        assert all(told.get(name) != row for name, row in change.rows.items())
        told |= change.rows
        expected = tree_of(tree_answers(trees, shares=shares))
        assert told == {BranchName(row.crew, row.branch): row for row in expected.rows}
        assert told == changes.rows
        assert sorted(change.machines) == sorted(expected.machines)


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("abcdefg"), max_size=6),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 3),
)
def test_no_branch_is_above_itself_or_too_deep(
    readings: Sequence[Mapping[str, str]], depth: int
) -> None:
    """Whatever a machine says; and once it says the truth, all branches are where they belong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "depth_max", depth)
        changes = ClusterTreeChanges()
        for parents in readings:
            lies = [TreeRow("bd", name, "live", parent=above) for name, above in parents.items()]
            changes.take(tree_answers({"gw-1": lies}))
            for name in changes.rows:
                assert level(changes.rows, name) <= depth
        truth = [TreeRow("bd", name, "live", parent="" if name == "a" else "a") for name in "abc"]
        changes.take(tree_answers({"gw-1": truth}))
        assert {name.branch: row.parent for name, row in changes.rows.items()} == {
            "a": "", "b": "a", "c": "a",
        }  # fmt: skip


def level(tree: Mapping[BranchName, ClusterTreeRow], name: BranchName) -> int:
    """How many rows are above one; the test fails by the depth if there is no end."""
    found = 0
    while found <= limits.depth_max and (above := BranchName(name.crew, tree[name].parent)) in tree:
        if not above.branch:
            break
        name, found = above, found + 1
    return found


def test_what_is_the_same_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a row that is new, and one that is gone."""
    decoded = []
    from crewgate.ipc import tree_changes  # noqa: PLC0415 - its decoder is replaced

    decode = tree_changes._decode
    monkeypatch.setattr(tree_changes, "_decode", lambda raw: decoded.append(1) or decode(raw))
    tree = [TreeRow("bd", str(number), "live") for number in range(20)]
    changes = ClusterTreeChanges()
    changes.take(tree_answers({"gw-1": tree}))
    assert len(decoded) == 20
    decoded.clear()
    new = [*tree[:5], TreeRow("bd", "new", "live"), *tree[5:12], *tree[13:]]
    change = changes.take(tree_answers({"gw-1": new}))

    assert [*change.rows] == [("bd", "new")]
    assert change.gone == [("bd", "12")]
    assert len(decoded) == 2  # the new one, and the one after the gap


@given(st.lists(rows(), min_size=1, max_size=6))
def test_answers_that_go_on_come_to_the_merged_tree(readings: Sequence[Sequence[TreeRow]]) -> None:
    """A machine says only what has changed since the cursor that it gets."""
    changes, said = ClusterTreeChanges(), dict[tuple[str, str], TreeRow]()
    for number, tree in enumerate(readings):
        since = changes.cursors.get("gw-1", "")
        assert since == (f"x-{number - 1}" if number else "")
        now = {(row.crew, row.branch): row for row in tree}
        new = [row for name, row in now.items() if said.get(name) != row]
        gone = [*(said.keys() - now.keys()), ("bd", "never known")]
        changes.take(tree_changes(new, gone if since else (), since, f"x-{number}"))
        expected = tree_of(tree_answers({"gw-1": tree}))
        assert changes.rows == {BranchName(row.crew, row.branch): row for row in expected.rows}
        said = now


def test_an_answer_that_goes_on_from_another_one_is_not_taken() -> None:
    """Nothing of the machine is shown then, and the next question asks for all."""
    row = TreeRow("bd", "a", "live")
    changes = ClusterTreeChanges()
    changes.take(tree_changes([row], (), "", "x-1"))
    assert changes.cursors == {"gw-1": "x-1"}
    change = changes.take(tree_changes([], (), "x-0", "x-2"))
    assert (changes.rows, changes.cursors, change.machines) == ({}, {}, [])
    assert "goes on from an answer that nobody had" in change.not_asked[0].why
    changes.take(tree_changes([row], (), "", "x-3"))
    assert [*changes.rows] == [("bd", "a")]


def test_no_cursor_of_a_machine_makes_a_question_that_the_agent_refuses() -> None:
    """Else one machine could have the page show no machine any more."""
    most = limits.tree_cursor_chars_max
    row = TreeRow("bd", "a", "live")
    changes = ClusterTreeChanges()
    change = changes.take(tree_changes([row], (), "", "x" * (most + 1)))
    assert f"its cursor has {most + 1} characters" in change.not_asked[0].why
    assert (changes.rows, changes.cursors) == ({}, {})
    changes.take(tree_changes([row], (), "", "\U0001f600" * most))
    request = AskMachines(1, TreeQuestion(since=""), cursors=changes.cursors)
    assert msgspec.msgpack.decode(encode(request), type=AskMachines) == request


@pytest.mark.parametrize("name", ["rows", "gone"])
def test_pages_of_tiny_rows_cannot_fill_the_memory(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row of one byte, and each name of three, is an object that is larger."""
    monkeypatch.setattr(limits, "tree_pages_max", 3)
    most, tiny = limits.tree_page_rows_max, None if name == "rows" else ("", "")
    for rows, pages, why in (
        (most + 1, 1, f"Expected `array` of length <= {most}"),
        (1, 4, "its answer has more than 3 pages"),
    ):
        page = encode({"ledger": "l", "rows": []} | {name: [tiny] * rows})
        lie = [MachineAnswer(1, "page", "gw-2", page)] * pages
        changes = ClusterTreeChanges()
        change = changes.take([*lie, *tree_answers({"gw-1": [TreeRow("bd", "a", "live")]})])
        assert [each.machine for each in change.not_asked] == ["gw-2"]
        assert why in change.not_asked[0].why
        assert [*changes.rows] == [("bd", "a")]


def test_changes_cannot_make_a_tree_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "tree_changes_rows_max", 2)
    row = TreeRow("bd", "a", "live")
    changes = ClusterTreeChanges()
    changes.take(tree_changes([row], (), "", "x-1"))
    more = [msgspec.structs.replace(row, branch=name) for name in "bc"]
    change = changes.take(tree_changes(more, (), "x-1", "x-2"))
    assert "it has 3 branches" in change.not_asked[0].why
    assert changes.rows == {}


def test_a_machine_that_answers_nonsense_counts_as_one_that_did_not() -> None:
    """Nothing of it is shown, and the others are."""
    good = TreeRow("bd", "a", "live")
    huge = TreeRow("bd", "b", "live", role="x" * limits.tree_row_bytes_max)
    changes = ClusterTreeChanges()
    changes.take(
        tree_answers({"gw-1": [good], "gw-2": [msgspec.structs.replace(good, branch="b")]})
    )
    change = changes.take(tree_answers({"gw-1": [good], "gw-2": [huge]}))
    assert [*changes.rows] == [("bd", "a")]
    assert change.gone == [("bd", "b")]
    assert [each.machine for each in change.not_asked] == ["gw-2"]
    assert change.machines == ["gw-1"]
    part = encode({"ledger": "l", "rows": [{"crew": 7}]})
    lie = [MachineAnswer(1, "page", "gw-1", part), MachineAnswer(1, "end", "gw-1")]
    change = changes.take(lie)
    assert (changes.rows, change.machines) == ({}, [])
    many = [msgspec.structs.replace(good, branch=str(number)) for number in range(9)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "tree_changes_rows_max", 8)
        change = changes.take(tree_answers({"gw-1": many}))
    assert "9 branches" in change.not_asked[0].why
