"""The trees of several machines as one: whose amounts are added, and whose are the same."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.rules.rule import RuleMode, RuleStep, step_rank
from crewgate.ipc.admin_messages import BranchState, TreeRow
from crewgate.ipc.cluster_tree import ClusterTreeRow, MachineShare, MachineTree, merged

ROOT, CHILD, OTHER = "0" * 8 + "-root", "1" * 8 + "-child", "2" * 8 + "-other"
CREW = TreeRow("article", "", "live", spent=50, left=-1)
RUN = TreeRow("article", ROOT, "live", quota=100, spent=50, left=50, role="lead", issued=10)
SUB = TreeRow("article", CHILD, "live", parent=ROOT, quota=40, spent=20, left=20, role="researcher")
STATES: tuple[BranchState, ...] = (
    "live", "exhausted", "expired", "token-revoked", "revoked", "closed",
)  # fmt: skip


def alone(machine: str, *rows: TreeRow) -> MachineTree:
    return MachineTree(machine, f"of {machine}", rows)


def sharing(machine: str, *rows: TreeRow) -> MachineTree:
    return MachineTree(machine, "ledger", rows, shares_ledger=True)


def one(*trees: MachineTree) -> ClusterTreeRow:
    (row,) = merged(trees)
    return row


def test_one_machine_is_shown_as_it_is() -> None:
    """Each row with its share."""
    rows = merged([alone("gw-1", CREW, RUN, SUB)])
    assert [row.branch for row in rows] == ["", ROOT, CHILD]
    run = rows[1]
    assert (run.spent, run.left, run.quota, run.quotas) == (50, 50, 100, 1)
    assert run.machines == (MachineShare("gw-1", "live", 50, 0, 0),)


def test_amounts_of_own_ledgers_are_added() -> None:
    """Each machine lets the branch spend the quota once."""
    there = msgspec.structs.replace(RUN, spent=30, reserved=4, left=66, leased=3, leased_here=3)
    row = one(alone("gw-1", RUN), alone("gw-2", there))
    assert (row.spent, row.reserved, row.left, row.quota, row.quotas) == (80, 4, 116, 100, 2)
    assert [share.spent for share in row.machines] == [50, 30]
    assert row.machines[1].leased == 3


def test_amounts_of_one_ledger_are_not_added() -> None:
    """Each machine sees the same sums, and its own calls before the others do."""
    here = msgspec.structs.replace(RUN, spent=50, spent_here=20, reserved=1, leased=2)
    there = msgspec.structs.replace(RUN, spent=48, spent_here=28, left=40, leased=9)
    row = one(sharing("gw-1", here), sharing("gw-2", there))
    assert (row.spent, row.reserved, row.left, row.leased, row.quotas) == (50, 1, 40, 2, 1)
    assert [share.spent for share in row.machines] == [20, 28]


def test_a_crew_without_a_limit_has_none_anywhere() -> None:
    """And limits of own ledgers are added."""
    limited = msgspec.structs.replace(CREW, left=7, left_hour=7)
    assert one(alone("gw-1", CREW), alone("gw-2", limited)).left == -1
    row = one(alone("gw-1", limited), alone("gw-2", limited))
    assert (row.left, row.left_hour, row.left_day) == (14, 14, -1)
    assert one(sharing("gw-1", limited), sharing("gw-2", limited)).left == 7


def test_the_newest_token_says_who_it_is() -> None:
    """A machine that knows a branch only from a child knows no role."""
    above = TreeRow("article", ROOT, "live", quota=100, spent=1, left=99)
    newer = msgspec.structs.replace(RUN, role="writer", issued=20)
    assert one(alone("gw-1", above), alone("gw-2", RUN)).role == "lead"
    assert one(alone("gw-1", newer), alone("gw-2", RUN)).role == "writer"


def test_a_state_that_lasts_wins() -> None:
    """What is revoked on one machine is being revoked on all; an expired token has a successor."""

    def state(*states: BranchState) -> BranchState:
        rows = [msgspec.structs.replace(RUN, state=each) for each in states]
        found = one(*(alone(f"gw-{n}", row) for n, row in enumerate(rows)))
        assert found.left == (0 if found.state in {"revoked", "closed"} else 50 * len(rows))
        return found.state

    assert state("live", "revoked") == "revoked"
    assert state("expired", "live") == "live"
    assert state("exhausted", "live") == "live"
    assert state("token-revoked", "exhausted") == "exhausted"
    assert state("closed", "expired") == "closed"


def test_the_order_is_the_same_each_time() -> None:
    """Crews by name, children by role and id; parents first, also if machines know parts only."""
    writer = msgspec.structs.replace(SUB, branch=OTHER, role="a-writer")
    bd = TreeRow("bd", "", "live")
    parts = [
        alone("gw-1", CREW, RUN, SUB),
        alone("gw-2", bd, msgspec.structs.replace(RUN, crew="bd")),
        alone("gw-3", CREW, RUN, writer),
    ]
    expected = [("article", ""), ("article", ROOT), ("article", OTHER), ("article", CHILD)]
    for order in (parts, parts[::-1]):
        found = [(row.crew, row.branch) for row in merged(order)]
        assert found == [*expected, ("bd", ""), ("bd", ROOT)]


def test_a_lie_about_parents_hides_no_branch() -> None:
    """A branch above itself, or without its crew, is shown, and so are the others."""
    loop = [
        TreeRow("article", ROOT, "live", parent=CHILD, issued=99),
        TreeRow("article", OTHER, "live", parent=OTHER),
        TreeRow("bd", OTHER, "live", parent="gone"),
    ]
    found = merged([alone("gw-1", CREW, RUN, SUB), alone("gw-2", *loop)])
    assert [(row.crew, row.branch, row.parent) for row in found] == [
        ("article", "", ""), ("article", ROOT, ""), ("article", CHILD, ROOT),
        ("article", OTHER, ""), ("bd", OTHER, "gone"),
    ]  # fmt: skip


def test_no_branch_is_deeper_than_tokens_allow() -> None:
    """A chain of 16,384 branches would take a gigabyte and minutes to be drawn."""
    deep = [
        TreeRow("article", f"{number:05}", "live", parent=f"{number - 1:05}")
        for number in range(100)
    ]
    found = merged([alone("gw-1", *deep)])
    assert {row.branch for row in found} == {row.branch for row in deep}
    level: dict[str, int] = {}
    for row in found:
        level[row.branch] = level.get(row.parent, -1) + 1
    assert max(level.values()) == limits.depth_max


def slowly(seen: Sequence[tuple[MachineTree, TreeRow]]) -> dict[str, Any]:
    """The members of a merged row, each by itself from all rows."""
    by_ledger = sorted(seen, key=lambda each: each[0].ledger)
    groups = [
        [row for _, row in group]
        for _, group in groupby(by_ledger, key=lambda each: each[0].ledger)
    ]
    newest = [max(rows, key=lambda row: (row.spent + row.burned, row.reserved)) for rows in groups]
    all_rows = [row for _, row in seen]
    known = max(all_rows, key=lambda row: (row.issued, bool(row.role), bool(row.grant)))
    found = msgspec.structs.asdict(known)
    for name in ("spent", "reserved", "burned", "leased"):
        found[name] = sum(getattr(row, name) for row in newest)
    for name in ("left", "left_hour", "left_day"):
        least = [min(getattr(row, name) for row in rows) for rows in groups]
        found[name] = -1 if min(least) < 0 else sum(least)
    order = ("revoked", "closed", "live", "exhausted", "token-revoked", "expired")
    state = min((row.state for row in all_rows), key=order.index)
    if state in {"revoked", "closed"} and known.branch:
        found["left"] = 0
    held: dict[str, int] = {}
    for row in newest:
        held |= row.leased_on
    calls = [row.calls for row in all_rows if row.calls >= 0]
    stepped = max(all_rows, key=lambda row: step_rank(row.rule_step, row.rule_mode))
    return found | {
        "state": state, "quota": max(row.quota for row in newest), "leased_on": held,
        "overrun": sum(row.overrun for row in all_rows), "calls": sum(calls) if calls else -1,
        "rule": stepped.rule, "rule_step": stepped.rule_step, "rule_mode": stepped.rule_mode,
        "quotas": len(groups),
    }  # fmt: skip


_AMOUNTS = st.integers(0, 3)
_LIMITS = st.integers(-1, 3)
_SEEN_ROWS = st.builds(
    TreeRow, st.just("article"), st.sampled_from(["", "b"]), st.sampled_from(STATES),
    parent=st.sampled_from("ab"), role=st.sampled_from(["", "x"]), grant=st.sampled_from(["", "g"]),
    quota=_AMOUNTS, spent=_AMOUNTS, reserved=_AMOUNTS, burned=_AMOUNTS, left=_LIMITS,
    leased=_AMOUNTS, leased_on=st.dictionaries(st.sampled_from("xy"), _AMOUNTS), overrun=_AMOUNTS,
    left_hour=_LIMITS, left_day=_LIMITS, spent_here=_AMOUNTS, reserved_here=_AMOUNTS,
    leased_here=_AMOUNTS, issued=_AMOUNTS, calls=_LIMITS, rule=st.sampled_from("rs"),
    rule_step=st.sampled_from([None, *RuleStep]), rule_mode=st.sampled_from([None, *RuleMode]),
)  # fmt: skip


@given(
    st.lists(st.tuples(_SEEN_ROWS, st.sampled_from(["l", "m", "n"])), min_size=1, max_size=4),
    st.sampled_from(["", "b"]),
)
def test_each_member_of_a_row_is_what_a_slow_model_says(
    found: Sequence[tuple[TreeRow, str]], branch: str
) -> None:
    """Of any number of machines and ledgers."""
    seen = [
        (MachineTree(f"gw-{number}", ledger, [], shares_ledger=True), row)
        for number, (each, ledger) in enumerate(found)
        for row in [msgspec.structs.replace(each, branch=branch, parent=each.parent * bool(branch))]
    ]
    trees = [MachineTree(tree.machine, tree.ledger, [row], True) for tree, row in seen]
    merged_row = one(*trees)
    expected = slowly(seen)
    if branch:  # it has no parent here, and the order of rows is another test
        expected["parent"] = merged_row.parent
    assert msgspec.structs.asdict(merged_row) == expected | {
        "machines": tuple(
            MachineShare(
                tree.machine, row.state, row.spent_here, row.reserved_here, row.leased_here,
                row.calls,
            )
            for tree, row in seen
        )
    }  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> list[TreeRow]:
    amounts = st.integers(0, 1000)
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True))
    return [
        TreeRow(
            "article", name, draw(st.sampled_from(STATES)), parent=draw(st.sampled_from("abcde")),
            spent=draw(amounts), reserved=draw(amounts), left=draw(st.integers(-1, 5)),
        )
        for name in names
    ]  # fmt: skip


@given(st.lists(rows(), max_size=4), st.booleans())
def test_every_branch_is_one_row_at_most_and_nothing_is_spent_twice(
    found: Sequence[Sequence[TreeRow]], is_shared: bool
) -> None:
    """Against a slow model: sums of own ledgers, and the largest of a shared one."""
    make = sharing if is_shared else alone
    trees = [make(f"gw-{number}", *each) for number, each in enumerate(found)]
    seen = [row.branch for row in merged(trees)]
    assert sorted(seen) == sorted({each.branch for tree in found for each in tree})
    for row in merged(trees):
        own = [each.spent for tree in found for each in tree if each.branch == row.branch]
        assert row.spent == (max(own) if is_shared else sum(own))
        assert len(row.machines) == len(own)


def test_calls_are_added_and_the_strongest_step_is_named() -> None:
    """A machine on which no rule counts says nothing; what is in force is stronger."""
    here = msgspec.structs.replace(
        RUN, calls=3, rule="a", rule_step=RuleStep.END, rule_mode=RuleMode.OBSERVE
    )
    there = msgspec.structs.replace(
        RUN, calls=4, rule="b", rule_step=RuleStep.REFUSE, rule_mode=RuleMode.ENFORCE
    )
    row = one(alone("gw-1", here), alone("gw-2", there), alone("gw-3", RUN))
    assert (row.calls, row.rule, row.rule_step, row.rule_mode) == (7, "b", "refuse", "enforce")
    assert [share.calls for share in row.machines] == [3, 4, -1]
    assert one(alone("gw-1", RUN)).calls == -1
