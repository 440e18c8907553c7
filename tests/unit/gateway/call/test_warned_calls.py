"""A call of which a rule on branches warns: it goes on as all others, with one field more."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from gated_gateway import GatedGateway, gated_gateway

from crewgate.core.rules.builtin import builtin_rules
from crewgate.core.rules.rule import LoopRules, RuleMode

ALLOWED = ("search.*", "summary.*")
BODY = b'{"page":"the same"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n"
RULES = LoopRules(builtin_rules(RuleMode.OBSERVE, warn=2, refuse=3, end=4))


@pytest.fixture(params=[False, True], ids=["ordinary", "straight"])
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[GatedGateway]:
    straight = request.param
    made = gated_gateway(
        tmp_path, lambda config: config, ALLOWED, http2=True, straight=straight, loops=RULES
    )
    async with made as running:
        running.stays = True
        running.draw(running.token(ALLOWED).encode())
        running.answer = (HEAD % (len(BODY), b"") + BODY,)
        yield running
        assert (running.world.gateway.straight.done > 0) == straight


async def _get(site: GatedGateway, token: str) -> httpx.Response:
    return await site.client.get("/summary", headers={"authorization": f"Bearer {token}"})


async def test_the_field_says_what_a_rule_has_counted(site: GatedGateway) -> None:
    token = site.token(ALLOWED)
    answers = [await _get(site, token) for _ in range(5)]
    assert [each.content for each in answers] == [BODY] * 5
    assert [each.headers.get("x-crewgate-loop", "") for each in answers] == [
        "",
        '"same-answer";step=warn;count=2;limit=2',
        '"same-call";step=refuse;count=3;limit=3;observe',
        '"same-call";step=end;count=4;limit=4;observe',
        '"same-call";step=end;count=5;limit=4;observe',
    ]
    others = [set(each.headers) - {"x-crewgate-loop"} for each in answers]
    assert all(each == others[0] for each in others)


async def test_the_audit_says_what_the_rule_would_have_done(site: GatedGateway) -> None:
    token = site.token(ALLOWED)
    for _ in range(4):
        await _get(site, token)
    await site.world.settled()
    records = [each for each in site.world.sink.records if hasattr(each, "would")]
    assert [each.would for each in records] == ["", "", "loop-detected", "loop-detected"]
    assert len({(each.cost_micro, each.call_digest, each.answer_digest) for each in records}) == 1
    assert records[0].cost_micro > 0


async def test_compiled_code_carries_a_warned_call(site: GatedGateway) -> None:
    """So a rule that only observes makes no call dearer."""
    token, calls = site.token(ALLOWED), site.world.gateway.straight
    await _get(site, token)
    before = calls.done
    for _ in range(4):
        assert "x-crewgate-loop" in (await _get(site, token)).headers
    assert (calls.done - before, calls.given_up) == (4 * (before > 0), 0)


async def test_an_answer_that_python_passes_on_has_the_field_too(site: GatedGateway) -> None:
    """Such as one that asks to call again at a date."""
    token = site.token(ALLOWED)
    await _get(site, token)
    date = b"Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n"
    site.answer = (HEAD % (len(BODY), date) + BODY,)
    answer = await _get(site, token)
    assert answer.headers["x-crewgate-loop"] == '"same-answer";step=warn;count=2;limit=2'
