"""A ledger that goes away and comes back: leases are spent, then 503, and nothing is lost."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_process import crewgate
from installation import Installation, wait_until
from postgres import Server
from shared_ledger_gateways import Fleet, fleet

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
    assert "it does not answer" in _trouble(machine, 2)
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
    """`on_unavailable = "bounded"`: so much, on this machine; charged when the ledger is back."""
    more = 'on_unavailable = "bounded"\noverdraft_credits = "20"\n'
    with fleet(tmp_path, 1, on=database, more=more) as one:
        (machine,) = one.machines
        token, strange = one.token("300"), one.token("300")
        assert one.call_all(token, 50) == {200: 50}
        database.stop(signal.SIGKILL)
        # The first draw finds that it is away; the lease may last for some calls before that.
        wait_until(lambda: _knows_after_a_call(one, token))
        spent = 50 + one.call_all(token, 400, patience=0)[200]
        assert one.call_all(token, 5, patience=0) == {503: 5}
        assert one.call_all(strange, 5, patience=0) == {503: 5}  # nobody knows what it may spend
        database.start()
        machine.run("status", "--wait", "100")
        calls = [each for each in machine.records() if each["kind"] == "call"]
        charged = sum(each["cost_micro"] for each in calls)
        assert charged >= spent * MICRO
        wait_until(lambda: one.line(token)["spent_micro"] == charged)
        assert one.line(token)["burned_micro"] == 0
        left = 300 - charged // MICRO
        assert one.call_all(token, left + 10) == {200: left, 403: 10}


def _knows_after_a_call(one: Fleet, token: str) -> bool:
    one.call_all(token, 1, patience=0)
    return "the ledger does not answer" in _log(one)


@pytest.fixture
def late(tmp_path: Path, database: Server) -> Iterator[Installation]:
    """A machine whose database has no tables, and whose server is not running."""
    url = database.new_database("late")
    database.stop()
    made = Installation(tmp_path, workers=1)
    made.edit('url = "sqlite:state/ledger.db"', f'url = "{url}"\ndurability = "trusted"')
    yield made
    made.end()


def test_serve_waits_for_a_server_and_for_its_tables(late: Installation, database: Server) -> None:
    """`status` says which of them is missing, and how to mend it; `serve` goes on by itself."""
    late.start()
    log = late.folder / "serve.log"
    wait_until(lambda: "the agent cannot start yet" in log.read_text())
    away = _trouble(late, 2)
    assert "late at" in away
    assert "ledger migrate" not in away
    database.start()
    wait_until(lambda: "`crewgate ledger migrate`" in _trouble(late, 2))
    wait_until(lambda: log.read_text().count("its tables are of version 0") > 1)
    late.run("ledger", "migrate")
    late.run("status", "--wait", "100")
    assert "it keeps ending" not in log.read_text()
    one = Fleet([late], "")
    assert one.call_all(one.token("5"), 6) == {200: 5, 403: 1}


def _trouble(machine: Installation, status: int) -> str:
    """What `status` says of the ledger, with this exit status."""
    done = crewgate("status", "--json", "-c", machine.file)
    assert done.returncode == status, done
    (found,) = [each for each in json.loads(done.stdout)["health"] if each["component"] == "ledger"]
    return f"{found['why']}; {found['mend']}"


def _log(fleet_: Fleet) -> str:
    return (fleet_.machines[0].folder / "serve.log").read_text()
