"""A ledger that goes away and comes back: leases are spent, then 503, and nothing is lost."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import wait_until
from postgres import Server
from trust_domain import Fleet, fleet

from crewgate.core.credits import MICRO


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Server]:
    """One that a test may end."""
    made = Server()
    yield made
    made.end()


@pytest.fixture
def one(tmp_path: Path, database: Server) -> Iterator[Fleet]:
    """A machine of its own."""
    with fleet(tmp_path, 1, on=database) as found:
        yield found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_ledger_that_is_down_costs_new_credit_alone(
    one: Fleet, database: Server, how: signal.Signals
) -> None:
    """Calls with a lease go on, others get 503; `status` says why; back, all is as it was."""
    (machine,) = one.machines
    token = one.token("300")
    assert one.call_all(token, 50) == {200: 50}
    database.stop(how)
    refused = one.call_all(token, 100, patience=0)
    assert set(refused) <= {200, 503}
    assert refused[503] > 0
    wait_until(lambda: "the ledger does not answer" in _log(one))
    database.start()
    machine.run("status", "--wait", "100")
    left = 300 - 50 - refused[200]
    assert one.call_all(token, left + 10) == {200: left, 403: 10}
    wait_until(lambda: one.line(token)["spent_micro"] == 300 * MICRO)
    assert one.line(token)["burned_micro"] == 0
    assert "the ledger answers again" in _log(one)


def test_a_machine_may_lend_itself_what_its_operator_allows(
    tmp_path: Path, database: Server
) -> None:
    """`away = "bounded"`: so much and no more, on this machine; charged when the ledger is back."""
    more = 'away = "bounded"\naway_credits = "20"\n'
    with fleet(tmp_path, 1, on=database, more=more) as one:
        (machine,) = one.machines
        token, strange = one.token("300"), one.token("300")
        assert one.call_all(token, 50) == {200: 50}
        database.stop(signal.SIGKILL)
        one.call_all(token, 1, patience=0)  # by the first that waits in vain it is known to be away
        wait_until(lambda: "the ledger does not answer" in _log(one))
        spent = 50 + one.call_all(token, 400, patience=0)[200]
        assert one.call_all(token, 5, patience=0) == {503: 5}
        assert one.call_all(strange, 5, patience=0) == {503: 5}  # nobody knows what it may spend
        database.start()
        machine.run("status", "--wait", "100")
        wait_until(lambda: one.line(token)["leased_micro"] == 0)
        line = one.line(token)
        calls = [each for each in machine.records() if each["kind"] == "call"]
        charged = sum(each["cost_micro"] for each in calls)
        assert line["spent_micro"] == charged >= spent * MICRO
        assert line["burned_micro"] == 0
        left = 300 - charged // MICRO
        assert one.call_all(token, left + 10) == {200: left, 403: 10}


def _log(fleet_: Fleet) -> str:
    return (fleet_.machines[0].folder / "serve.log").read_text()
