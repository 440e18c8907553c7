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
    machine.run("status", "--wait", "30")
    left = 300 - 50 - refused[200]
    assert one.call_all(token, left + 10) == {200: left, 403: 10}
    wait_until(lambda: one.line(token)["spent_micro"] == 300 * MICRO)
    assert one.line(token)["burned_micro"] == 0
    assert "the ledger answers again" in _log(one)


def _log(fleet_: Fleet) -> str:
    return (fleet_.machines[0].folder / "serve.log").read_text()
