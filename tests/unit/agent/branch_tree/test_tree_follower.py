"""Who asks again and again: answers go on from a cursor, and a reading serves all who ask."""

from collections.abc import Sequence
from contextlib import closing

import msgspec
import pytest
from agent_world import Hands, Start
from grant_builders import branch_id, grant

from crewgate import limits
from crewgate.agent.branch_tree import tree_reader
from crewgate.agent.branch_tree.remote_usage import RemoteUsage
from crewgate.agent.branch_tree.tree_follower import FollowedRows
from crewgate.agent.branch_tree.tree_reader import TreeReader
from crewgate.agent.machine_answers import answer
from crewgate.agent.state import AgentState
from crewgate.errors import LedgerUnavailableError
from crewgate.ipc.answer_parts import TreePart
from crewgate.ipc.attach_messages import VERSION, Attach, DrawCredit
from crewgate.ipc.machine_messages import TreeQuestion
from crewgate.ledger.factory import open_session
from crewgate.ledger.sql import SQLLedger

MOST = limits.member_tree_rows_max


def opened(agent: AgentState, *numbers: int) -> None:
    """Have these branches call for the first time."""
    guest, _ = agent.enter(Attach(version=VERSION))
    for number in numbers:
        ask = DrawCredit(id=number, grant=grant(number, 500), need=10)
        agent.draws.ask(guest, ask, agent.clock.read())


def ask(agent: AgentState, cursor: str, rows_max: int = MOST) -> FollowedRows:
    return agent.tree_follower.ask(TreeReader(agent), cursor, rows_max)


async def parts(agent: AgentState, since: str) -> Sequence[TreePart]:
    pages = await answer(agent, TreeQuestion(since=since), rows_max=MOST)
    return [msgspec.msgpack.decode(page, type=TreePart) for page in pages]


def names(found: Sequence[TreePart]) -> list[str]:
    return [row.branch for part in found for row in part.rows]


async def test_an_answer_goes_on_from_the_cursor_of_the_last_one(
    start: Start, hands: Hands
) -> None:
    agent = start()
    opened(agent, 1)
    first = await parts(agent, "")
    assert (names(first), first[0].since) == (["", branch_id(1)], "")
    hands.go(1)
    (second,) = await parts(agent, first[0].cursor)
    assert (second.rows, second.gone, second.since) == ([], [], first[0].cursor)
    opened(agent, 2)
    hands.go(1)
    third = await parts(agent, second.cursor)
    assert sorted(names(third)) == ["", branch_id(2)]
    # One who missed an answer gets what has changed since its own last one.
    assert sorted(names(await parts(agent, first[0].cursor))) == ["", branch_id(2)]


@pytest.mark.parametrize("cursor", ["", "-", "1", "x-1", "{}-2", "{}-", "{}--1", "{}-" + "9" * 40])
async def test_for_a_cursor_that_it_does_not_know_it_answers_with_all(
    start: Start, cursor: str
) -> None:
    agent = start()
    opened(agent, 1)
    (part,) = await parts(agent, "")
    name = part.cursor.partition("-")[0]
    (again,) = await parts(agent, cursor.format(name))
    assert (len(again.rows), again.since) == (2, "")


async def test_a_tree_that_is_too_large_has_no_cursor(start: Start) -> None:
    """What is left out would be missing from the changes."""
    agent = start()
    opened(agent, 1, 2)
    found = ask(agent, "", 2)
    assert (found.cursor, found.is_whole, len(found.rows)) == ("", True, 3)
    pages = await answer(agent, TreeQuestion(since="", rows_max=2))
    (part,) = [msgspec.msgpack.decode(page, type=TreePart) for page in pages]
    assert (part.cursor, len(part.rows), part.left_out) == ("", 2, 1)


async def test_names_that_are_gone_have_pages_of_their_own(
    start: Start, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start()
    opened(agent, 1)
    cursor = ask(agent, "").cursor
    monkeypatch.setattr(TreeReader, "records", lambda _: [])
    monkeypatch.setattr(limits, "tree_gone_page_max", 1)
    hands.go(1)
    pages = await parts(agent, cursor)
    assert [len(part.gone) for part in pages] == [0, 1, 1]
    gone = {name for part in pages for name in part.gone}
    assert gone == {("article", ""), ("article", branch_id(1))}


def test_one_reading_serves_all_who_ask_at_once(
    start: Start, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one look at the ledger serves some readings."""
    agent, looks = start(), {"records": 0, "ledger": 0}
    records, others = TreeReader.records, TreeReader.others

    def counted(name: str) -> None:
        looks[name] += 1

    monkeypatch.setattr(TreeReader, "records", lambda reader: counted("records") or records(reader))
    monkeypatch.setattr(TreeReader, "others", lambda *given: counted("ledger") or others(*given))
    for _ in range(3):
        ask(agent, "")
    assert looks == {"records": 1, "ledger": 1}
    hands.go(1)
    ask(agent, "")
    assert looks == {"records": 2, "ledger": 1}
    hands.go(limits.tree_ledger_seconds)
    ask(agent, "")
    assert looks == {"records": 3, "ledger": 2}


def test_a_slow_ledger_is_read_less_often_but_again(
    start: Start, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, looks = start(), []

    def slow(*_: object) -> dict[bytes, RemoteUsage]:
        looks.append(hands.boot)
        hands.go(100)
        return {}

    monkeypatch.setattr(TreeReader, "others", slow)
    for _ in range(2):
        ask(agent, "")
        hands.go(limits.tree_ledger_seconds_max)
    assert len(looks) == 2


def test_while_the_ledger_does_not_answer_its_last_amounts_hold(
    start: Start, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start()
    opened(agent, 1)
    known = {record.key: RemoteUsage(spent=7) for record in TreeReader(agent).records()}
    monkeypatch.setattr(TreeReader, "others", lambda *_: known)
    before = ask(agent, "")
    assert [row.spent for row in before.rows] == [7, 7]
    monkeypatch.undo()

    def away(*_: object, **__: object) -> None:
        raise LedgerUnavailableError("it is away")

    monkeypatch.setattr(tree_reader, "open_ledger", away)
    hands.go(limits.tree_ledger_seconds)
    assert [row.spent for row in ask(agent, "").rows] == [7, 7]
    assert [row.spent for row in TreeReader(agent).tree()] == [0, 0]


def test_what_is_reported_while_the_ledger_is_read_counts_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start()
    opened(agent, 1)
    reader = TreeReader(agent)
    before = reader.others(reader.records())
    lessees = SQLLedger.lessees

    def reported_meanwhile(ledger: SQLLedger, holder: str, boot: bytes) -> object:
        session = open_session(agent.active_config.config.ledger)
        with closing(session), session.transaction():
            session.rows("UPDATE lease SET spent = spent + 5")
            session.rows("UPDATE account SET settled = settled + 5")
        return lessees(ledger, holder, boot)

    monkeypatch.setattr(SQLLedger, "lessees", reported_meanwhile)
    assert reader.others(reader.records()) == before
    monkeypatch.undo()
    assert reader.others(reader.records()) == before


def test_a_tree_that_nobody_asks_for_is_forgotten(start: Start, hands: Hands) -> None:
    agent = start()
    cursor = ask(agent, "").cursor
    agent.tree_follower.forget_unused(hands.boot)
    assert not ask(agent, cursor).is_whole
    hands.go(limits.tree_unused_seconds)
    agent.tree_follower.forget_unused(hands.boot)
    assert ask(agent, cursor).is_whole


def test_half_a_reading_is_forgotten(
    start: Start, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start()
    opened(agent, 1)
    cursor = ask(agent, "").cursor

    def broken(_: object) -> list[object]:
        raise MemoryError

    monkeypatch.setattr(TreeReader, "records", broken)
    hands.go(1)
    with pytest.raises(MemoryError):
        ask(agent, cursor)
    monkeypatch.undo()
    found = ask(agent, cursor)
    assert (found.is_whole, len(found.rows)) == (True, 2)
