"""Calls at an A2A endpoint: the request is judged, and the agent gets what was judged."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from gateway_world import SEALER, World, answering, grant_of, running_gateway

from crewgate import limits
from crewgate.core.reasons import Reason
from crewgate.core.sealed_ids import IdKind, IdOwner
from crewgate.core.verdict import Denial

PATH = "/a2a/research"
CARD_PATH = "/.well-known/agent-card.json"
TASK = {"id": "raw-task", "contextId": "raw-context", "status": {"state": "TASK_STATE_WORKING"}}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
OWNER = IdOwner("article", grant_of().branch_key, "research")


def sealed(text: str, kind: IdKind = IdKind.A2A_TASK, owner: IdOwner = OWNER) -> str:
    """An id as a branch gets it."""
    return SEALER.seal(text, kind, owner)


def opened(text: str, kind: IdKind) -> str:
    """The id that a branch has got, or that an agent got of it."""
    return SEALER.open(text, kind, OWNER)


class Site:
    """A gateway, the requests that its agent has seen, and the body that the agent answers."""

    def __init__(self, world: World, seen: list[bytes]) -> None:
        self.world = world
        self.seen = seen

    async def call(self, method: str, params: object, **fields: str) -> Any:
        """Call by JSON-RPC; `fields` are further header fields."""
        message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        return await self.send("POST", "", json.dumps(message).encode(), **fields)

    async def send(self, method: str, path: str, body: bytes = b"", **fields: str) -> Any:
        """Send any request below the path of the endpoint."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        async with self.world.client() as client:
            return await client.request(method, PATH + path, content=body, headers=headers)

    def sent(self) -> tuple[str, dict[str, str], Any]:
        """The request line, header and JSON of the one request that the agent has seen."""
        (request,) = self.seen
        head, _, body = request.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        return line.removesuffix(" HTTP/1.1"), fields, json.loads(body) if body else None


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """An agent that answers JSON-RPC with a task."""
    seen: list[bytes] = []
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "result": {"task": TASK}}).encode()
    answer = HEAD % (b"application/json", len(body), body)
    async with running_gateway(answering(answer, seen), tmp_path) as world:
        yield Site(world, seen)


@pytest.fixture
async def plain_site(tmp_path: Path) -> AsyncIterator[Site]:
    """An agent that answers HTTP+JSON with a task."""
    seen: list[bytes] = []
    body = json.dumps(TASK).encode()
    answer = HEAD % (b"application/a2a+json", len(body), body)
    async with running_gateway(answering(answer, seen), tmp_path) as world:
        yield Site(world, seen)


async def test_a_message_is_judged_by_its_method(site: Site) -> None:
    """The agent gets a context of the gateway and the budget; the client gets sealed ids."""
    response = await site.call("SendMessage", {"message": {"messageId": "m"}}, a2a_version="1.0")
    assert response.status_code == 200
    task = response.json()["result"]["task"]
    assert opened(task["id"], IdKind.A2A_TASK) == "raw-task"
    assert opened(task["contextId"], IdKind.A2A_CONTEXT) == "raw-context"
    line, fields, body = site.sent()
    assert line == "POST /rpc"
    assert fields["x-crewgate-tool"] == "research.SendMessage"
    assert (fields["a2a-version"], fields["x-crewgate-credits-left"]) == ("1.0", "0.09")
    assert fields["a2a-extensions"] == "https://crewgate.dev/a2a/budget/v1"
    context = body["params"]["message"]["contextId"]
    assert opened(context, IdKind.A2A_CONTEXT_OF_GATEWAY)
    budget = response.headers["aauth-budget"]
    assert budget == 'remaining=90000, cost=10000, unit="credit", decimals=6'
    await site.world.settled()
    (record,) = site.world.sink.records
    assert (record.tool, record.method) == ("research.SendMessage", "SendMessage")
    assert record.cost_micro == 10_000


async def test_a_body_that_the_agent_could_decode_is_refused(site: Site) -> None:
    """In another charset, the same bytes can name another task."""
    for fields in ({"content_type": "application/json; charset=utf-7"},
                   {"content_encoding": "deflate"}):  # fmt: skip
        response = await site.call("SendMessage", {"message": {"messageId": "m"}}, **fields)
        assert response.json()["error"]["code"] == -32600
    assert not site.seen


async def test_a_branch_names_its_own_tasks_only(site: Site) -> None:
    """The task of another branch is one that does not exist, as is any other text."""
    response = await site.call("GetTask", {"id": sealed("raw-task")})
    assert response.status_code == 200
    assert site.sent()[2]["params"] == {"id": "raw-task"}
    other = IdOwner("article", bytes(16), "research")
    answers = [
        await site.call("GetTask", {"id": text})
        for text in (sealed("raw-task", owner=other), "raw-task", sealed("x", IdKind.A2A_CONTEXT))
    ]
    assert {answer.content for answer in answers} == {answers[0].content}
    assert answers[0].json()["error"]["code"] == -32001
    assert len(site.seen) == 1


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("SendMessage", {"message": {"taskId": "raw"}}, -32001),
        ("SendMessage", {"tenant": "other", "message": {}}, -32602),
        ("SendMessage", {"configuration": {"taskPushNotificationConfig": {"url": "x"}}}, -32003),
        ("SendMessage", {"configuration": {"pushNotification": {"url": "http://x"}}}, -32003),
        ("ListTasks", {}, -32004),
        ("ListTasks", {"contextId": "c", "pageToken": "raw"}, -32602),
        ("CreateTaskPushNotificationConfig", {"taskId": sealed("t"), "url": "http://x"}, -32003),
        ("GetTaskPushNotificationConfig", {"taskId": sealed("t"), "id": "c"}, -32003),
        ("SendMessages", {}, -32601),
        ("GetTask", {"id": 1}, -32602),
        ("GetTask", [], -32602),
    ],
)
async def test_what_does_not_exist_for_the_branch_is_refused(
    site: Site, method: str, params: object, code: int
) -> None:
    """The agent sees nothing of it, and it costs nothing."""
    response = await site.call(method, params)
    assert (response.status_code, response.json()["id"]) == (200, 7)
    assert response.json()["error"]["code"] == code
    assert not site.seen


@pytest.mark.parametrize(
    ("body", "code"), [(b"[]", -32600), (b"{", -32700), (b'{"jsonrpc":"2.0","method":"a"}', -32600)]
)
async def test_what_is_no_request_is_refused(site: Site, body: bytes, code: int) -> None:
    """A batch, and a notification, to which A2A has no answer."""
    response = await site.send("POST", "", body)
    assert response.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("fields", "method", "code"),
    [
        ({"a2a_version": "0.5"}, "SendMessage", -32009),
        ({"a2a_version": "1.0"}, "message/send", -32009),
    ],
)
async def test_a_version_must_be_served_and_be_the_methods(
    site: Site, fields: dict[str, str], method: str, code: int
) -> None:
    """Two readers could else read one request in two versions."""
    response = await site.call(method, {"message": {}}, **fields)
    assert response.json()["error"]["code"] == code
    assert not site.seen


async def test_a_path_names_the_method_and_the_task(plain_site: Site) -> None:
    """The agent gets its own id, at its own path, and a query that was judged; no body of a GET."""
    path = f"/acme/tasks/{sealed('raw-task')}?historyLength=2&A2A-Version=1.0"
    response = await plain_site.send("GET", path, b'{"id":"x"}', content_type="application/json")
    assert response.status_code == 200
    assert opened(response.json()["id"], IdKind.A2A_TASK) == "raw-task"
    line, fields, body = plain_site.sent()
    assert (line, body) == ("GET /rest/acme/tasks/raw-task?historyLength=2", None)
    assert (fields["a2a-version"], fields["x-crewgate-tool"]) == ("1.0", "research.GetTask")


async def test_a_body_may_repeat_the_task_of_its_path(plain_site: Site) -> None:
    """It may name no other one."""
    task, body = sealed("raw-task"), b'{"id":"%b"}'
    response = await plain_site.send(
        "POST", f"/tasks/{task}:cancel", body % task.encode(), content_type="application/json"
    )
    assert response.status_code == 200
    line, _, sent = plain_site.sent()
    assert (line, sent) == ("POST /rest/tasks/raw-task:cancel", {"id": "raw-task"})
    await plain_site.world.settled()
    (record,) = plain_site.world.sink.records
    assert record.tool == "research.CancelTask"
    response = await plain_site.send(
        "POST", f"/tasks/{task}:cancel", body % sealed("other").encode()
    )
    assert response.json()["error"]["details"][0]["reason"] == "INVALID_PARAMS"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/tasks/raw-task", b"", 404), ("GET", "/other", b"", 404), ("GET", "/", b"", 404),
        ("GET", "/beta/tasks/x", b"", 400), ("POST", "/message:send", b"{},{}", 400),
        ("POST", "/message:send", b'{"message":{},"message":{}}', 400),
        ("POST", "/message:send", b'{"message":{"TaskId":"x"}}', 400), ("GET", "/tasks", b"", 400),
        ("GET", "/tasks?contextId=a&context_id=b", b"", 400),
        ("POST", "/message:send?tenant=acme", b"{}", 400), ("POST", "/message:send", b"[]", 400),
        ("POST", "/v1/message:send", b'{"tenant":"other"}', 400), ("DELETE", CARD_PATH, b"", 404),
    ],
)  # fmt: skip
async def test_what_http_json_cannot_name_is_refused(
    plain_site: Site, method: str, path: str, body: bytes, status: int
) -> None:
    """The answer has the form of the binding."""
    response = await plain_site.send(method, path, body)
    assert (response.status_code, response.json()["error"]["code"]) == (status, status)
    assert not plain_site.seen


async def test_a_query_beside_json_rpc_has_the_version_only(site: Site) -> None:
    """The agent could choose by any other parameter what it does."""
    task = sealed("t").encode()
    body = b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"%b"}}' % task
    response = await site.send("POST", "?profile=admin", body)
    assert response.json()["error"]["code"] == -32600
    assert not site.seen
    assert (await site.send("POST", "?A2A-Version=1.0", body)).status_code == 200
    assert "?" not in site.sent()[0]


async def test_free_streams_of_an_agent_are_bounded(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would else take all connections to it for nothing."""
    monkeypatch.setattr(limits, "open_streams_divisor", 512)
    response = await site.call("SubscribeToTask", {"id": sealed("t")})
    assert response.json()["error"]["data"][0]["reason"] == "BUSY"
    assert not site.seen
    assert (await site.call("GetTask", {"id": sealed("t")})).status_code == 200


async def test_a_method_that_the_token_does_not_allow(site: Site) -> None:
    """The challenge names the method."""
    site.world.judge.denials = [Denial(Reason.TOOL_NOT_ALLOWED, grant_of())]
    response = await site.call("GetTask", {"id": sealed("t")})
    assert response.status_code == 403
    assert "insufficient_scope" in response.headers["www-authenticate"]
    assert (
        "/.well-known/oauth-protected-resource/a2a/research" in response.headers["www-authenticate"]
    )


async def test_an_answer_that_cannot_be_read_is_not_passed_on(tmp_path: Path) -> None:
    """The client gets nothing of it; the call is charged, because the agent has seen it."""
    for kind, body in ((b"text/html", b"<p>raw-task</p>"), (b"application/json", b"{raw-task")):
        answer = HEAD % (kind, len(body), body)
        async with running_gateway(answering(answer, []), tmp_path) as world:
            response = await Site(world, []).call("SendMessage", {"message": {}})
            assert response.json()["error"]["code"] == -31502
            assert b"raw-task" not in response.content


async def test_the_card_leads_to_the_gateway(tmp_path: Path) -> None:
    """Its own digest and time take the place of the agent's, which are of another card."""
    seen: list[bytes] = []
    interface = {"url": "http://agent/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    card = {"name": "Researcher", "supportedInterfaces": [interface], "url": "http://agent/"}
    body = json.dumps(card).encode()
    answer = HEAD.replace(b"\r\n\r\n", b"\r\nETag: x\r\nCache-Control: public\r\n\r\n")
    answer %= (b"application/json", len(body), body)
    async with running_gateway(answering(answer, seen), tmp_path) as world:
        site = Site(world, seen)
        response = await site.send("GET", CARD_PATH, if_none_match="x", accept_encoding="gzip")
        line, fields, _ = site.sent()
        assert line == "GET /.well-known/agent-card.json"
        assert not {"if-none-match", "accept-encoding"} & fields.keys()
        assert response.json()["supportedInterfaces"][0]["url"] == world.edge.url + PATH
        assert response.headers["etag"] != "x"
        assert response.headers["cache-control"] == "private, max-age=60"
        await world.settled()
        (record,) = world.sink.records
        assert (record.tool, record.cost_micro) == ("research", 0)
        assert response.headers["vary"] == "a2a-version"
        # An unknown version gets the card that shows which there are.
        for version, is_new, is_old in (("1.0", 1, 0), ("0.3", 0, 1), ("7.1", 1, 1), ("", 1, 1)):
            seen.clear()
            answer = await site.send("GET", CARD_PATH, a2a_version=version)
            found = answer.json()
            assert ("supportedInterfaces" in found, "url" in found) == (is_new, is_old)
            assert site.sent()[1].get("a2a-version", "") == (version if is_new != is_old else "")


async def test_events_are_rewritten_one_by_one(tmp_path: Path) -> None:
    """Comments pass, and a stream of the agent ends as it ended."""
    event = b'data: {"jsonrpc":"2.0","id":7,"result":{"task":{"id":"raw-task"}}}\n\n'
    answer = HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked")
    body = b": hello\n\n" + event + event
    answer %= (b"text/event-stream", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    async with running_gateway(answering(answer, []), tmp_path) as world:
        response = await Site(world, []).call("SendStreamingMessage", {"message": {}})
        comment, first, second, rest = response.content.split(b"\n\n")
        assert (comment, rest) == (b": hello", b"")
        assert first == second
        task = json.loads(first.removeprefix(b"data: "))["result"]["task"]["id"]
        assert opened(task, IdKind.A2A_TASK) == "raw-task"
