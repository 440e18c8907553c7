"""What a hostile tool or client makes of a price: others go on, and nothing is had for less."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from installation import wait_until
from priced_gateway import Priced, priced
from shared_ledger_gateways import branch_of

from crewgate import limits
from crewgate.core.credits import MICRO

STREAM = {"model": "m-1", "max_tokens": 3000, "stream": True, "messages": []}


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Priced]:
    with priced(tmp_path_factory.mktemp("hostile")) as found:
        yield found


def last(tools: Priced, token: str, calls: int = 1) -> dict[str, Any]:
    """The record of a token's last call."""
    wait_until(lambda: len(tools.calls(token)) == calls)
    return tools.calls(token)[-1]


@pytest.mark.parametrize("cost", ["9007199254740991", "9007199260", "9007199254.5", "2"])
def test_no_number_harms_a_worker(tools: Priced, cost: str) -> None:
    """However much an answer states: the branch ends, all others go on, nothing burns."""
    before = tools.children("gateway")
    token, sibling = tools.mint("3"), tools.mint("3")
    tools.post(token, "/told/header", {"headers": {"x-cost": cost}})
    assert last(tools, token)["overrun_micro"] <= limits.quota_micro_max
    wait_until(lambda: tools.post(token, "/told/header", {}).status_code == 401)
    assert tools.post(sibling, "/told/header", {"headers": {"x-cost": "0"}}).status_code == 200
    assert tools.children("gateway") == before
    assert all(row["burned_micro"] == 0 for row in tools.report())


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({**STREAM, "model": "m-plain"}, "/steps/chat/completions"),
        ({**STREAM, "model": "m-plain-silent"}, "/steps/chat/completions"),
        ({**STREAM, "model": "m-plain-slow"}, "/steps/chat/completions"),  # its head comes before
    ],
)
def test_an_answer_that_cannot_be_read_as_it_comes_is_paid_for_first(
    tools: Priced, body: Any, path: str
) -> None:
    """A step buys no whole answer because its server does not stream: all of it is reserved."""
    token = tools.mint("1")
    answer = tools.post(token, path, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "credits-exhausted")
    assert last(tools, token)["outcome"] == "exhausted"
    rich = tools.mint("9")
    tools.post(rich, path, body)
    assert last(tools, rich)["cost_micro"] >= 3 * MICRO


def test_who_may_not_use_a_tool_takes_no_room_in_it(tools: Priced) -> None:
    """Its body is not read: the answer comes at once."""
    token = tools.run(
        "mint", "--crew", "article", "--role", "r", "--credits", "1", "--tools", "search.*"
    ).strip()
    began = time.monotonic()
    answer = tools.post(token, "/v1/chat/completions", b" " * 8_000_000)
    assert answer.status_code == 403
    assert time.monotonic() - began < 20
    assert (
        tools.post("nonsense", "/v1/chat/completions", b'{"stream_options":"x"}').status_code == 401
    )


def test_a_document_of_a_million_members_is_not_looked_into(tools: Priced) -> None:
    """Whoever sends it is told so."""
    body = b"{%b}" % b",".join(b'"%d":0' % number for number in range(500_000))
    token = tools.mint("1")
    answer = tools.post(token, "/v1/chat/completions", body)
    assert (answer.status_code, "values in one object" in answer.text) == (422, True)
    assert answer.json()["branch"] == branch_of(token)
    huge = tools.post(token, "/v1/chat/completions", b" " * 9_000_000)
    assert (huge.status_code, huge.json()["error"]["code"]) == (413, "body-too-large")
    assert huge.json()["branch"] == branch_of(token)


def test_an_agent_that_is_stopped_does_not_spend_the_credits(tools: Priced) -> None:
    """A stream waits for it, and says in the end that nobody could tell."""
    token = tools.mint("9")
    (agent,) = tools.children("agent")
    pieces: list[bytes] = []
    with tools.stream(token, "/steps/chat/completions", {**STREAM, "model": "m-slow"}) as answer:
        rest = answer.iter_raw()
        pieces.append(next(rest))
        os.kill(agent, signal.SIGSTOP)
        try:
            pieces.extend(rest)
        except httpx.HTTPError:
            pass
        finally:
            os.kill(agent, signal.SIGCONT)
    assert b"budget-unavailable" in b"".join(pieces)
    assert last(tools, token)["outcome"] == "unfunded"


def test_an_agent_that_is_killed_cuts_no_stream(tools: Priced) -> None:
    """The next one has credit for it in time, and all that it asks for comes."""
    token = tools.mint("9")
    (agent,) = tools.children("agent")
    body = {**STREAM, "model": "m-slow", "max_tokens": 300}
    with tools.stream(token, "/steps/chat/completions", body) as answer:
        rest = answer.iter_raw()
        came = b"".join(next(rest) for _ in range(20))
        os.kill(agent, signal.SIGKILL)
        came += b"".join(rest)
    assert came.count(b"word") == 300
    assert last(tools, token)["outcome"] == "done"


def test_an_overrun_outlives_the_agent(tools: Priced) -> None:
    """One that was told to an agent that never read it ends the branch when the next one comes."""
    token = tools.mint("3")
    (agent,) = tools.children("agent")
    told = {"chunks": ["a", "b"], "trailers": {"x-units": "4000"}, "pause": 0.5}
    with tools.stream(token, "/told/trailer", told) as answer:
        rest = answer.iter_raw()
        next(rest)
        os.kill(agent, signal.SIGSTOP)
        b"".join(rest)
    overrun = last(tools, token)["overrun_micro"]
    assert overrun == MICRO
    os.kill(agent, signal.SIGKILL)
    wait_until(lambda: tools.post(token, "/told/header", {}).status_code == 401)
    branch = branch_of(token)
    wait_until(
        lambda: (branch, overrun) in [(r["branch"], r["overrun_micro"]) for r in tools.report()]
    )
    ends = [each for each in tools.records() if each["kind"] == "revocation"]
    assert [each["by"] for each in ends if each["id"] == branch] == ["overrun"]


def test_an_overrun_is_charged_as_long_as_the_branch_can_pay(tools: Priced) -> None:
    """Where the price says so; what it cannot pay ends it, and `tree` says why."""
    token = tools.mint("5")
    stated = {"headers": {"x-cost": "1.5"}}
    assert tools.post(token, "/told/charged", stated).status_code == 200
    assert (last(tools, token)["cost_micro"], "overrun_micro" in last(tools, token)) == (
        1_500_000,
        False,
    )
    wait_until(lambda: tools.spent(token) == 1_500_000)
    assert tools.post(token, "/told/charged", {"headers": {"x-cost": "4"}}).status_code == 200
    call = last(tools, token, 2)
    assert (call["cost_micro"], call["overrun_micro"]) == (3_500_000, 500_000)
    wait_until(lambda: tools.post(token, "/told/charged", stated).status_code == 401)
    (row,) = [r for r in tools.ask("tree")["branches"] if r["branch"] == branch_of(token)]
    assert (row["state"], row["overrun_micro"], row["left_micro"]) == ("revoked", 500_000, 0)


def test_observing_cuts_nothing_and_ends_nobody(tmp_path: Path) -> None:
    """Neither at the last credit nor for what an answer states; and what has no price goes on."""
    premises = Priced(tmp_path)
    try:
        text = premises.file.read_text().replace('mode = "enforce"', 'mode = "observe"')
        premises.file.write_text(text)
        premises.serve()
        token = premises.mint("0.03")
        answer = premises.post(token, "/steps/chat/completions", {**STREAM, "max_tokens": 300})
        assert answer.text.count("word") == 300
        assert premises.post(token, "/v1/chat/completions", {"model": "x"}).status_code == 200
        rich = premises.mint("3")
        premises.post(rich, "/told/header", {"headers": {"x-cost": "5"}})
        assert last(premises, rich)["overrun_micro"] > 0
        assert premises.post(rich, "/told/header", {}).status_code == 200
    finally:
        premises.end()


def test_an_event_that_is_kept_back_leaves_a_whole_answer(tools: Priced) -> None:
    """Also where the tool's server has said how long it is."""
    token = tools.mint("1")
    usage = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    events = f'data: {{"choices": [{{}}]}}\n\ndata: {json.dumps(usage)}\n\ndata: [DONE]\n\n'
    body = {**STREAM, "told": {"headers": {"content-type": "text/event-stream"}, "text": events}}
    answer = tools.post(token, "/v1/chat/completions", body)
    assert (answer.text.count("data:"), "usage" in answer.text) == (2, False)
