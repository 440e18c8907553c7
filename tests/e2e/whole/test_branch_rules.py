"""A rule on branches over a whole gateway: processes are killed, and it counts on."""

import os
import signal
from pathlib import Path

import httpx
from installation import Installation, installed, process_state, wait_until

OBSERVED, ENFORCED = ('mode = "observe"', 'mode = "enforce"')
REFUSED, ENDED = 10, 20


async def _call(site: Installation, token: str, query: str = "otters") -> httpx.Response:
    """Make a call on a connection of its own, until a process can decide about it.

    A worker counts a call after its answer has gone, and calls that overlap count once. A worker
    that sleeps has counted all that it answered.
    """
    while True:
        async with site.client() as client:
            try:
                headers = {"authorization": f"Bearer {token}"}
                found = await client.post("/search", json={"q": query}, headers=headers)
            except httpx.TransportError:
                continue
        if found.status_code != 503:
            wait_until(lambda: {*map(process_state, site.children("gateway"))} == {"S"})
            return found


def _replace(site: Installation, kind: str) -> None:
    """Kill all processes of a kind, and wait for those that replace them."""
    before = site.children(kind)
    for each in before:
        os.kill(each, signal.SIGKILL)
    wait_until(lambda: len({*site.children(kind)} - {*before}) == len(before) > 0)
    site.run("status", "--wait", "100")


async def test_killed_processes_lose_no_count_and_the_end_reaches_the_run(tmp_path: Path) -> None:
    with installed(tmp_path) as site:
        before = site.generation()
        site.edit(OBSERVED, ENFORCED)
        wait_until(lambda: site.generation() > before)
        orchestrator = site.orchestrator()
        run = orchestrator.start_run(credits="1000", tools=["search.*"])
        child = orchestrator.spawn(role="a", parent=run, tools=["search.*"], credits="100")
        statuses = []
        for number in range(REFUSED - 1):
            if number in {3, 6}:
                _replace(site, "gateway" if number == 3 else "agent")
            statuses.append((await _call(site, child.token())).status_code)
        assert statuses == [200] * (REFUSED - 1)
        for count in range(REFUSED, ENDED + 1):
            problem = (await _call(site, child.token())).json()
            assert (problem["rule"], problem["count"]) == ("same-call", count)
        wait_until(lambda: "same-call" in site.run("revocations"))
        answer = await _call(site, child.token())
        assert answer.json()["type"].rpartition("/")[2] == "branch-revoked"
        problem = (await _call(site, run.token())).json()
        assert (problem["rule"], problem["count"]) == ("same-call", REFUSED)  # of all its branches
        for query in ("beavers", "otters"):
            assert (await _call(site, run.token(), query)).status_code == 200
    audit = site.ask("audit", "verify")
    assert (audit["findings"], audit["unsigned"]) == ([], [])  # whatever was killed
