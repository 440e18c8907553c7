"""Calls at an MCP endpoint: the body is judged, and the server gets what was judged."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio.testing
from gateway_world import World, answering, grant_of, running_gateway
from mcp_messages import encoded, headers, legacy, modern
from msgspec import structs

from crewgate import limits
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.gateway.mcp.served_endpoint import ServedMCPEndpoint

ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}'
METADATA = "/.well-known/oauth-protected-resource/mcp/files"


class Site:
    """A gateway, and the requests that its MCP server has seen."""

    def __init__(self, world: World, seen: list[bytes]) -> None:
        self.world = world
        self.seen = seen

    async def post(
        self, message: object, fields: dict[str, str], *, path: str = "/mcp/files", **how: Any
    ) -> Any:
        body = message if isinstance(message, bytes) else encoded(message)
        async with self.world.client(**how) as client:
            return await client.post(path, content=body, headers=fields)

    async def call(self, message: dict[str, Any], **changes: str | None) -> Any:
        """Post a modern message with the headers that belong to it."""
        return await self.post(message, headers(message, **changes))

    def sent(self) -> tuple[dict[str, str], bytes]:
        """The header and the body of the one request that the server has seen."""
        (request,) = self.seen
        head, _, body = request.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}, body


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    seen: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    async with running_gateway(answering(answer % (len(ANSWER), ANSWER), seen), tmp_path) as world:
        yield Site(world, seen)


async def test_a_tool_is_judged_by_its_name(site: Site) -> None:
    """The server gets the same bytes, and headers that the gateway has written."""
    message = modern("tools/call", name="read", arguments={"path": "/a"})
    response = await site.call(message)
    assert response.status_code == 200
    assert response.content == ANSWER
    fields, body = site.sent()
    assert body == encoded(message)
    assert fields["x-crewgate-tool"] == "files.read"
    assert (fields["mcp-method"], fields["mcp-name"]) == ("tools/call", "read")
    assert fields["mcp-protocol-version"] == "2026-07-28"
    await site.world.settled()
    (record,) = site.world.sink.records
    assert (record.tool, record.method) == ("files.read", "tools/call")
    assert record.cost_micro == 10_000


async def test_a_free_method_costs_nothing(site: Site) -> None:
    """It is recorded as a call of the endpoint."""
    await site.call(modern("tools/list"))
    await site.world.settled()
    (record,) = site.world.sink.records
    assert (record.tool, record.method, record.cost_micro) == ("files", "tools/list", 0)


async def test_a_legacy_call_has_no_headers_of_its_own(site: Site) -> None:
    """The server gets no modern header that a legacy client sends: the client cannot mean it."""
    message = legacy("tools/call", name="read")
    fields = {"mcp-protocol-version": "2025-11-25", "mcp-name": "delete"}
    assert (await site.post(message, fields)).status_code == 200
    sent, _ = site.sent()
    assert sent["mcp-protocol-version"] == "2025-11-25"
    assert "mcp-name" not in sent


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mcp_name": "delete"}, "does not agree"),
        ({"mcp_name": None}, "is missing"),
        ({"mcp_method": "tools/list"}, "does not agree"),
        ({"mcp_method": None}, "is missing"),
        ({"mcp_protocol_version": None}, "is missing"),
        ({"mcp_protocol_version": "2025-11-25"}, "does not agree"),
    ],
)
async def test_headers_must_agree_with_the_body(
    site: Site, changes: dict[str, str | None], message: str
) -> None:
    """The server sees nothing of such a request."""
    response = await site.call(modern("tools/call", 7, name="read"), **changes)
    assert response.status_code == 400
    answer = response.json()
    assert (answer["id"], answer["error"]["code"]) == (7, -32020)
    assert message in answer["error"]["message"]
    assert not site.seen
    (record,) = site.world.sink.records
    assert record.reason == "invalid-request"


async def test_a_name_is_compared_after_base64(site: Site) -> None:
    """A prompt may have a name that no header field can carry as it is."""
    message = modern("prompts/get", name="Grüße")
    fields = headers(message, mcp_name="=?base64?R3LDvMOfZQ==?=")
    assert (await site.post(message, fields)).status_code == 200
    assert site.sent()[0]["mcp-name"] == "=?base64?R3LDvMOfZQ==?="


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (b"[]", -32600, 400),
        (b"{", -32700, 400),
        (encoded(legacy("tools/run", 3)), -32601, 200),
        (encoded(modern("tools/run", 3)), -32601, 404),
        (encoded(modern("tools/call", 3)), -32602, 400),
        (encoded(modern("tools/call", 3, name="a/b")), -32602, 400),
        (encoded({"jsonrpc": "2.0", "id": 3, "method": "tools/list", "params": {}}), -32602, 400),
    ],
)
async def test_what_cannot_be_judged_is_refused(
    site: Site, body: bytes, code: int, status: int
) -> None:
    """An unknown method, a batch, a tool without a name."""
    fields = {"mcp-protocol-version": "2026-07-28"} if b"run" not in body else {}
    if b"run" in body and b"_meta" in body:
        fields = headers(json.loads(body))
    if b"tools/call" in body:
        fields = headers(json.loads(body))
    response = await site.post(body, fields)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert not site.seen


async def test_a_malformed_request_gets_an_error_with_its_id(site: Site) -> None:
    """The client can then tell which of its requests failed (JSON-RPC 2.0, section 5)."""
    message = modern("tools/call", 7, name="read", Name="delete")
    response = await site.post(encoded(message), headers(message))
    assert (response.status_code, response.json()["id"]) == (400, 7)
    assert response.json()["error"]["code"] == -32600
    assert not site.seen


async def test_a_capability_in_another_spelling_is_refused(site: Site) -> None:
    """A server that reads it would begin a task, whose id the gateway would not seal."""
    capabilities = {"io.modelcontextprotocol/clientCapabilities": {"Extensions": {}}}
    message = modern("tools/call", 7, name="read", meta=capabilities)
    response = await site.call(message)
    assert (response.status_code, response.json()["id"]) == (400, 7)
    assert not site.seen


async def test_a_tool_that_the_token_does_not_allow(site: Site) -> None:
    """The challenge names the scope that the call needs (MCP, "Authorization")."""
    grant = grant_of()
    judge = site.world.judge
    judge.denials = [Denial(Reason.TOOL_NOT_ALLOWED, grant)]
    response = await site.call(modern("tools/call", "a", name="delete"))
    judge_first = response
    assert judge_first.status_code == 403
    challenge = response.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert f'{METADATA}"' in challenge


@pytest.mark.parametrize(
    ("method", "name", "scope"),
    [
        ("tools/call", "delete", "files.delete"),
        ("tools/call", "a..b", "files.*"),
        ("prompts/get", "greet", "files:prompts.greet"),
        ("prompts/get", 'x", resource_metadata="https://evil.example', "files:prompts.*"),
        ("prompts/get", "Grüße", "files:prompts.*"),
    ],
)
async def test_a_challenge_names_what_a_token_can_allow(
    site: Site, method: str, name: str, scope: str
) -> None:
    """A name adds nothing else to it: clients follow the address in it."""
    decide, denial = site.world.judge.decide, Denial(Reason.TOOL_NOT_ALLOWED, grant_of())
    site.world.judge.decide = lambda *args, price=-1, **how: (
        denial if price else decide(*args, price=price, **how)
    )
    message = modern(method, name=name)
    encoded_name = f"=?base64?{b64encode(name.encode()).decode()}?="
    response = await site.post(message, headers(message, mcp_name=encoded_name))
    assert response.status_code == 403
    challenge = response.headers["www-authenticate"]
    assert challenge.endswith(f'scope="{scope}"')
    assert challenge.count("resource_metadata=") == 1


async def test_credits_that_are_spent_are_a_result_for_the_model(site: Site) -> None:
    """The model reads what happened, and what to do."""
    judge = site.world.judge
    decide, denial = judge.decide, Denial(Reason.CREDITS_EXHAUSTED, grant_of())
    judge.decide = lambda *args, price=-1, **how: (
        denial if price else decide(*args, price=price, **how)
    )
    response = await site.call(modern("tools/call", 5, name="read"))
    assert response.status_code == 200
    answer = response.json()
    assert answer["id"] == 5
    result = answer["result"]
    assert result["isError"]
    assert result["resultType"] == "complete"
    assert "ask for more credits" in result["content"][0]["text"]
    assert result["_meta"]["dev.crewgate/problem"]["status"] == 403


async def test_without_a_token(site: Site) -> None:
    """The answer says where to get one, and is JSON-RPC, because clients read nothing else."""
    message = modern("tools/call", name="read")
    response = await site.post(message, headers(message), token="")
    assert response.status_code == 401
    assert METADATA in response.headers["www-authenticate"]
    assert response.json()["error"]["code"] == -31401
    async with site.world.client(token="") as client:
        found = (await client.get(METADATA)).json()
    assert found["resource"] == f"{site.world.edge.url}/mcp/files"
    assert found["authorization_servers"]


async def test_a_modern_endpoint_has_no_stream(site: Site) -> None:
    """It has neither GET nor DELETE, and serves no legacy message."""
    async with site.world.client(token="") as client:
        assert (await client.get("/mcp/modern")).status_code == 405
    response = await site.post(legacy("initialize"), {}, path="/mcp/modern")
    assert response.json()["error"]["code"] == -32022


async def test_a_page_of_another_origin_is_refused(site: Site) -> None:
    """A page that has rebound a DNS name to the gateway cannot call it."""
    message = modern("tools/call", name="read")
    response = await site.post(message, headers(message, origin="https://evil.example"))
    assert response.status_code == 403
    assert not site.seen


@pytest.mark.parametrize("path", ["/mcp/files", "/mcp/team"])
async def test_a_query_is_refused_unless_the_endpoint_forwards_it(site: Site, path: str) -> None:
    """Some servers choose the set of their tools by it; nothing judges it."""
    message = modern("tools/call", 4, name="delete")
    response = await site.post(message, headers(message), path=f"{path}?profile=admin")
    assert (response.status_code, response.json()["error"]["code"]) == (400, -32600)
    assert not site.seen
    entry = site.world.gateway.routes.find(b"POST", path.encode(), b"a")
    assert entry is not None
    assert isinstance(entry.endpoint, ServedMCPEndpoint)
    endpoint = entry.endpoint._endpoint
    forwards = structs.replace(endpoint.config, forward_query=True)
    opened = ServedMCPEndpoint(structs.replace(endpoint, config=forwards))
    routes = site.world.gateway.routes
    site.world.gateway.routes = structs.replace(
        routes,
        entries=tuple(
            structs.replace(each, endpoint=opened) if each is entry else each
            for each in routes.entries
        ),
    )
    response = await site.post(message, headers(message), path=f"{path}?profile=a")
    seen = [each.partition(b" HTTP")[0] for each in site.seen]
    assert seen == ([] if entry.is_group else [b"POST /mcp/files?profile=a"])


def _without_id(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "id"}


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (_without_id(legacy("notifications/cancelled", requestId=1)), 202),
        (_without_id(legacy("notifications/progress", progressToken=1, progress=1)), 202),
        ({"jsonrpc": "2.0", "id": 1, "result": {"action": "accept"}}, 202),
        (_without_id(legacy("notifications/initialized")), 200),
        (_without_id(modern("notifications/cancelled", requestId=1)), 404),
    ],
)
async def test_a_message_names_a_request_only_in_a_session(
    site: Site, message: dict[str, Any], status: int
) -> None:
    """To a server that knows requests by their ids alone, it could be one of another branch.

    The gateway drops it: some clients end if a notification gets an error.
    """
    is_modern = "_meta" in message.get("params", {})
    response = await site.post(message, headers(message) if is_modern else {})
    assert response.status_code == status
    assert len(site.seen) == (status == 200)


async def test_clients_choose_no_more_labels_than_a_limit(site: Site) -> None:
    """The audit has each name; the metrics have the endpoint's for all beyond the limit.

    Names that a token does not allow take no label, and have none, so the time to find it is the
    same for each of them.
    """
    entry = site.world.gateway.routes.find(b"POST", b"/mcp/files", b"a")
    assert entry is not None
    endpoint = entry.endpoint
    assert endpoint is not None
    names = [f"files.t{number}" for number in range(limits.mcp_tool_labels_max)]
    reader = grant_of()
    grant = structs.replace(
        reader, claims=structs.replace(reader.claims, allowed_tools=["files.*"])
    )
    assert {endpoint.metric_name(name, reader) for name in names} == {"files"}
    assert [endpoint.metric_name(name, grant) for name in names] == names
    assert {endpoint.metric_name(name, reader) for name in names} == {"files"}
    assert endpoint.metric_name("files.more", grant) == "files"
    await site.call(modern("tools/call", name="more"))
    await site.world.settled()
    (record,) = site.world.sink.records
    assert record.tool == "files.more"


async def test_arguments_that_a_rule_forbids_are_a_result_for_the_model(site: Site) -> None:
    """The server sees nothing, nothing is charged, and the model reads what is allowed."""
    for number, path in enumerate(["/srv/a", "/etc/passwd"]):
        response = await site.call(
            modern("tools/call", number, name="write", arguments={"path": path})
        )
    assert len(site.seen) == 1
    answer = response.json()
    assert (response.status_code, answer["id"]) == (200, 1)
    assert answer["result"]["isError"]
    text = answer["result"]["content"][0]["text"]
    assert text.startswith(
        'Arguments not allowed. The argument "path" is "/etc/passwd"; it must be a path in "/srv"'
    )
    await site.world.settled()
    permitted, refused = site.world.sink.records
    assert (permitted.cost_micro, refused.reason) == (10_000, "arguments-not-allowed")
    assert "/etc/passwd" not in repr(refused)
    assert [each.ended for each in site.world.judge.permits[-1:]] == ["released"]


async def test_only_a_branch_that_may_call_a_tool_reads_its_rules(site: Site) -> None:
    """To others, the refusal is that of any tool that they may not call."""
    decide, denial = site.world.judge.decide, Denial(Reason.TOOL_NOT_ALLOWED, grant_of())
    site.world.judge.decide = lambda *args, name=None, price=-1, **how: (
        denial if price else decide(*args, name=name, price=price, **how)
    )
    response = await site.call(modern("tools/call", name="write", arguments={}))
    assert response.status_code == 403
    assert "/srv" not in response.text


async def test_in_observe_mode_a_rule_is_only_recorded(site: Site) -> None:
    """The call goes on, and its record says what would have been."""
    gateway = site.world.gateway
    gateway.policy = structs.replace(gateway.policy, observe=True)
    response = await site.call(modern("tools/call", name="write", arguments={"path": "/etc"}))
    assert response.content == ANSWER
    await site.world.settled()
    (record,) = site.world.sink.records
    assert record.would == "arguments-not-allowed"


async def test_a_judgement_is_kept_without_its_message(site: Site) -> None:
    """The second call is judged from memory: its own id and arguments, and no other headers."""
    await site.call(modern("tools/call", "first", name="read", arguments={"path": "/a"}))
    message = modern("tools/call", "second", name="read", arguments={"path": "/b"})
    del site.seen[:]
    assert (await site.call(message)).status_code == 200
    assert site.sent()[1] == encoded(message)
    refused = await site.call(message, mcp_name="delete")
    assert (refused.status_code, refused.json()["id"]) == (400, "second")
    entry = site.world.gateway.routes.find(b"POST", b"/mcp/files", b"a")
    assert entry is not None
    assert isinstance(entry.endpoint, ServedMCPEndpoint)
    kept: list[Any] = list(entry.endpoint._endpoint.judged.values())
    assert [(each.id, each.body, each.message) for each in kept] == [("files.read", b"", None)]


async def test_a_judgement_is_kept_for_branches_of_the_same_scope(site: Site) -> None:
    """Others would learn from the time of an answer that somebody calls a tool."""
    message = modern("tools/call", name="read")
    entry = site.world.gateway.routes.find(b"POST", b"/mcp/files", b"a")
    assert entry is not None
    assert isinstance(entry.endpoint, ServedMCPEndpoint)
    for tools in ("files.*",), ("files.*",), ("files.write",):
        claims = structs.replace(grant_of().claims, allowed_tools=list(tools))
        grants = site.world.judge.grants
        grants.update({token: structs.replace(grants[token], claims=claims) for token in grants})
        await site.call(message)
    assert [key[0][1:] for key in entry.endpoint._endpoint.judged] == [
        ("files.*",),
        ("files.write",),
    ]


async def test_a_call_that_waits_while_its_path_becomes_an_endpoint(site: Site) -> None:
    """Its token was good for a tool, and its message has not been judged: it is refused."""
    world = site.world
    routes, judge = world.gateway.routes, world.judge
    endpoint = routes.find(b"POST", b"/mcp/files", b"a")
    tool = routes.find(b"POST", b"/search", b"a")

    class Replaced:
        """The routes are replaced, and then all of the body arrives."""

        async def wait(self) -> bool:
            entries = tuple(endpoint if each is tool else each for each in routes.entries)
            world.gateway.routes = structs.replace(routes, entries=entries)
            await trio.testing.wait_all_tasks_blocked()
            return True

    judge.relieve = lambda *_: Replaced()  # type: ignore[method-assign,assignment,return-value]
    judge.denials = [Denial(Reason.BUDGET_UNAVAILABLE, grant_of(), retry=True)]
    message = modern("tools/call", name="delete")
    response = await site.post(message, headers(message), path="/search")
    assert response.status_code == 503
    assert not site.seen
