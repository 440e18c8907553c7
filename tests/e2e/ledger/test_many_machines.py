"""Four machines on one PostgreSQL: budgets hold to the last credit, whoever is killed."""

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import mcp_messages
import pytest
from installation import wait_until
from search_depth import deep
from shared_ledger_gateways import Fleet, fleet

from crewgate.core.credits import MICRO

RUNS = deep(1)
CREDITS = 500
CALLS = 1000
MCP_CALLS = deep(200, most=CALLS)
ATTEMPTS = 3
ENDPOINT = """
[mcp.endpoint]
path = "/mcp"
rewrite = "/search"
upstream = "tools"
price = "1"

[mcp.endpoint.tool.page]
price = "1"
"""


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Each with an agent, a worker and a state folder of its own."""
    with fleet(tmp_path_factory.mktemp("fleet"), 4, endpoint=ENDPOINT) as found:
        yield found


def test_exactly_what_there_is_is_admitted(four: Fleet) -> None:
    """No overspend and no false denial: of 1,000 calls at once 500 are answered and 500 refused."""
    for _ in range(RUNS):
        token = four.token(str(CREDITS))
        assert four.call_all(token, CALLS // 4) == {200: CREDITS, 403: CALLS - CREDITS}


_numbers = itertools.count(1)


async def call_mcp(client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    """Call a tool in one of both revisions, again and again if it is refused; its last status."""
    number = next(_numbers)
    written = mcp_messages.modern if number % 2 else mcp_messages.legacy
    for attempt in range(ATTEMPTS):
        name = "page" if number % 3 else "other"  # with a price of its own, or the endpoint's
        message = written("tools/call", f"{number}-{attempt}", name=name, arguments={})
        fields = headers | (mcp_messages.headers(message) if number % 2 else {})
        body = mcp_messages.encoded(message)
        response = await client.post("/mcp", headers=fields, content=body, timeout=None)
        assert response.status_code == 200, response.text
        result = response.json().get("result")
        if result is None:  # the tool's own answer, which is no JSON-RPC
            return 200
        assert result["isError"]
        status = int(result["_meta"]["dev.crewgate/problem"]["status"])
    return status


def test_calls_of_mcp_tools_get_exactly_what_there_is(four: Fleet) -> None:
    """The credits pay half of the calls, in both revisions, also if clients repeat calls."""
    credits_ = MCP_CALLS // 2
    token = four.token(str(credits_), "endpoint.*")
    found = four.call_all(token, MCP_CALLS // 4, patience=1000, call=call_mcp)
    assert found == {200: credits_, 403: MCP_CALLS - credits_}
    wait_until(lambda: four.line(token)["spent_micro"] == credits_ * MICRO)
    line = four.line(token)
    assert (line["left_micro"], line["burned_micro"]) == (0, 0)


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
