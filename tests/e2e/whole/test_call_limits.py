"""Limits on calls over a whole gateway: two workers, real clients, a reload and a kill."""

import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from installation import Installation, wait_until

from crewgate import Denial, Reason, Verifier

CALLS, MOST, CONNECTIONS = 60, 20, 6
STREAMS = 3
LIMITS = f"""
[limit.searches]
per = "crew"
tools = ["search.web"]
calls = {MOST}
seconds = 86400

[limit.streams]
per = "run"
tools = ["search.stream"]
concurrent = {STREAMS}
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    """A gateway with limits that no test waits for."""
    installation = Installation(tmp_path)
    installation.file.write_text(installation.file.read_text() + LIMITS)
    try:
        installation.serve()
        yield installation
    finally:
        installation.end()


async def _calls(site: Installation, token: str, count: int) -> list[httpx.Response]:
    """Make calls at once over several connections."""
    found: list[httpx.Response] = []
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(site.client()) for _ in range(CONNECTIONS)]

        async def call(number: int) -> None:
            client = clients[number % CONNECTIONS]
            found.append(await client.post("/search", json={"q": number}, headers=_bearer(token)))

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(call, number)
    return found


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_workers_admit_as_many_calls_as_a_limit_allows(site: Installation) -> None:
    """The other calls cost nothing, and their answers say when to try again.

    A reload that does not change the limit keeps its count, and so does another agent process.
    """
    agent = site.orchestrator().start_run(credits="1000", tools=["search.*"])
    answers = await _calls(site, agent.token(), CALLS)
    while late := sum(each.status_code == 503 for each in answers):  # it waited for credit too long
        answers = [each for each in answers if each.status_code != 503]
        answers += await _calls(site, agent.token(), late)
    refused = [each for each in answers if each.status_code == 429]
    assert len(refused) == CALLS - MOST, answers[0].text
    assert all(each.status_code == 200 for each in answers if each not in refused)
    for each in refused:
        problem, fields = each.json(), each.headers
        assert problem["type"] == "https://crewgate.dev/problems/rate-limited"
        assert (problem["limit"], problem["branch"]) == ("searches", agent.branch)
        assert 0 < int(fields["retry-after"]) <= 86400 / MOST
        assert fields["ratelimit-policy"] == f'"searches";q={MOST};w=86400'
        assert fields["ratelimit"] == f'"searches";r=0;t={fields["retry-after"]}'
    wait_until(lambda: len(_recorded(site)) == CALLS)
    calls = _recorded(site)
    assert sum(each["cost_micro"] for each in calls) == MOST * 10**6
    reasons = [(each.get("reason"), each.get("call_limit")) for each in calls if "reason" in each]
    assert reasons == [("rate-limited", "searches")] * (CALLS - MOST)

    with Verifier.from_config(site.file) as verifier:  # a program counts with the workers
        denial = verifier.decide(agent.token(), "search.web")
        assert isinstance(denial, Denial)
        assert denial.limit is not None
        assert (denial.reason, denial.limit.name) == (Reason.RATE_LIMITED, "searches")

    before = site.generation()
    site.edit("[limit.streams]", '[limit.more]\nper = "machine"\ncalls = 5\n\n[limit.streams]')
    wait_until(lambda: site.generation() > before)
    assert {each.status_code for each in await _calls(site, agent.token(), 10)} == {429}

    (agent_process,) = site.children("agent")
    os.kill(agent_process, signal.SIGKILL)
    wait_until(lambda: site.children("agent") not in ([], [agent_process]))
    site.run("status", "--wait", "100")
    assert {each.status_code for each in await _calls(site, agent.token(), 10)} == {429}


def _recorded(site: Installation) -> list[dict[str, Any]]:
    """The calls of the audit, without those that lacked credit for a moment."""
    calls = [each for each in site.records() if each["kind"] == "call"]
    return [each for each in calls if each.get("reason") != "budget-unavailable"]


async def test_streams_that_run_at_once_are_limited_and_a_killed_worker_leaves_none(
    site: Installation,
) -> None:
    """A stream that ends makes room, and so do those of a worker that dies."""
    orchestrator = site.orchestrator()
    run = orchestrator.start_run(credits="1000", tools=["search.*"])
    child = orchestrator.spawn(role="a", parent=run, tools=["search.*"], credits="100")
    async with AsyncExitStack() as stack:

        async def stream(token: str) -> tuple[httpx.Response, AsyncExitStack]:
            mine = await stack.enter_async_context(AsyncExitStack())
            client = await mine.enter_async_context(site.client())
            opened = client.stream("GET", "/stream?every=0.1", headers=_bearer(token))
            return await mine.enter_async_context(opened), mine

        open_ones = [await stream(token) for token in (run.token(), child.token(), child.token())]
        assert [answer.status_code for answer, _ in open_ones] == [200] * STREAMS
        refused, _ = await stream(run.token())
        assert refused.status_code == 429
        assert refused.headers["ratelimit-policy"] == (
            f'"streams";q={STREAMS};qu="concurrent-requests"'
        )
        assert refused.headers["retry-after"] == "1"
        await open_ones[0][1].aclose()
        again = await _until_open(stream, child.token())
        assert again is not None

        for worker in site.children("gateway"):
            os.kill(worker, signal.SIGKILL)
        site.run("status", "--wait", "100")
        for _ in range(STREAMS):
            assert await _until_open(stream, run.token()) is not None
        refused, _ = await stream(child.token())
        assert refused.status_code == 429


async def _until_open(stream: object, token: str) -> httpx.Response | None:
    """Open a stream, as soon as the gateway knows that another one has ended."""
    for _ in range(200):
        try:
            answer, _ = await stream(token)  # type: ignore[operator]
        except httpx.TransportError:
            continue
        if answer.status_code == 200:
            found: httpx.Response = answer
            return found
        await trio.sleep(0.05)
    return None
