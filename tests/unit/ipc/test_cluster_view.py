"""What all machines answer together; what a hostile or broken one can make of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.answer_parts import InForcePart, RevocationsPart, TreePart
from crewgate.ipc.cluster_view import SilentMachine, revocations_of, tree_of
from crewgate.ipc.machine_messages import MachineAnswer, encode
from crewgate.ipc.revocation_messages import RevocationRow

RUN = TreeRow("article", "b" * 36, "live", spent=1, quota=9, left=8)


def answers(pages: Mapping[str, Sequence[bytes]], **failed: str) -> Iterator[MachineAnswer]:
    """The messages of an agent called gw-1."""
    for machine, bodies in pages.items():
        yield from (MachineAnswer(1, "page", machine, body) for body in bodies)
        yield MachineAnswer(1, "whole", machine)
    for machine, why in failed.items():
        yield MachineAnswer(1, "failed", machine, why=why)
    yield MachineAnswer(1, "end", "gw-1")


def tree(*rows: TreeRow, **more: Any) -> bytes:
    return encode(TreePart("ledger", list(rows), **more))


def test_pages_of_machines_are_one_tree() -> None:
    """The machine that was asked comes first, and the others by name."""
    other = msgspec.structs.replace(RUN, branch="c" * 36)
    pages = {"gw-2": [tree(RUN), tree(other, left_out=3)], "gw-0": [tree()], "gw-1": [tree(RUN)]}
    found = tree_of(answers(pages))
    assert (found.machines, found.asked) == (["gw-1", "gw-0", "gw-2"], "gw-1")
    assert (found.not_asked, found.left_out) == ([], 3)
    assert [(row.branch[0], row.spent, row.quotas) for row in found.rows] == [
        ("b", 2, 2),
        ("c", 1, 1),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xc1", b"\x91" * 5000, encode({"rows": 1}), encode(["x"]), b"\xdf" + b"\xff" * 8,
        encode({"ledger": "l", "rows": [{"crew": "a", "branch": "b", "state": "made-up"}]}),
        encode({"ledger": "l", "rows": [{"crew": b"\xff", "branch": "b", "state": "live"}]}),
        encode(RevocationsPart([])),
    ],
)  # fmt: skip
def test_a_machine_that_cannot_be_read_counts_as_missing(body: bytes) -> None:
    """With all that it has said before; the others are shown."""
    found = tree_of(answers({"gw-1": [tree(RUN)], "gw-2": [tree(RUN), body]}))
    assert [each.machine for each in found.not_asked] == ["gw-2"]
    assert "cannot be read" in found.not_asked[0].why
    assert [row.spent for row in found.rows] == [1]


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
    | st.binary(),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(), each, max_size=4),
    max_leaves=12,
)  # fmt: skip
_ROWS = st.lists(
    st.dictionaries(st.sampled_from([*TreeRow.__struct_fields__, "x"]), _ANYTHING, max_size=5)
)


@given(st.binary() | st.builds(encode, _ANYTHING)
       | st.builds(lambda rows: encode({"ledger": "l", "rows": rows}), _ROWS))  # fmt: skip
def test_nothing_that_a_machine_says_ends_a_command(body: bytes) -> None:
    """It is shown, or the machine is named; the others are shown in any case."""
    found = tree_of(answers({"gw-1": [tree(RUN)], "gw-2": [body]}))
    assert "gw-1" in found.machines
    assert {"gw-2"} == {each.machine for each in found.not_asked} | ({*found.machines} - {"gw-1"})
    assert any(each.branch == RUN.branch for each in found.rows)
    rows = {"gw-1": [encode(RevocationsPart([row(1)], 1))], "gw-2": [body]}
    listed = revocations_of(answers(rows), 9, lambda _: answers({"gw-2": [body]}))
    assert [each.at for each in listed.rows][-1:] == [1] or listed.machines == ["gw-1", "gw-2"]


def test_a_machine_that_broke_off_counts_as_missing() -> None:
    """Half of a tree would hide the other half."""
    found = tree_of(
        MachineAnswer(1, what, "gw-2", body)  # type: ignore[arg-type]
        for what, body in (("page", tree(RUN)), ("failed", b""), ("end", b""))
    )
    assert (found.rows, found.machines) == ([], [])
    assert found.not_asked == [SilentMachine("gw-2", "")]


def test_answers_that_are_too_large_together_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The largest one is named, and those that are smaller are shown, whoever comes last."""
    page = tree(RUN)
    monkeypatch.setattr(limits, "members_answers_bytes_max", 4 * len(page))
    found = tree_of(answers({"gw-1": [page], "gw-2": [page] * 3, "gw-3": [page] * 2}))
    assert found.machines == ["gw-1", "gw-3"]
    assert [(each.machine, "no room" in each.why) for each in found.not_asked] == [("gw-2", True)]


def test_an_own_ledger_is_nobody_elses() -> None:
    """A machine that gives the identity of another's file does not take the place of its sums."""
    found = tree_of(answers({"gw-1": [tree(RUN)], "gw-2": [tree(RUN)]}))
    assert [row.spent for row in found.rows] == [2]
    shared = {name: [tree(RUN, shares_ledger=True)] for name in ("gw-1", "gw-2")}
    assert [row.spent for row in tree_of(answers(shared)).rows] == [1]


def row(number: int, **more: Any) -> RevocationRow:
    return RevocationRow(f"{number:032x}", "branch", at=number, **more)


def listed(
    pages: Mapping[str, Sequence[RevocationRow]], lacking: Sequence[str] = (), limit: int = 50
) -> Any:
    """The list; all machines but `lacking` have everything in force."""
    bodies = {
        name: [encode(RevocationsPart(list(rows), len(rows)))] for name, rows in pages.items()
    }

    def in_force(keys: list[bytes]) -> Iterator[MachineAnswer]:
        return answers(
            {name: [encode(InForcePart([name not in lacking] * len(keys)))] for name in pages}
        )

    return revocations_of(answers(bodies), limit, in_force)


def test_the_origin_says_who_and_why() -> None:
    """Another machine knows the key alone; how many have it is asked of each."""
    own = row(1, name="x", by="operator/ada", reason="a loop", origin="gw-2")
    heard = row(1, by="gateway/gw-2", origin="gw-2", role="researcher", crew="article")
    found = listed({"gw-1": [heard], "gw-2": [own], "gw-3": [heard]}, lacking=["gw-3"])
    (shown,) = found.rows
    assert (shown.by, shown.reason, shown.name) == ("operator/ada", "a loop", "x")
    assert (shown.role, shown.crew) == ("researcher", "article")
    assert (shown.on, shown.missing) == (2, ["gw-3"])
    assert (found.total, found.machines) == (1, ["gw-1", "gw-2", "gw-3"])


def test_no_machine_says_who_ordered_another_s() -> None:
    """A machine that lies can name itself only."""
    lie = row(1, by="operator/ada", reason="trust me", origin="gw-1")
    (shown,) = listed({"gw-2": [lie]}).rows
    assert (shown.by, shown.reason) == ("gateway/gw-1", "")
    own = row(1, by="owner", origin="gw-1", reason="true")
    (shown,) = listed({"gw-1": [own], "gw-2": [lie]}).rows
    assert (shown.by, shown.reason) == ("owner", "true")


def test_of_two_orders_the_first_counts() -> None:
    """Both machines ordered it; it ends with the later one."""
    first = row(1, by="owner", origin="gw-1", expires=10)
    second = msgspec.structs.replace(first, at=5, by="operator/eve", origin="gw-2", expires=15)
    (shown,) = listed({"gw-2": [second], "gw-1": [first]}).rows
    assert (shown.by, shown.at, shown.expires) == ("owner", 1, 15)


def test_the_newest_of_all_are_listed() -> None:
    """In the order of time; none if none was asked for."""
    pages = {"gw-1": [row(1), row(3)], "gw-2": [row(2), row(4)]}
    assert [each.at for each in listed(pages, limit=3).rows] == [2, 3, 4]
    found = listed(pages, limit=0)
    assert (found.rows, found.total) == ([], 4)


def test_a_machine_that_gave_too_few_answers_lacks_the_rest() -> None:
    """Or gave too many, which change nothing."""
    pages = answers({"gw-1": [encode(RevocationsPart([row(1), row(2)], 2))]})
    short = revocations_of(pages, 9, lambda _: answers({"gw-1": [encode(InForcePart([True]))]}))
    assert [each.on for each in short.rows] == [1, 0]
