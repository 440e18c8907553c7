"""The branch tree: sums, what is left on the tightest level, and states."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from grant_builders import NOW, branch_id, key
from hypothesis import given
from hypothesis import strategies as st
from tree_records import record

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate.agent.branch_registry import BranchEntry
from crewgate.agent.branch_tree.inputs import IsRevoked, TreeInputs
from crewgate.agent.branch_tree.remote_usage import RemoteUsage, beyond
from crewgate.agent.branch_tree.tree import BranchTree
from crewgate.core.budget.ledger_protocol import AccountStatement, LeaseUsage, WindowUsage
from crewgate.core.ids import EntityKind, crew_key, table_key
from crewgate.core.policy.policy import CrewPolicy
from crewgate.ipc.admin_messages import TreeRow

ARTICLE = CrewPolicy("article", "https://o.example")
BIG = limits.quota_micro_max
NOBODY: Mapping[bytes, RemoteUsage] = {}


def _entry(number: int, parent: int | None = None, exp: int = int(NOW) + 900) -> BranchEntry:
    return BranchEntry(
        crew="article",
        branch=branch_id(number),
        parent="" if parent is None else branch_id(parent),
        orchestrator="article/one",
        role="researcher",
        process="pid_7",
        grant=f"grant-{number}",
        subject="user-1",
        iat=100,
        exp=exp,
    )


def _family(**more: object) -> list[BranchRecord]:
    """The crew (record 0), a root (1) with quota 100, two children (2, 3) with 60 each."""
    return [
        record(0, crew_key("article"), (), BIG),
        record(1, key(1), (0,), 100, settled=10),
        record(2, key(2), (0, 1), 60, settled=20, reserved=5, burned=3),
        record(3, key(3), (0, 1), 60, settled=30, available=7)._replace(**more),  # type: ignore[arg-type]
    ]


ENTRIES = {key(1): _entry(1), key(2): _entry(2, 1), key(3): _entry(3, 1)}


def _none(key: bytes, issued: int) -> bool:
    return False


def rows(*inputs: Any, **more: Any) -> list[TreeRow]:
    """The rows of one reading."""
    tree = BranchTree()
    tree.take(TreeInputs(*inputs, **more))
    return tree.rows()


def _rows(
    records: list[BranchRecord],
    entries: dict[bytes, BranchEntry] = ENTRIES,
    is_revoked: IsRevoked = _none,
    crew: CrewPolicy = ARTICLE,
    others: Mapping[bytes, RemoteUsage] = NOBODY,
) -> dict[str, TreeRow]:
    found = rows(records, entries, [crew], is_revoked, int(NOW), others)
    return {row.branch: row for row in found}


def test_a_branch_is_charged_for_all_below_it() -> None:
    """Spent, reserved and burned add up; what is left is the least over the path."""
    tree = _rows(_family())
    root, second, third = (tree[branch_id(n)] for n in (1, 2, 3))
    assert (second.spent, second.reserved, second.burned, second.left) == (20, 5, 3, 32)
    assert (third.spent, third.left) == (30, 30)
    assert (root.spent, root.reserved, root.burned, root.left) == (60, 5, 3, 32)
    assert (tree[""].spent, tree[""].left) == (60, -1)


def test_a_parent_without_credit_exhausts_its_children() -> None:
    """A child with quota left cannot pay when its parent cannot."""
    tree = _rows(_family(settled=62))
    assert tree[branch_id(1)].left == 0
    assert [tree[branch_id(n)].state for n in (1, 2, 3)] == ["exhausted"] * 3


def test_parents_come_before_children_whatever_the_records_order() -> None:
    """Pages can be read in order: whoever is named as parent was shown before."""
    found = rows(list(reversed(_family())), ENTRIES, [ARTICLE], _none, int(NOW), NOBODY)
    assert [row.branch for row in found][:2] == ["", branch_id(1)]
    assert {row.branch for row in found[2:]} == {branch_id(2), branch_id(3)}


def test_a_revoked_parent_is_seen_in_everything_below() -> None:
    """And nowhere else."""
    tree = _rows(_family(), is_revoked=lambda each, issued: each == key(1))
    assert {row.state for row in tree.values() if row.branch} == {"revoked"}
    tree = _rows(_family(), is_revoked=lambda each, issued: each == key(2))
    assert [tree[branch_id(n)].state for n in (1, 2, 3)] == ["live", "revoked", "live"]


def test_every_way_to_be_revoked_is_seen() -> None:
    """Its orchestrator, its crew, its process, its grant: by the age of its newest grant."""
    named = [
        (table_key(EntityKind.ORCHESTRATOR, "article", b"article/one"), "revoked"),
        (table_key(EntityKind.SUBJECT, "article", b"user-1"), "revoked"),
        (table_key(EntityKind.SUBJECT, "", b"user-1"), "revoked"),
        (crew_key("article"), "token-revoked"),
        (table_key(EntityKind.PROCESS, "article", b"pid_7"), "token-revoked"),
        (table_key(EntityKind.GRANT, "article", b"grant-1"), "token-revoked"),
    ]
    for each, state in named:
        tree = _rows(
            _family(), is_revoked=lambda asked, issued, e=each: (asked, issued) == (e, 100)
        )
        assert tree[branch_id(1)].state == state


def test_a_dead_token_ends_nothing_below_its_branch() -> None:
    """The gate admits a child of another grant, and so says the tree; for good comes first."""

    def is_revoked(asked: bytes, issued: int) -> bool:
        return asked == table_key(EntityKind.GRANT, "article", b"grant-1") and issued > 0

    tree = _rows(_family(), is_revoked=is_revoked)
    states = [tree[branch_id(n)].state for n in (1, 2, 3)]
    assert states == ["token-revoked", "live", "live"]
    records = [each._replace(closed=each.key == key(1)) for each in _family()]
    assert _rows(records, is_revoked=is_revoked)[branch_id(1)].state == "closed"
    unseen = {**ENTRIES, key(1): BranchEntry(crew="article", branch=branch_id(1))}
    crew = _rows(_family(), unseen, is_revoked=lambda asked, _: asked == crew_key("article"))
    assert [crew[branch_id(n)].state for n in (1, 2)] == ["live", "token-revoked"]


def test_a_run_across_the_boundary_ends_with_its_orchestrator() -> None:
    """Which is of the crew that calls, and not of the account that is charged."""
    account = CrewPolicy("article:finance", "crewgate:crossing")
    own = key(1, account.name)
    records = [
        record(0, crew_key(account.name), (), BIG),
        record(1, own, (0,), 60),
    ]
    entries = {own: msgspec.structs.replace(_entry(1), crew=account.name)}
    revoked = table_key(EntityKind.ORCHESTRATOR, "article", b"article/one")
    for asked, state in ((revoked, "revoked"), (b"", "live")):
        tree = _rows(records, entries, lambda each, issued, a=asked: each == a, account)
        assert tree[branch_id(1)].state == state


def test_states_of_a_single_branch() -> None:
    """Closed, ended, and live: after a refused draw a cheaper call still passes."""
    refused = _rows(_family(refused=(10, 0, 30, 60)))
    closed = _rows(_family(closed=True))
    ended = _rows(_family(), {**ENTRIES, key(3): _entry(3, 1, exp=int(NOW) - 1)})
    states = [tree[branch_id(3)].state for tree in (refused, closed, ended)]
    assert states == ["live", "closed", "expired"]
    assert [tree[branch_id(3)].left for tree in (refused, closed)] == [30, 0]
    assert all(tree[branch_id(2)].state == "live" for tree in (refused, closed, ended))


def test_a_record_without_a_name_is_shown_all_the_same() -> None:
    """What the registry lost is there by its key, so that no spend is hidden."""
    tree = _rows(_family(), {key(1): _entry(1), key(2): _entry(2, 1)})
    assert tree[key(3).hex()].spent == 30
    assert tree[key(3).hex()].parent == branch_id(1)


def test_a_crews_allowance_is_shown_with_the_crew() -> None:
    """The hour's ceiling counts what is charged, less what lies idle; another hour's is nothing.

    A branch whose crew has spent its hour is not exhausted, and none has less than nothing.
    """
    crew = CrewPolicy("article", "https://o.example", hourly_max=80)
    hour = int(NOW) // 3600
    now = {crew_key("article"): RemoteUsage(idle=3, hour=WindowUsage(hour, 77))}
    tree = _rows(_family(), crew=crew, others=now)
    assert tree[""].left == 80 - (77 - 7 - 3)
    assert tree[branch_id(2)].left == 32
    over = _rows(
        _family(), crew=crew, others={crew_key("article"): RemoteUsage(hour=WindowUsage(hour, 99))}
    )
    assert (over[""].state, over[""].left) == ("exhausted", 0)
    assert (over[branch_id(2)].state, over[branch_id(2)].left) == ("live", 32)
    spent = _rows(_family(settled=62), crew=crew, others=now)
    assert [spent[branch_id(n)].state for n in (1, 2, 3)] == ["exhausted"] * 3
    old = {crew_key("article"): RemoteUsage(hour=WindowUsage(hour - 1, 77))}
    assert _rows(_family(), crew=crew, others=old)[""].left == 80


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, (-1, -1, -1)),
        ({"hourly_max": 80}, (13, 13, -1)),
        ({"daily_max": 90}, (10, -1, 10)),
        ({"hourly_max": 80, "daily_max": 90}, (10, 13, 10)),
        ({"hourly_max": 80, "daily_max": 900}, (13, 13, 820)),
    ],
)
def test_the_hour_and_the_day_are_told_apart(
    bounds: dict[str, int], expected: tuple[int, int, int]
) -> None:
    """`left` is the smaller one."""
    crew = CrewPolicy("article", "https://o.example", **bounds)
    hour, day = WindowUsage(int(NOW) // 3600, 77), WindowUsage(int(NOW) // 86_400, 90)
    found = {crew_key("article"): RemoteUsage(idle=3, hour=hour, day=day)}
    row = _rows(_family(), crew=crew, others=found)[""]
    assert (row.left, row.left_hour, row.left_day) == expected


def test_what_other_machines_and_former_tables_spent_counts() -> None:
    """The ledger's sums, less what it was told of this table, whose records are newer."""
    paths = {crew_key("article"): (), key(1): (crew_key("article"),)}
    statements = {
        each: AccountStatement(each, path, 100, 0, False, 30, 4, 9, 2, 55, 0)
        for each, path in paths.items()
    }
    own = {key(1): LeaseUsage(3, 40, 0, 20, 1, 4), key(9): LeaseUsage(1, 5, 0, 5)}
    others = beyond(statements, own)
    assert others[key(1)] == others[crew_key("article")] == RemoteUsage(10, 0, 1, 0)
    tree = _rows(_family()[:2], others=others)
    assert (tree[branch_id(1)].spent, tree[branch_id(1)].burned) == (20, 1)
    assert (tree[branch_id(1)].left, tree[""].spent) == (79, 20)


def test_what_is_leased_is_shown_with_who_holds_it() -> None:
    """Of a level all below it, on this machine and on others; most of it first."""
    statements = {
        key(n): AccountStatement(key(n), path, 100, 0, False, 0, 0, 9, 0, 0, 0)
        for n, path in ((1, (crew_key("article"),)), (2, (crew_key("article"), key(1))))
    }
    others = beyond(statements, {}, [(key(2), "north", 4), (key(2), "south", 5)])
    found = rows(_family(), ENTRIES, [ARTICLE], _none, int(NOW), others, "here")
    tree = {row.branch: row for row in found}
    assert tree[branch_id(2)].leased_on == {"south": 5, "north": 4}
    assert tree[branch_id(3)].leased_on == {"here": 7}
    assert (tree[branch_id(1)].leased, tree[branch_id(1)].leased_on) == (
        16,
        {"here": 7, "south": 5, "north": 4},
    )


def test_what_answers_stated_beyond_is_shown_with_its_branch() -> None:
    """It says why the branch was ended."""
    found = rows(_family(), ENTRIES, [ARTICLE], _none, int(NOW), NOBODY, overruns={key(2): 420_000})
    assert {row.branch: row.overrun for row in found if row.overrun} == {branch_id(2): 420_000}


_NAMES = st.fixed_dictionaries(
    {name: st.sampled_from(["", "x", "y"]) for name in ("orchestrator", "process", "subject")}
    | {"grant": st.sampled_from(["", "g", "h"]), "iat": st.integers(1, 3)}
)
_WORDS = st.sampled_from(["", "x", "y", "g", "h"])
_KINDS = st.sampled_from([*EntityKind])
_CREWS = st.sampled_from(["", "article", "article:bd", "bd"])


@given(
    st.lists(_NAMES, min_size=3, max_size=3),
    st.sampled_from(["article", "article:bd"]),
    st.dictionaries(st.tuples(_KINDS, _CREWS, _WORDS), st.integers(1, 3), max_size=6),
)
def test_a_state_is_what_each_name_says_alone(
    names: list[dict[str, Any]], crew: str, revoked: dict[tuple[EntityKind, str, str], int]
) -> None:
    """Branches that share names: against a slow model, which looks at each branch anew."""
    before = {table_key(kind, of, name.encode()): at for (kind, of, name), at in revoked.items()}
    entries = {
        key(n): BranchEntry(crew=crew, branch=branch_id(n), **each)
        for n, each in enumerate(names, 1)
    }

    def is_revoked(each: bytes, issued: int) -> bool:
        return issued <= before.get(each, 0)

    def dead(entry: BranchEntry, kind: EntityKind, of: str, name: str) -> bool:
        return bool(name) and is_revoked(table_key(kind, of, name.encode()), entry.iat)

    def expected(entry: BranchEntry) -> str:
        holders = [(EntityKind.ORCHESTRATOR, of, entry.orchestrator) for of in (crew, "article")]
        holders += [(EntityKind.SUBJECT, of, entry.subject) for of in (crew, "")]
        if any(dead(entry, *each) for each in holders):
            return "revoked"
        is_token = is_revoked(crew_key(crew), entry.iat) or any(
            dead(entry, kind, crew, name)
            for kind, name in ((EntityKind.GRANT, entry.grant), (EntityKind.PROCESS, entry.process))
        )
        return "token-revoked" if entry.grant and is_token else "live"

    records = [record(0, crew_key(crew), (), BIG)]
    records += [record(n, key(n), (0,), 100) for n in (1, 2, 3)]
    tree = _rows(records, entries, is_revoked, CrewPolicy(crew, "https://o.example"))
    for entry in entries.values():
        assert tree[entry.branch].state == expected(entry)
