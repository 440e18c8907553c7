"""Rules on branches, as clients meet them: warnings, refusals, and work that is no loop."""

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import trio
from crew_world import ROOT
from gated_gateway import GatedGateway, gated_gateway
from hpack import Encoder
from http2_frames import ACKNOWLEDGED, Frames, head
from hyperframe.frame import DataFrame
from mcp_messages import encoded, headers, modern

from crewgate.core.audit.records import CallRecord, request_text
from crewgate.core.rules.builtin import builtin_rules
from crewgate.core.rules.rule import LoopRules, RuleMode, RuleStep, StepFinding
from crewgate.core.tokens.grant import Grant

RULES = builtin_rules(RuleMode.ENFORCE, warn=4, refuse=10, end=20)
DEFAULTS = LoopRules(RULES)
WAYS = pytest.mark.parametrize("straight", [True, False], ids=["straight", "ordinary"])


def _plain(tools: Any) -> Any:
    """The tools of the world, all with a fixed price."""
    return tools


def answer(body: bytes = b"{}", status: str = "200 OK", *fields: bytes) -> tuple[bytes, ...]:
    lines = [b"HTTP/1.1 %b" % status.encode(), b"Content-Length: %d" % len(body), *fields]
    return (b"\r\n".join([*lines, b"", body]),)


class Client:
    """A sub-agent's client, and the steps that the gate has noted about it."""

    def __init__(self, site: GatedGateway) -> None:
        self.site = site
        self.steps: list[StepFinding] = []
        self.requests: set[str] = set()
        self.path = [{"id": ROOT, "credit_quota": 10**9, "iat": site.house.world.now}]
        allowed = ["search.*", "summary.*"]
        self.token = site.token(allowed, credit_quota=10**9, branch_path=self.path)
        site.house.gate = type(site.house.gate)(
            site.house.table, site.house.attachment, note_step=self._note
        )
        site.house.gate.load(site.house.world.policy)
        site.house.at(0)
        site.world.judge.gate = site.house.gate  # type: ignore[attr-defined]
        # A call that needs a draw is not straight.
        permit = site.house.permit(self.token.encode())
        site.house.draw(permit.grant, 10**8)
        permit.release()

    def _note(self, _g: Grant, found: StepFinding, request: bytes, _t: str, is_new: bool) -> None:
        self.requests.add(request_text(request))
        if is_new:
            self.steps.append(found)

    async def search(self, body: object, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        text = body if isinstance(body, str) else json.dumps(body)
        return await self.site.client.post("/search", content=text, headers=headers, **more)

    async def summary(self, query: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}"}
        return await self.site.client.get(f"/summary?{query}", headers=headers)

    def wait(self, seconds: float) -> None:
        """Let time pass for the gate."""
        self.site.house.boot_ns += round(seconds * 1e9)
        self.site.house.at(0)

    @property
    def calls(self) -> list[CallRecord]:
        return [each for each in self.site.world.sink.records if isinstance(each, CallRecord)]


async def _late(text: bytes) -> AsyncIterator[bytes]:
    """A body that a client sends after the head."""
    yield text


@asynccontextmanager
async def serving(
    folder: Path, *, straight: bool, loops: LoopRules = DEFAULTS
) -> AsyncIterator[Client]:
    async with gated_gateway(
        folder, _plain, ("*",), straight=straight, http2=True, loops=loops
    ) as site:
        site.stays = True
        site.answer = answer()
        yield Client(site)


@WAYS
async def test_a_loop_is_warned_of_refused_and_ended(straight: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, straight=straight) as client:
        found = [await client.summary("q=otters") for _ in range(20)]
        assert [each.status_code for each in found] == [200] * 9 + [403] * 11
        warned = [each.headers.get("x-crewgate-loop") for each in found[:9]]
        assert warned[:3] == [None] * 3
        assert warned[3] == '"same-answer";step=warn;count=4;limit=4'
        problem = found[9].json()
        assert (problem["type"].rpartition("/")[2], problem["rule"], problem["count"]) == (
            "loop-detected", "same-call", 10,
        )  # fmt: skip
        assert "Do not repeat the call" in problem["detail"]
        own = [(each.step, each.count) for each in client.steps if each.level == 0]
        assert own == [(RuleStep.WARN, 4), (RuleStep.REFUSE, 10), (RuleStep.END, 20)]
        await client.site.world.settled()
        assert len({each.call_digest for each in client.calls}) == 1
        assert client.requests <= {each.request for each in client.calls}
        assert {each.answer_digest for each in client.calls if each.verdict == "permit"} != {""}
        assert len(client.site.asked) == 9
        straight_calls = client.site.world.gateway.straight
        assert bool(straight_calls.done) == straight


async def test_members_in_another_order_make_no_other_call(tmp_path: Path) -> None:
    """Nor do blanks and escapes; a nonce does, unless it is a volatile member."""
    loops = LoopRules(RULES, volatile_members=("at",))
    async with serving(tmp_path, straight=True, loops=loops) as client:
        same = [
            '{"q":"otters","page":{"n":1,"of":[1,2]}}',
            '{ "page": {"of": [1, 2], "n": 1}, "q": "otters" }',
            '{"page":{"n":1,"of":[1,2]},"q":"\\u006ftters"}',
            '{"page":{"n":1,"of":[1,2]},"q":"otters","at":17}',
        ]
        other = ['{"q":"otters","page":{"n":1,"of":[2,1]}}', '{"q":"otters","nonce":7}']
        for body in (*same, *other):
            assert (await client.search(body)).status_code == 200
        await client.site.world.settled()
        digests = [each.call_digest for each in client.calls]
        assert len(set(digests[: len(same)])) == 1
        assert len(set(digests)) == 1 + len(other)


async def test_compiled_code_gives_a_call_the_same_digest(tmp_path: Path) -> None:
    """Its client sends the head and the body at once, so the call is straight."""
    async with serving(tmp_path, straight=True) as client:
        await client.search({"q": "otters"})  # which draws
        stream = await client.site.world.edge.connect("h2")
        body = b'{"q": "otters"}'
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":path", b"/search"),
            (b":authority", b"gateway.example"),
            (b"authorization", b"Bearer " + client.token.encode()),
        ]
        wire = ACKNOWLEDGED + head(1, fields, encoder=Encoder())
        await stream.send_all(wire + DataFrame(1, body, flags=["END_STREAM"]).serialize())
        frames = Frames(stream)
        while "END_STREAM" not in (await frames.next()).flags:
            pass
        await trio.aclose_forcefully(stream)
        await client.site.world.settled()
        assert client.site.world.gateway.straight.done == 1
        ordinary, straight = client.calls
        assert straight.call_digest == ordinary.call_digest != ""
        assert straight.answer_digest == ordinary.answer_digest


class Work(NamedTuple):
    """What an agent does: a body, what its tool answers, and how long it waits then."""

    body: object
    answer: tuple[bytes, ...] = answer()
    pause: float = 1.0


def pages() -> Iterator[Work]:
    for number in range(500):
        yield Work({"q": "otters", "page": number}, answer(b'{"items":[1,2,3]}'))


def polling() -> Iterator[Work]:
    """A job that takes ten minutes, asked about every five seconds as its server wants."""
    for _ in range(120):
        yield Work({"job": 7}, answer(b'{"state":"runs"}', "202 Accepted", b"Retry-After: 5"), 5.0)


def retries() -> Iterator[Work]:
    """A client with a backoff of at most 30 seconds, whose server is away for ten minutes."""
    for number in range(25):
        yield Work({"q": "otters"}, answer(b"away", "503 Away"), min(30.0, 0.5 * 2**number))
    yield Work({"q": "otters"})


def mapping() -> Iterator[Work]:
    """The same work on a thousand inputs, whose answers are all equal."""
    for number in range(1000):
        yield Work({"op": "insert", "row": number}, answer(b'{"ok":true}'), 0.0)


def chat() -> Iterator[Work]:
    messages: list[str] = []
    for turn in range(200):
        messages.append(f"turn {turn}")
        yield Work({"model": "m", "messages": list(messages)}, answer(b'{"text":"ok"}'), 3.0)


def fixing() -> Iterator[Work]:
    """Edit, lint, test, again and again; the tests fail with the same words for a long time."""
    for number in range(60):
        yield Work({"tool": "edit", "file": "a.py", "text": f"attempt {number}"})
        yield Work({"tool": "lint"}, answer(b'{"ok":true}'))
        yield Work({"tool": "test"}, answer(b'{"failed":3}', "422 Failed"), 20.0)


@pytest.mark.parametrize("work", [pages, polling, retries, mapping, chat, fixing])
async def test_work_is_no_loop(work: Callable[[], Iterator[Work]], tmp_path: Path) -> None:
    """With the built-in rules in force, nothing of it is refused or ended."""
    async with serving(tmp_path, straight=True) as client:
        for each in work():
            client.site.answer = each.answer
            response = await client.search(each.body)
            assert response.status_code != 403, response.text
            client.wait(each.pause)
        assert {each.step for each in client.steps} <= {RuleStep.WARN}


async def test_a_body_that_comes_late_is_compared_too(tmp_path: Path) -> None:
    """Many clients of HTTP/1.1 send the head and the body in two writes."""
    async with gated_gateway(tmp_path, _plain, ("*",), loops=DEFAULTS) as site:
        site.answer = answer()
        client = Client(site)
        body = b'{"q":"otters"}'
        headers = {
            "authorization": f"Bearer {client.token}",
            "content-type": "application/json",
            "content-length": str(len(body)),
        }
        statuses = [
            (await site.client.post("/search", content=_late(body), headers=headers)).status_code
            for _ in range(10)
        ]
        assert statuses == [200] * 9 + [403]


async def test_a_tool_that_cannot_answer_is_not_called_in_a_loop(tmp_path: Path) -> None:
    """A client may try again after 502, whether the tool or the gateway said so."""
    loops = LoopRules(RULES, exempt_tools=("summary.*",))
    async with serving(tmp_path, straight=True, loops=loops) as client:
        for _ in range(25):
            client.site.drops = 1
            assert (await client.search({"q": "otters"})).status_code == 502
            assert (await client.summary("q=otters")).status_code == 200  # the server is healthy
            client.wait(1.0)
        assert {(each.rule.name, each.step) for each in client.steps} == {
            ("same-failure", RuleStep.WARN)
        }


async def test_a_client_that_waits_until_a_date_may_poll(tmp_path: Path) -> None:
    async with serving(tmp_path, straight=True) as client:
        for _ in range(30):
            until = math.floor(time.time()) + 60
            field = f"Retry-After: {formatdate(until, usegmt=True)}".encode()
            client.site.answer = answer(b'{"state":"runs"}', "202 Accepted", field)
            asked = time.time()
            assert (await client.search({"job": 7})).status_code == 202
            client.wait(until - asked)
        assert client.steps == []


async def test_an_answer_that_comes_in_parts_is_compared_too(tmp_path: Path) -> None:
    """Many servers write the head and the body one after the other."""
    async with gated_gateway(
        tmp_path, _plain, ("*",), straight=True, http2=True, loops=DEFAULTS
    ) as site:
        site.stays = True
        whole = answer(b'{"items":[]}')[0]
        site.answer = (whole[:-5], whole[-5:])
        client = Client(site)
        headers = {"authorization": f"Bearer {client.token}", "content-length": "2"}
        warnings = []
        for _ in range(4):
            site.hold_rest = trio.Event()
            request = {"content": _late(b"{}"), "headers": headers}  # such a call is not straight
            async with site.client.stream("POST", "/search", **request) as response:
                site.hold_rest.set()
                assert await response.aread() == b'{"items":[]}'
            warnings.append(response.headers.get("x-crewgate-loop"))
        assert warnings == [None] * 3 + ['"same-answer";step=warn;count=4;limit=4']


async def test_exempt_tools_may_be_repeated_and_are_no_progress(tmp_path: Path) -> None:
    loops = LoopRules(RULES, exempt_tools=("summary.*",))
    async with serving(tmp_path, straight=True, loops=loops) as client:
        headers = {"authorization": f"Bearer {client.token}"}
        for _ in range(30):
            response = await client.site.client.get("/summary", headers=headers)
            assert response.status_code == 200
        statuses = []
        for _ in range(10):
            statuses.append((await client.search({"q": "otters"})).status_code)
            await client.site.client.get("/summary", headers=headers)
        assert statuses == [200] * 9 + [403]


class MCPClient(Client):
    """A client of the MCP endpoint `files`, whose tool answers with a text."""

    async def tool(self, number: int, name: str = "read", **arguments: Any) -> dict[str, Any]:
        text = {"content": [{"type": "text", "text": "[]"}], "resultType": "complete"}
        result = encoded({"jsonrpc": "2.0", "id": number, "result": text})
        self.site.answer = answer(result, "200 OK", b"Content-Type: application/json")
        message = modern("tools/call", message_id=number, name=name, arguments=arguments)
        return await self.post(message)

    async def post(self, message: dict[str, Any]) -> dict[str, Any]:
        fields = headers(message) | {"authorization": f"Bearer {self.token}"}
        response = await self.site.client.post(
            "/mcp/files", content=encoded(message), headers=fields
        )
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found


async def test_a_model_reads_the_words_of_a_warning_and_of_a_refusal(tmp_path: Path) -> None:
    """The id of a request makes no other call, and the note makes no other answer."""
    async with gated_gateway(tmp_path, _plain, ("*",), loops=DEFAULTS) as site:
        client = MCPClient(site)
        client.token = site.token(["files.*"], credit_quota=10**9, branch_path=client.path)
        found = [await client.tool(number, path="/a") for number in range(1, 11)]
        texts = [[each["text"] for each in answer["result"]["content"]] for answer in found]
        assert texts[:3] == [["[]"]] * 3
        assert all(text[0] == "[]" and "Do not repeat the call" in text[1] for text in texts[3:9])
        assert found[9]["result"]["isError"] is True
        assert "Rule same-call has counted 10 equal calls in a row" in texts[9][0]
        # Lists may be repeated, and are no progress.
        for number in range(20, 45):
            await client.post(modern("tools/list", message_id=number))
        assert "counted 11" in (await client.tool(50, path="/a"))["result"]["content"][0]["text"]
        assert "isError" not in (await client.tool(51, path="/b"))["result"]
