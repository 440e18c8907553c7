"""Limits on calls at the gateway: each call counts once, also if it is judged more than once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio.testing
from crew_world import CREW
from gated_gateway import GatedGateway, gated_gateway
from limit_worlds import places, rate
from mcp_messages import encoded, headers, modern
from msgspec import structs

from crewgate.core.policy.call_limits import CallLimit

ALLOWED = ("files.*", "priced.*", "search.*", "summary.*")
TEXT = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
RESULT = encoded(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {"resultType": "complete", "content": [], "tools": [], "ttlMs": 0},
    }
)
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(params=[False, True], ids=["ordinary", "straight"])
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[GatedGateway]:
    made = gated_gateway(
        tmp_path, lambda config: config, ALLOWED, http2=True, straight=request.param
    )
    async with made as running:
        running.stays = True
        running.answer = (TEXT,)
        yield running


def _limit(site: GatedGateway, *found: CallLimit) -> None:
    """Put limits in force."""
    policy = structs.replace(site.house.world.policy, limits=found, generation=2)
    site.house.load(policy)


async def _get(site: GatedGateway, token: str) -> int:
    answer = await site.client.get("/summary", headers={"authorization": f"Bearer {token}"})
    return answer.status_code


async def _in_pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body whose head the gateway judges before the rest arrives."""
    yield body[:10]
    await trio.testing.wait_all_tasks_blocked()
    yield body[10:]


async def _use(site: GatedGateway, token: str, method: str, **params: Any) -> dict[str, Any]:
    """Send an MCP message; return what the model or its client gets."""
    site.answer = (JSON % len(RESULT) + RESULT,)
    message = modern(method, **params)
    bearer = {"authorization": f"Bearer {token}"}
    answer = await site.client.post(
        "/mcp/files", content=_in_pieces(encoded(message)), headers=headers(message) | bearer
    )
    found: dict[str, Any] = answer.json()
    return found


async def test_a_call_counts_once(site: GatedGateway) -> None:
    """Also the first one, which is judged again when its credit has come."""
    _limit(site, rate(burst=3, crew=CREW), places(1))
    token = site.token(ALLOWED)
    assert [await _get(site, token) for _ in range(5)] == [200, 200, 200, 429, 429]
    assert len(site.asked) == 3


async def test_a_limit_that_observes_marks_the_calls_beyond_it(site: GatedGateway) -> None:
    """They reach the tool, and are charged."""
    _limit(site, rate(burst=2, observe=True))
    token = site.token(ALLOWED)
    assert [await _get(site, token) for _ in range(4)] == [200] * 4
    await site.world.settled()
    records = site.world.sink.records
    assert [each.would for each in records] == ["", "", "rate-limited", "rate-limited"]
    assert len({each.cost_micro for each in records}) == 1


async def test_a_refusal_names_its_limit_in_the_audit(site: GatedGateway) -> None:
    """And has cost nothing."""
    _limit(site, rate("slow", burst=1))
    token = site.token(ALLOWED)
    assert [await _get(site, token) for _ in range(2)] == [200, 429]
    await site.world.settled()
    record = site.world.sink.records[-1]
    assert (record.reason, record.call_limit, record.cost_micro) == ("rate-limited", "slow", 0)
    metrics = site.world.exposition.read()[0].decode()
    assert 'crewgate_call_limit_refusals_total{limit="slow"} 1' in metrics


async def test_a_tool_of_a_server_of_mcp_has_its_limit(site: GatedGateway) -> None:
    """The model reads when to call again; other tools and other messages do not count."""
    _limit(site, rate("slow", per="tool", burst=1, tools=("files.read",)))
    token = site.token(ALLOWED)
    for _ in range(2):
        assert "result" in await _use(site, token, "tools/call", name="stat", arguments={})
        assert "result" in await _use(site, token, "tools/list")
    first = await _use(site, token, "tools/call", name="read", arguments={})
    assert first["result"].get("isError") is None
    second = await _use(site, token, "tools/call", name="read", arguments={})
    assert second["result"]["isError"]
    text = second["result"]["content"][0]["text"]
    assert text == (
        "Too many calls in this time. The limit slow lets each tool make 1 call in 1 second. "
        "Nothing was charged. Retry in 1 second, and call less often."
    )


async def test_a_limit_does_not_refuse_a_call_before_its_body_is_known(
    site: GatedGateway,
) -> None:
    """The gate is asked about the endpoint first, and that does not count."""
    _limit(site, rate("slow", burst=1, tools=("files",)))
    token = site.token(ALLOWED)
    assert "result" in await _use(site, token, "tools/list")
    assert "error" in await _use(site, token, "tools/list")
    for _ in range(3):
        used = await _use(site, token, "tools/call", name="read", arguments={})
        assert used["result"].get("isError") is None
