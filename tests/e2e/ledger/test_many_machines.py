"""Four machines on one PostgreSQL: budgets hold to the last credit, whoever is killed."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from installation import wait_until
from search_depth import deep
from shared_ledger_gateways import Fleet, fleet

from crewgate.core.credits import MICRO

RUNS = deep(1)
CREDITS = 500
CALLS = 1000


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Each with an agent, a worker and a state folder of its own."""
    with fleet(tmp_path_factory.mktemp("fleet"), 4) as found:
        yield found


def test_exactly_what_there_is_is_admitted(four: Fleet) -> None:
    """No overspend and no false denial: of 1,000 calls at once 500 are answered and 500 refused."""
    for _ in range(RUNS):
        token = four.token(str(CREDITS))
        assert four.call_all(token, CALLS // 4) == {200: CREDITS, 403: CALLS - CREDITS}


# httpx leaves what it was sending when its server died.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_machine_that_is_killed_burns_its_lease_and_no_more(four: Fleet) -> None:
    """SIGKILL in the middle, and its table is lost: never more than 500, the rest is shown.

    What was in flight there may have been answered or not; nobody counts it twice.
    """
    token = four.token(str(CREDITS))
    killed, found = four.machines[-1], [Counter[int]()]
    calls = threading.Thread(target=lambda: found.append(four.call_all(token, CALLS // 4, 60)))
    calls.start()
    wait_until(lambda: four.charged(token) > CREDITS // 8 * MICRO)
    assert killed.serving is not None
    os.kill(killed.serving.pid, signal.SIGKILL)
    killed.serving.wait()
    time.sleep(0.5)  # its children go with it
    for path in killed.folder.glob("state/table*"):
        path.unlink()
    killed.serve()
    more = four.call_all(token, 1)
    calls.join()
    # Each machine tells once a second what became of its leases.
    wait_until(lambda: not four.line(token)["leased_micro"] + four.line(token)["reserved_micro"])
    statuses, line = found[-1] + more, four.line(token)
    print(f"{dict(statuses)}, spent {line['spent_micro']}, burned {line['burned_micro']}")
    assert 0 <= line["left_micro"] < MICRO
    assert line["spent_micro"] + line["burned_micro"] + line["left_micro"] == CREDITS * MICRO
    # What it had answered and not told yet counts as burned.
    assert statuses[200] * MICRO <= line["spent_micro"] + line["burned_micro"]
