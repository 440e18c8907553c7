"""What one machine answers to another: whole pages, within bounds, and no more than it knows."""

import msgspec
import pytest
from agent_world import Start
from grant_builders import branch_id, grant, key
from hypothesis import given
from hypothesis import strategies as st
from revocation_targets import branch

from crewgate import limits
from crewgate.agent.machine_answers import answer, to_member, within
from crewgate.agent.revocation.types import RevocationCause
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.admin_messages import BranchState, TreeRow
from crewgate.ipc.answer_parts import (
    CallTotalRow,
    InForcePart,
    RevocationsPart,
    StatusPart,
    TreePart,
)
from crewgate.ipc.machine_messages import (
    InForceQuestion,
    RevocationsQuestion,
    StatusQuestion,
    TreeQuestion,
    encode,
)
from crewgate.metrics.call_totals import CallTotal

STATES: tuple[BranchState, ...] = ("live", "exhausted", "expired", "revoked")


async def test_each_question_has_its_answer(start: Start) -> None:
    """As the admin socket would give it."""
    agent = start()
    agent.revoke([branch(branch_id(1), "article")])
    (page,) = await to_member(agent, encode(StatusQuestion()))
    status = msgspec.msgpack.decode(page, type=StatusPart).status
    assert (status.life, status.machine) == (agent.table.life.hex(), agent.machine_name)
    (page,) = await to_member(agent, encode(RevocationsQuestion()))
    found = msgspec.msgpack.decode(page, type=RevocationsPart)
    assert (found.total, [row.name for row in found.rows]) == (1, [branch_id(1)])
    (page,) = await to_member(agent, encode(InForceQuestion([key(1), key(2)])))
    assert msgspec.msgpack.decode(page, type=InForcePart).in_force == [True, False]
    (page,) = await to_member(agent, encode(TreeQuestion()))
    tree = msgspec.msgpack.decode(page, type=TreePart)
    assert (tree.rows, tree.shares_ledger, tree.left_out) == ([], False, 0)
    assert tree.ledger == agent.ledger_queue.ledger.identity
    assert tree.minute == agent.clock.boot_ns() // (60 * 10**9)


async def test_totals_of_calls_come_if_they_are_asked_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On pages of their own, after the tree."""
    agent = start()
    many = [CallTotal("article", f"tool-{n}", n, 1, 2) for n in range(limits.call_totals_page_max)]
    monkeypatch.setattr(agent.call_totals, "read", lambda: [*many, CallTotal("bd", "x", 1, 0, 0)])
    assert len(await to_member(agent, encode(TreeQuestion()))) == 1
    pages = await to_member(agent, encode(TreeQuestion(totals=True)))
    parts = [msgspec.msgpack.decode(page, type=TreePart) for page in pages]
    assert [len(part.totals) for part in parts] == [0, len(many), 1]
    assert parts[2].totals == [CallTotalRow("bd", "x", 1, 0, 0)]


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"\x91" * 5000, encode({"type": "later"}), encode({"type": "tree", "find": 1}),
     encode({"type": "in-force", "keys": [b"short"]}),
     encode({"type": "in-force", "keys": [bytes(16)] * (limits.revocation_keys_max + 1)}),
     encode({"type": "revocations", "limit": limits.revocation_rows_max + 1})],
)  # fmt: skip
async def test_another_question_is_refused(start: Start, body: bytes) -> None:
    """A later version has more of them, and a hostile member makes some up."""
    with pytest.raises(ServiceRefusedError, match="does not know this question"):
        await to_member(start(), body)


async def test_a_page_fits_the_frame_that_carries_it(start: Start) -> None:
    """With the longest texts that a token can have, and the longest reasons."""
    agent = start()
    text = "x" * limits.claim_chars_max
    row = TreeRow(
        text, text, "token-revoked", *[text] * 6, *[2**53] * 6,
        leased_on={f"{n}{'m' * limits.holder_chars_max}": 2**53 for n in range(8)},
        overrun=2**53, left_hour=2**53, left_day=2**53, spent_here=2**53, reserved_here=2**53,
        leased_here=2**53, issued=2**33, calls=2**40, rule="r" * limits.name_chars_max,
        rule_step=RuleStep.REFUSE, rule_mode=RuleMode.OBSERVE,
    )  # fmt: skip
    rows = [row] * limits.member_page_rows_max
    part = TreePart(text, rows, shares_ledger=True, left_out=2**52, minute=2**40)
    assert len(encode(part)) <= limits.member_page_bytes_max
    total = CallTotalRow(text, "t" * limits.claim_chars_max, *[2**53] * 3)
    totals = TreePart(text, [], totals=[total] * limits.call_totals_page_max)
    assert len(encode(totals)) <= limits.member_page_bytes_max
    for number in range(28):
        reason = "\U0001f600" * limits.reason_chars_max
        agent.revoke([branch(branch_id(number), "article")], cause=RevocationCause("owner", reason))
    pages = await answer(agent, RevocationsQuestion(limit=28))
    assert len(pages) == 1
    assert max(map(len, pages)) <= limits.member_page_bytes_max


def row(name: str, parent: str = "", state: BranchState = "live", spent: int = 0) -> TreeRow:
    return TreeRow("article", name, state, parent=parent, spent=spent)


def test_a_tree_that_is_too_large_keeps_what_still_spends() -> None:
    """With the branches above it, in the order of before."""
    rows = [
        row(""),
        row("a", state="expired"),
        row("b", "a", "live", spent=1),
        row("c", state="revoked", spent=99),
        row("d", state="live", spent=5),
    ]
    assert [each.branch for each in within(rows, 5)] == ["", "a", "b", "c", "d"]
    assert [each.branch for each in within(rows, 4)] == ["", "a", "b", "d"]
    assert [each.branch for each in within(rows, 2)] == ["", "d"]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefghz"),
                  st.sampled_from(STATES), st.integers(0, 9)),
        unique_by=lambda each: each[0],
    ),
    st.integers(1, 9),
)  # fmt: skip
def test_no_more_than_fit_are_kept_and_none_loses_its_parents(
    drawn: list[tuple[str, str, BranchState, int]], rows_max: int
) -> None:
    """Whatever is above what; a branch that names itself ends nothing."""
    rows = [row(""), *(row(*each) for each in drawn)]
    kept = within(rows, rows_max)
    assert len(kept) <= max(rows_max, 1)
    assert kept == [each for each in rows if each in kept]
    names, known = {each.branch for each in kept}, {each.branch for each in rows}
    assert all(each.parent in names for each in kept if each.parent in known)


async def test_a_branch_is_found_by_its_reference(start: Start) -> None:
    """On this machine, by the same rules as everywhere."""
    agent = start()
    agent.registry.learn(grant(1, 900))
    (page,) = await answer(agent, TreeQuestion(find="0000", crew="article"))
    assert msgspec.msgpack.decode(page, type=TreePart).rows == []  # no call has opened it here
