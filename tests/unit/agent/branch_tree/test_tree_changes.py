"""A tree that goes on from reading to reading is the one that a new reading makes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest
from grant_builders import NOW
from hypothesis import given
from hypothesis import strategies as st
from tree_records import record

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate.agent.branch_registry import BranchEntry
from crewgate.agent.branch_tree.inputs import TreeInputs
from crewgate.agent.branch_tree.remote_usage import RemoteUsage
from crewgate.agent.branch_tree.tree import BranchTree
from crewgate.agent.recent_activity import RecentActivity
from crewgate.core.budget.ledger_protocol import WINDOW_SECONDS_HOUR, WindowUsage
from crewgate.core.ids import crew_key
from crewgate.core.policy.policy import CrewPolicy
from crewgate.ipc.admin_messages import TreeRow

LONG, SHORT = CrewPolicy("article", "https://o.example"), CrewPolicy("article", "x", hourly_max=9)
CREW = crew_key("article")
# Each record number with those above it; what a number stands for may change between readings.
PARENTS = {1: (0,), 2: (0, 1), 3: (0, 1), 4: (0, 1, 2), 5: (0,), 6: (0, 5), 7: (0, 1, 2, 4)}
NOBODY: Mapping[bytes, RemoteUsage] = {}


class Branch(NamedTuple):
    """What a test says of a record."""

    generation: int
    quota: int
    available: int
    reserved: int
    settled: int
    burned: int
    closed: bool
    entry: int  # 0: the registry has none
    expires: int
    calls: int
    overrun: int


small = st.integers(0, 3)
branches = st.builds(
    Branch, st.integers(1, 2), st.integers(0, 9), small, small, small, small, st.booleans(),
    st.integers(0, 2), st.sampled_from([0, int(NOW) - 1, int(NOW) + 1]), small, small,
)  # fmt: skip


class Facts(NamedTuple):
    """One reading, as a test says it."""

    branches: Mapping[int, Branch]
    revoked: frozenset[int]
    others: Mapping[int, int]
    crew: CrewPolicy
    seconds: int


facts = st.builds(
    Facts,
    st.dictionaries(st.sampled_from([*PARENTS]), branches),
    st.frozensets(st.sampled_from([*PARENTS])),
    st.dictionaries(st.sampled_from([0, *PARENTS]), small),
    st.sampled_from([LONG, SHORT]),
    st.integers(0, 2),
)


def _key(number: int, generation: int) -> bytes:
    return bytes([number, generation]) * 8


def _inputs(found: Facts, *, crew: BranchRecord, revocations: int) -> TreeInputs:
    records, entries, activities, overruns = [crew], {}, {}, {}
    for number, each in found.branches.items():
        key = _key(number, each.generation)
        records.append(
            record(
                number, key, PARENTS[number], each.quota, generation=each.generation,
                available=each.available, reserved=each.reserved, settled=each.settled,
                burned=each.burned, closed=each.closed,
            )
        )  # fmt: skip
        if each.entry:
            name, parent = f"{number}-{each.generation}", PARENTS[number][-1] or ""
            entries[key] = BranchEntry(
                "article", name, str(parent), role=str(each.entry), exp=each.expires
            )
        activities[number] = RecentActivity(each.calls)
        overruns[key] = each.overrun
    revoked = {_key(number, generation) for number in found.revoked for generation in (1, 2)}
    others = {
        CREW if number == 0 else _key(number, found.branches[number].generation): RemoteUsage(spent)
        for number, spent in found.others.items()
        if number == 0 or number in found.branches
    }
    return TreeInputs(
        records, entries, [found.crew], lambda key, _: key in revoked, int(NOW) + found.seconds,
        others, "gw-1", overruns, activities, revocations,
    )  # fmt: skip


def _whole(found: TreeInputs) -> dict[tuple[str, str], TreeRow]:
    tree = BranchTree()
    tree.take(found)
    return {(row.crew, row.branch): row for row in tree.rows()}


@given(st.lists(facts, max_size=6), st.integers(0, 2))
def test_a_tree_that_goes_on_is_the_one_of_a_new_reading(
    readings: Sequence[Facts], behind: int
) -> None:
    """Also for one who asks for the changes of some readings at once."""
    tree, crew = BranchTree(), record(0, CREW, (), limits.quota_micro_max)
    told: list[dict[tuple[str, str], TreeRow]] = [{}]
    for number, found in enumerate(readings):
        inputs = _inputs(found, crew=crew, revocations=number)
        tree.take(inputs)
        expected = _whole(inputs)
        assert {(row.crew, row.branch): row for row in tree.rows()} == expected
        since = max(0, tree.reading - 1 - behind)
        changes = tree.changes(since)
        assert changes is not None
        known = dict(told[since])
        for name in changes.gone:
            known.pop(name, None)  # one that came and went is not known
        known |= {(row.crew, row.branch): row for row in changes.rows}
        assert known == expected
        told.append(known)


@given(facts, st.lists(st.tuples(st.sampled_from([*PARENTS]), branches), max_size=4))
def test_what_nothing_announces_is_looked_at_in_each_reading(
    first: Facts, later: Sequence[tuple[int, Branch]]
) -> None:
    """Without a new look at the ledger: amounts, entries, calls, and tokens that are over."""
    crew, tree = record(0, CREW, (), limits.quota_micro_max), BranchTree()
    first = first._replace(others={}, crew=LONG)
    tree.take(_inputs(first, crew=crew, revocations=1)._replace(others=NOBODY))
    known = dict(first.branches)
    for seconds, (number, branch) in enumerate(later):
        if number not in known:
            continue
        known[number] = branch._replace(generation=known[number].generation)
        now = Facts(known, first.revoked, {}, first.crew, first.seconds + seconds)
        inputs = _inputs(now, crew=crew, revocations=1)._replace(others=NOBODY)
        tree.take(inputs)
        assert {(row.crew, row.branch): row for row in tree.rows()} == _whole(inputs)


@given(st.lists(facts, max_size=6), facts)
def test_branches_that_come_and_go_change_no_other_one(
    readings: Sequence[Facts], always: Facts
) -> None:
    """Without a new look at the ledger, so only rows that may have changed are made anew.

    The branches consume nothing: of those that are gone, a new reading would not know it.
    """
    crew, tree = record(0, CREW, (), limits.quota_micro_max), BranchTree()
    always = always._replace(others={}, crew=LONG)
    known: dict[tuple[str, str], TreeRow] = {}
    for found in readings:
        branches = {
            number: each._replace(settled=0, burned=0) for number, each in found.branches.items()
        }
        now = always._replace(branches=branches)
        inputs = _inputs(now, crew=crew, revocations=1)._replace(others=NOBODY)
        tree.take(inputs)
        changes = tree.changes(tree.reading - 1)
        assert changes is not None
        known = {name: row for name, row in known.items() if name not in changes.gone}
        known |= {(row.crew, row.branch): row for row in changes.rows}
        assert known == _whole(inputs)


def test_what_changes_a_branch_changes_all_below_it() -> None:
    """However deep they are, and although nothing else has changed."""
    crew = record(0, CREW, (), limits.quota_micro_max)
    chain = [
        record(number, _key(number, 1), tuple(range(number)), 100)
        for number in range(1, limits.depth_max + 1)
    ]
    tree = BranchTree()

    def states(top: BranchRecord) -> list[str]:
        records = [crew, top, *chain[1:]]
        tree.take(TreeInputs(records, {}, [LONG], lambda *_: False, int(NOW), NOBODY))
        return [row.state for row in tree.rows()[1:]]

    assert states(chain[0]) == ["live"] * len(chain)
    assert states(chain[0]._replace(closed=True)) == ["closed"] * len(chain)
    assert states(chain[0]._replace(settled=100)) == ["exhausted"] * len(chain)


def test_what_a_branch_that_is_gone_had_spent_is_not_lost() -> None:
    """The ledger has it, and is read again later."""
    crew = record(0, CREW, (), limits.quota_micro_max)
    root = record(1, _key(1, 1), (0,), 100, settled=5)
    child = record(2, _key(2, 1), (0, 1), 50, settled=20, burned=3, available=7, reserved=2)
    tree = BranchTree()

    def take(*records: BranchRecord, others: Mapping[bytes, RemoteUsage] = NOBODY) -> TreeRow:
        tree.take(TreeInputs([crew, *records], {}, [LONG], lambda *_: False, int(NOW), others))
        return next(row for row in tree.rows() if row.branch == root.key.hex())

    def amounts(row: TreeRow) -> tuple[int, ...]:
        return row.spent, row.burned, row.left, row.leased, row.reserved, row.spent_here

    assert amounts(take(root, child)) == (25, 3, 70, 7, 2, 25)
    assert amounts(take(root)) == (25, 3, 72, 0, 0, 5)
    assert amounts(take(root)) == (25, 3, 72, 0, 0, 5)
    ledger = {root.key: RemoteUsage(spent=21, burned=2)}
    assert amounts(take(root, others=ledger)) == (26, 2, 72, 0, 0, 5)


def test_a_record_whose_parent_was_not_copied_waits_for_the_next_reading() -> None:
    crew, root = record(0, CREW, (), limits.quota_micro_max), record(1, _key(1, 1), (0,), 100)
    tree = BranchTree()

    def branches(*records: BranchRecord) -> list[str]:
        tree.take(TreeInputs(records, {}, [LONG], lambda *_: False, int(NOW), NOBODY))
        return [row.branch for row in tree.rows()]

    assert branches(root) == []
    assert branches(root, crew) == ["", root.key.hex()]


@pytest.mark.parametrize(("old", "new"), [(1, 2), (7, 8)])
def test_a_branch_whose_old_and_new_record_were_copied_stays_known(old: int, new: int) -> None:
    """Whichever row is made first."""
    crew, key = record(0, CREW, (), limits.quota_micro_max), _key(1, 1)
    before = record(old, key, (0,), 100, settled=5)
    after = record(new, key, (0,), 100, settled=1)
    tree, known = BranchTree(), dict[tuple[str, str], TreeRow]()
    for records in ([before], [before._replace(settled=6), after], [after], [after]):
        inputs = TreeInputs([crew, *records], {}, [LONG], lambda *_: False, int(NOW), NOBODY)
        tree.take(inputs)
        changes = tree.changes(tree.reading - 1)
        assert changes is not None
        known = {name: row for name, row in known.items() if name not in changes.gone}
        known |= {(row.crew, row.branch): row for row in changes.rows}
        assert [*known.values()] == tree.rows()
    assert {*known} == {("article", ""), ("article", key.hex())}


def test_the_end_of_a_revocation_shows_although_the_ledger_does_not_answer() -> None:
    crew, branch = record(0, CREW, (), limits.quota_micro_max), record(1, _key(1, 1), (0,), 100)
    tree = BranchTree()

    def state(now: float, *, is_revoked: bool) -> str:
        def revoked(key: bytes, _: int) -> bool:
            return is_revoked and key == branch.key

        tree.take(TreeInputs([crew, branch], {}, [LONG], revoked, int(now), NOBODY))
        return tree.rows()[1].state

    assert state(NOW, is_revoked=True) == "revoked"
    assert state(NOW + limits.tree_ledger_seconds_max, is_revoked=False) == "live"


def test_what_a_machine_draws_is_charged_before_the_ledger_is_read_again() -> None:
    """Also what a branch had consumed whose record is reclaimed; what it gives back is not."""
    policy = CrewPolicy("article", "x", hourly_max=100)
    crew = record(0, CREW, (), limits.quota_micro_max)
    one, two = (record(number, _key(number, 1), (0,), 1000) for number in (1, 2))
    hour = WindowUsage(int(NOW) // WINDOW_SECONDS_HOUR, 10)
    others = {CREW: RemoteUsage(spent=10, hour=hour)}
    tree = BranchTree()

    def left(*records: BranchRecord, ledger: Mapping[bytes, RemoteUsage] = others) -> int:
        inputs = TreeInputs([crew, *records], {}, [policy], lambda *_: False, int(NOW), ledger)
        tree.take(inputs)
        return tree.rows()[0].left

    assert left(one) == 90
    assert left(one._replace(available=30)) == 90
    assert left(one._replace(available=5, settled=20, reserved=3, burned=2)) == 65
    assert left(one._replace(available=5, settled=25), two._replace(settled=40)) == 25
    assert left(two._replace(settled=40)) == 25
    assert left(two._replace(settled=75)) == 0
    now = {CREW: RemoteUsage(spent=35, hour=WindowUsage(hour.number, 110))}
    assert left(two._replace(settled=75), ledger=now) == 0
    now = {CREW: RemoteUsage(spent=35, hour=WindowUsage(hour.number, 80))}
    assert left(two._replace(settled=75), ledger=now) == 20


def test_the_names_that_are_gone_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for more than is remembered gets the whole tree."""
    monkeypatch.setattr(limits, "tree_gone_max", 2)
    crew, tree = record(0, CREW, (), limits.quota_micro_max), BranchTree()

    def take(*numbers: int) -> None:
        records = [record(number, _key(number, 1), (0,), 1) for number in numbers]
        tree.take(TreeInputs([crew, *records], {}, [LONG], lambda *_: False, int(NOW), NOBODY))

    take(1, 2, 3)
    take(1, 2)
    take(1)
    changes = tree.changes(1)
    assert changes is not None
    assert {*changes.gone} == {("article", _key(number, 1).hex()) for number in (2, 3)}
    take()
    assert tree.changes(1) is None
    after_the_second = tree.changes(2)
    assert after_the_second is not None
    assert len(after_the_second.gone) == 2
    assert tree.changes(tree.reading + 1) is None
