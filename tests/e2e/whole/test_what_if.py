"""Rules that are replayed on the audit of a whole gateway find what its workers found."""

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from installation import Installation, wait_until

RULES = """
[loops]
mode = "observe"

[rule.rate]
kind = "calls-per-minute"
warn = 20
refuse = 30

[rule.spend]
kind = "credits-per-minute"
warn = "25"
"""
ENFORCED = '[loops]\nmode = "enforce"\n'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    """A gateway of two workers that observes, with a tool whose server does as it is asked."""
    installation = Installation(tmp_path)
    text = installation.file.read_text().partition("[loops]")
    (before, _, after) = text
    rest = after.partition('mode = "observe"')[2]
    installation.file.write_text(before + rest + RULES)
    try:
        installation.serve()
        yield installation
    finally:
        installation.end()


class Client:
    """A sub-agent whose calls go to one worker and the other in turn."""

    def __init__(self, clients: list[httpx.AsyncClient], token: str) -> None:
        self.clients, self.number, self.calls = clients, 0, 0
        self.headers = {"authorization": f"Bearer {token}"}

    async def search(self, body: Any, query: str = "") -> int:
        self.number += 1
        client = self.clients[self.number % len(self.clients)]
        path = f"/search?{query}" if query else "/search"
        answer = await client.post(path, json=body, headers=self.headers)
        self.calls += answer.status_code != 503  # the gateway's own, which leaves no record
        return answer.status_code

    async def stream(self) -> None:
        """Call a tool that the token does not allow."""
        answer = await self.clients[0].get("/stream", headers=self.headers)
        assert answer.status_code == 403
        self.calls += 1


async def _run_in_circles(client: Client) -> None:
    for _ in range(22):
        await client.search({"q": "otters"}, "status=200")
    for _ in range(12):
        await client.search({"q": "nothing"}, "status=404")
    for number in range(12):
        await client.search({"q": "nothing"}, "status=404")
        await client.search({"q": number})
    for _ in range(12):
        await client.search({"q": "left"})
        await client.search({"q": "right"})
    for _ in range(6):  # sooner than the server wants
        await client.search({"job": 7}, "status=202&retry=5")
    for _ in range(21):
        await client.stream()


def _minutes() -> tuple[int, int]:
    """The minute of the gateway's clock, and that of the wall clock."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) / 60), int(time.time() / 60)


def _steps(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("request", "branch", "rule", "step", "mode", "count", "limit", "tool", "caller")
    return sorted(tuple(row[name] for name in names) for row in rows)


async def test_a_replay_of_the_audit_finds_what_the_workers_found(site: Installation) -> None:
    """The same steps at the same calls; in force, the rules would have ended the branch."""
    run = site.orchestrator().start_run(credits="1000", tools=["search.web"])
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(site.client()) for _ in range(4)]
        child = run.spawn(role="researcher", tools=["search.web"], credits="400")
        client = Client(clients, child.token())
        await _run_in_circles(client)
        calls = client.calls
        while True:  # until no minute ends meanwhile
            began = _minutes()
            child = run.spawn(role="writer", tools=["search.web"], credits="100")
            client = Client(clients, child.token())
            for number in range(35):
                await client.search({"page": number})
            calls += client.calls
            if _minutes() == began:
                break
    wait_until(lambda: sum(each["kind"] == "call" for each in site.records()) >= calls)
    rules = site.folder / "rules.toml"
    rules.write_text(RULES)
    recorded = site.ask("audit", "--rules", "--limit", "1000")["rules"]
    replayed = site.ask("audit", "what-if", str(rules))["steps"]
    timely = {"rate", "spend"}

    def equal(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return _steps([row for row in rows if row["rule"] not in timely])

    def rates(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        own = [row for row in rows if row["rule"] in timely]
        return _steps([row for row in own if row["branch"] == child.branch])

    assert equal(replayed) == equal(recorded)
    assert {row["rule"] for row in recorded} >= {
        "same-answer", "same-failure", "same-call", "alternation", "refused-calls",
    }  # fmt: skip
    assert rates(replayed) == rates(recorded)
    assert {(row[2], row[3]) for row in rates(recorded)} == {
        ("rate", "warn"), ("rate", "refuse"), ("spend", "warn"),
    }  # fmt: skip

    rules.write_text(ENFORCED)
    found = site.ask("audit", "what-if", str(rules))
    ended = [each for each in found["steps"] if each["step"] == "end"]
    assert ended
    assert found["saved_micro"] == 10**6 * found["saved_calls"] > 0
