"""Overruns: each ends its own branch, and no more than that, however many there are."""

import pytest
from agent_world import Hands, Start
from grant_builders import NOW, branch_id, grant, key
from revocation_targets import branch

from crewgate.agent.budget.overrun_revocation import overran
from crewgate.agent.state import AgentState
from crewgate.core.audit.records import Record, RevocationRecord
from crewgate.core.ids import crew_key
from crewgate.ipc.attach_messages import (
    VERSION,
    Attach,
    CreditDrawn,
    DrawCredit,
    OverrunNoted,
    ReportOverrun,
)


def draw(machine: AgentState, number: int, need: int = 10) -> str:
    """How a draw for a branch ends."""
    guest, _ = machine.enter(Attach(version=VERSION))
    request = DrawCredit(id=1, grant=grant(number, 500), need=need)
    machine.draws.ask(guest, request, machine.clock.read())
    told = guest.outbox.receive_nowait()
    machine.leave(guest)
    assert isinstance(told, CreditDrawn)
    return told.status


def overrun(machine: AgentState, number: int, amount: int = 5, call: int = 0) -> None:
    """A tool's answer for a branch states too much: that of call `call`, if it has several."""
    identifier = bytes(8) + number.to_bytes(4, "big") + call.to_bytes(4, "big")
    told = ReportOverrun(id=identifier, grant=grant(number, 500), amount=amount)
    assert overran(machine, told) == OverrunNoted(id=identifier)


def revocations(written: list[Record]) -> list[RevocationRecord]:
    return [each for each in written if isinstance(each, RevocationRecord)]


def test_an_overrun_ends_its_branch(
    start: Start, written: list[Record], log_lines: list[str]
) -> None:
    """The table knows, the ledger too, with what was stated; log and audit say what was done."""
    machine = start()
    assert draw(machine, 1) == "granted"
    overrun(machine, 1)
    assert machine.table.is_revoked(key(1), int(NOW))
    (line,) = machine.ledger_queue.ledger.report(key(1))
    assert (line.overrun, line.closed) == (5, True)
    (ended,) = revocations(written)
    assert (ended.target, ended.id, ended.by) == ("branch", branch_id(1), "overrun")
    assert "stated 0.000005 credits more than a call of branch " in log_lines[-1]
    assert "may cost: the branch is revoked; " in log_lines[-1]


def test_no_number_of_overruns_ends_a_crew(
    start: Start, written: list[Record], log_lines: list[str]
) -> None:
    """Where the table has no room, an account is closed for good; what is asked for still fits."""
    machine = start()
    for number in range(1, 60):
        assert draw(machine, number) == "granted"
        overrun(machine, number)
        assert machine.table.revoked_before(crew_key("article")) is None
    ends = [(each.target, each.id) for each in revocations(written)]
    assert [name for _, name in ends] == [branch_id(number) for number in range(1, 60)]
    first = [target for target, _ in ends].index("account")
    assert {target for target, _ in ends[first:]} == {"account"}
    assert "the branch is closed only in the ledger (the share of crew article" in log_lines[-1]
    assert len([line for line in log_lines if "closed only in the ledger" in line]) == 59 - first
    (done,) = machine.revoke([branch(branch_id(100), "article")]).results
    assert done.coarse is None
    again = start()
    for number in (1, 59):
        assert draw(again, number, need=100) == "closed"
    assert draw(again, 60) == "granted"


def counted(machine: AgentState, number: int) -> int:
    """What the ledger has heard."""
    (line,) = machine.ledger_queue.ledger.report(key(number))
    return line.overrun


def test_an_overrun_that_is_told_again_counts_once(
    start: Start, hands: Hands, written: list[Record]
) -> None:
    """Also by the next agent; another call of the same branch is another one."""
    machine = start()
    assert draw(machine, 1) == "granted"
    for call in (0, 0, 1):
        overrun(machine, 1, call=call)
    assert counted(machine, 1) == 10
    hands.go(1)
    machine = start()
    for call in (0, 1, 1):
        overrun(machine, 1, call=call)
    assert counted(machine, 1) == 10
    overrun(machine, 1, call=2)
    assert counted(machine, 1) == 15
    assert len(revocations(written)) == 3


def test_what_the_ledger_was_not_told_is_told_by_the_next_agent(
    start: Start, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent is killed with all that it meant to say: the worker has its answer already."""
    machine = start()
    for number in range(1, 30):
        assert draw(machine, number) == "granted"
    overrun(machine, 1, call=1)
    with monkeypatch.context() as patched:
        patched.setattr(machine.ledger_queue.ledger, "do", lambda *_: None)
        for number in range(1, 30):
            overrun(machine, number)
    assert counted(machine, 1) == 5
    hands.go(1)
    again = start()
    assert [counted(again, number) for number in range(1, 30)] == [10] + 28 * [5]
    lines = [again.ledger_queue.ledger.report(key(number))[0] for number in range(1, 30)]
    assert all(line.closed for line in lines)
    hands.go(1)
    again = start()
    assert [counted(again, number) for number in (1, 2)] == [10, 5]


def test_whoever_is_killed_before_noting_it_ends_it_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker had no answer, and tells the next agent."""
    machine = start()
    assert draw(machine, 1) == "granted"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(machine.notes, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        overrun(machine, 1)
    machine = start()
    overrun(machine, 1)
    assert machine.table.is_revoked(key(1), int(NOW))
    assert counted(machine, 1) == 5


def test_a_crew_that_is_gone_has_its_branch_closed(start: Start, written: list[Record]) -> None:
    """A reload may take a crew away whose calls are still under way."""
    machine = start()
    told = ReportOverrun(id=bytes(16), grant=grant(1, 500, crew="former"), amount=5)
    overran(machine, told)
    (ended,) = revocations(written)
    assert (ended.crew, ended.target, ended.id) == ("former", "account", branch_id(1))
