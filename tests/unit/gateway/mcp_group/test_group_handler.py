"""Several MCP servers behind one path: each client sees one server, and each call one endpoint."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from gateway_world import World, running_gateway
from mcp_messages import LEGACY, MODERN, encoded, headers, legacy, modern
from msgspec import structs
from scripted_server import read_request

from crewgate import limits
from crewgate.core.audit.records import CallOutcome
from crewgate.core.mcp.message_rules import TASKS
from crewgate.core.mcp.pins.worker_pins import PinnedEndpoint, PinPolicy, PinStatus
from crewgate.core.reasons import Reason
from crewgate.core.sealed_ids import IdKind
from crewgate.core.verdict import Denial

JSON = "Content-Type: application/json\r\n"
BOTH = {"files": ["read", "delete", "a.b"], "priced": ["read", "scan", "a.b"]}

OFFERED = {
    "files": {
        "prompts/list": ("prompts", ["greet", "sum up"]),
        "resources/list": ("resources", ["file:///a", "both:///b"]),
        "resources/templates/list": ("resourceTemplates", ["file:///{name}"]),
    },
    "priced": {
        "prompts/list": ("prompts", ["greet", "count"]),
        "resources/list": ("resources", ["both:///b", "note:///c"]),
        "resources/templates/list": ("resourceTemplates", ["file:///notes/{name}", "note:///{n}"]),
    },
}


def response(body: object, status: str = "200 OK", more: str = "") -> bytes:
    """An HTTP response with a JSON body."""
    text = json.dumps(body)
    length = f"Content-Length: {len(text)}\r\n{JSON}{more}"
    return f"HTTP/1.1 {status}\r\n{length}\r\n{text}".encode()


class Servers:
    """Two MCP servers, `files` and `priced`, behind one socket, which keep their requests.

    `tools` are their lists. A server in `down` closes the connection, one in `slow` never answers,
    one in `lacking` does not know what a list of tools is, and one in `ended` knows no session.
    """

    def __init__(self, tools: Mapping[str, list[str]] = BOTH) -> None:
        self.tools = dict(tools)
        self.down: set[str] = set()
        self.slow: set[str] = set()
        self.lacking: set[str] = set()
        self.ended: set[str] = set()
        self.page_size = 100
        self.asked: list[tuple[str, str, dict[str, Any], dict[str, str]]] = []
        self.sessions = {"files": "f-1", "priced": ""}
        self.versions = {"files": LEGACY, "priced": "2025-06-18"}

    def methods(self, server: str) -> list[str]:
        """The methods that a server got."""
        return [method for name, method, _, _ in self.asked if name == server]

    async def script(self, stream: trio.SocketStream, number: int) -> None:
        while request := await read_request(stream):
            head, _, body = request.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            method, path, _ = lines[0].split(" ")
            server = path.rsplit("/", 1)[1]
            fields = {name.lower(): value for name, value in (x.split(": ", 1) for x in lines[1:])}
            message = json.loads(body) if body else {"method": method}
            self.asked.append((server, message["method"], message.get("params", {}), fields))
            if server in self.down:
                return
            if server in self.slow:
                await trio.sleep_forever()
            await stream.send_all(self.answer(server, message))

    def answer(self, server: str, message: dict[str, Any]) -> bytes:
        method, params = message["method"], message.get("params", {})
        if "id" not in message:
            return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
        if server in self.ended:
            return response({}, "404 Not Found")
        more = ""
        is_modern = "_meta" in params
        result: dict[str, Any] = {"resultType": "complete"} if is_modern else {}
        if method == "tools/list":
            if server in self.lacking:
                error = {"code": -32601, "message": "Method not found"}
                return response({"jsonrpc": "2.0", "id": message["id"], "error": error})
            at = int(params.get("cursor", "0"))
            names = self.tools[server][at : at + self.page_size]
            result["tools"] = [{"name": name, "description": server} for name in names]
            if at + self.page_size < len(self.tools[server]):
                result["nextCursor"] = str(at + self.page_size)
            result |= {"ttlMs": 1000, "cacheScope": "public"} if is_modern else {}
        elif method in OFFERED[server]:
            member, names = OFFERED[server][method]
            key = {"prompts": "name", "resources": "uri"}.get(member, "uriTemplate")
            result[member] = [{key: name} for name in names]
        elif method in {"server/discover", "initialize"}:
            result |= {"capabilities": {"tools": {"listChanged": True}, server: {}}}
            result["instructions"] = f"Use {server}."
            result |= (
                {"supportedVersions": [MODERN, LEGACY]}
                if is_modern
                else {
                    "protocolVersion": self.versions[server],
                    "serverInfo": {"name": server, "version": "1"},
                }
            )
            if method == "initialize" and self.sessions[server]:
                more = f"Mcp-Session-Id: {self.sessions[server]}\r\n"
        else:
            result["content"] = [{"type": "text", "text": f"{server} {params.get('name')}"}]
            result["structuredContent"] = {"pages": 1}
        return response({"jsonrpc": "2.0", "id": message["id"], "result": result}, more=more)


class Site:
    """A gateway with the group `team`, and its callers."""

    def __init__(self, world: World, servers: Servers) -> None:
        self.world = world
        self.servers = servers
        self.forbidden: frozenset[str] = frozenset()
        self.unreached: set[int] = set()
        decide = world.judge.decide

        def forbidding(token: bytes, tool: int, **how: Any) -> Any:
            if tool in self.unreached:
                return Denial(Reason.TOOL_NOT_ALLOWED, world.judge.grants[token])
            permit = decide(token, tool, **how)
            if not isinstance(permit, Denial):
                permit.forbidden = self.forbidden
            return permit

        world.judge.decide = forbidding  # type: ignore[method-assign]

    async def ask(self, message: dict[str, Any], **fields: str) -> Any:
        """The response to a message."""
        known = headers(message) if "_meta" in message.get("params", {}) else {}
        async with self.world.client() as client:
            return await client.post(
                "/mcp/team", content=encoded(message), headers={**known, **fields}
            )

    async def tools(self) -> dict[str, str]:
        """The server of each tool in the list, by the name that the list shows."""
        result = (await self.ask(modern("tools/list"))).json()["result"]
        return {tool["name"]: tool["description"] for tool in result["tools"]}

    async def call(self, name: str) -> str:
        """The text of a tool's answer, or of the error."""
        answer = (await self.ask(modern("tools/call", name=name, arguments={"copies": 1}))).json()
        if "error" in answer:
            return str(answer["error"]["message"])
        return str(answer["result"]["content"][0]["text"])

    def records(self) -> list[tuple[str, str, int]]:
        """Tool, method and cost of each record."""
        return [(r.tool, r.method, r.cost_micro) for r in self.world.sink.records]


@asynccontextmanager
async def site_of(folder: Path, servers: Servers) -> AsyncIterator[Site]:
    async with running_gateway(servers.script, folder) as world:
        yield Site(world, servers)


async def test_a_list_has_the_tools_of_all_servers(tmp_path: Path) -> None:
    """Names that both have show their server, and each name reaches the tool that it stands for."""
    async with site_of(tmp_path, Servers()) as site:
        site.servers.page_size = 2
        tools = await site.tools()
        short = [name for name in tools if "a_b" in name]
        assert {name: server for name, server in tools.items() if name not in short} == {
            "files__read": "files",
            "delete": "files",
            "priced__read": "priced",
            "scan": "priced",
        }
        assert len(short) == 2
        for name, server in tools.items():
            bare = "a.b" if name in short else name.removeprefix(f"{server}__")
            assert await site.call(name) == f"{server} {bare}"
        assert "files__read or priced__read" in await site.call("read")
        assert await site.call("files__delete") == "files delete"
        assert "Unknown tool: nothing" in await site.call("nothing")
        await site.world.settled()
        records = site.records()
        assert records[0] == ("team", "tools/list", 0)
        assert ("files.delete", "tools/call", 10_000) in records
        assert ("priced.scan", "tools/call", 111) in records


async def test_what_a_caller_may_not_use_changes_nothing(tmp_path: Path) -> None:
    """Neither the names in its list, nor the meaning of a name in a call."""
    async with site_of(tmp_path, Servers()) as site:
        site.forbidden = frozenset({"priced.read", "priced.a.b"})
        assert await site.tools() == {
            "read": "files", "delete": "files", "a.b": "files", "scan": "priced"
        }  # fmt: skip
        assert await site.call("read") == "files read"
        assert site.servers.methods("priced") == ["tools/list"]


async def test_a_server_that_is_not_reached_does_not_exist(tmp_path: Path) -> None:
    """It is not asked, and its prefix means nothing."""
    async with site_of(tmp_path, Servers()) as site:
        reached = (await site.ask(modern("tools/list"))).status_code
        assert reached == 200
        site.unreached = {tool for _, tool, _, _ in site.world.judge.asked[1:2]}
        site.servers.asked.clear()
        assert await site.tools() == {"read": "files", "delete": "files", "a.b": "files"}
        assert await site.call("priced__scan") == "files priced__scan"
        assert not site.servers.methods("priced")


@pytest.mark.parametrize("how", ["down", "lacking"])
async def test_one_server_down_does_not_fail_the_list(tmp_path: Path, how: str) -> None:
    """The list names a server that is down, and leaves one out that has no tools."""
    async with site_of(tmp_path, Servers()) as site:
        getattr(site.servers, how).add("priced")
        answer = (await site.ask(modern("tools/list"))).json()["result"]
        assert [tool["name"] for tool in answer["tools"]] == BOTH["files"]
        left_out = answer.get("_meta", {}).get("dev.crewgate/unavailable_servers", [])
        assert left_out == (["priced"] if how == "down" else [])
        site.servers.down = {"files", "priced"}
        failed = await site.ask(modern("tools/list"))
        assert failed.status_code == 502
        assert failed.json()["error"]["data"]["detail"] == (
            "No server of the group has answered (files, priced). The log of the gateway says why."
        )


async def test_no_server_gets_the_calls_of_one_that_is_down(tmp_path: Path) -> None:
    """The pins say which tools that one has."""
    async with site_of(tmp_path, Servers()) as site:
        pins = site.world.gateway._services.pins
        pins.load({"files": PinPolicy("warn")})
        pinned = [PinStatus("files", name, "0" * 64) for name in ("read", "delete")]
        pins.apply(pinned, [PinnedEndpoint("files", is_first_use=False)], begins=True)
        site.servers.down.add("files")
        assert set(await site.tools()) == {"priced__read", "scan", "a.b"}
        assert "files__read or priced__read" in await site.call("read")
        assert await site.call("priced__read") == "priced read"
        assert await site.call("scan") == "priced scan"
        site.forbidden = frozenset({"files.read"})
        assert set(await site.tools()) == {"read", "scan", "a.b"}


async def test_the_gate_judges_each_endpoint_when_the_body_is_here(tmp_path: Path) -> None:
    """Its head may have come long before, and one of them may be refused by now."""
    async with site_of(tmp_path, Servers()) as site:
        await site.tools()
        judge, asked = site.world.judge, site.world.judge.asked
        first, second = (tool for _, tool, _, _ in asked[:2])
        decide, count = judge.decide, Counter[int]()

        def refusing(token: bytes, tool: int, **how: Any) -> Any:
            count[tool] += 1
            site.unreached = {second} if count[second] > 1 else set()
            return decide(token, tool, **how)

        judge.decide = refusing  # type: ignore[method-assign]
        site.servers.asked.clear()
        assert set((await site.tools()).values()) == {"files"}
        assert not site.servers.methods("priced")
        count.clear()
        second = first
        site.servers.asked.clear()
        assert set((await site.tools()).values()) == {"priced"}
        assert not site.servers.methods("files")


async def test_discovery_describes_all_servers(tmp_path: Path) -> None:
    """Capabilities that any has, and the instructions of each."""
    async with site_of(tmp_path, Servers()) as site:
        result = (await site.ask(modern("server/discover"))).json()["result"]
        assert result["capabilities"] == {"tools": {}, "files": {}, "priced": {}}
        assert result["supportedVersions"] == [MODERN, LEGACY]
        assert result["instructions"] == "files:\nUse files.\n\npriced:\nUse priced."


async def test_a_legacy_session_is_one_at_each_server(tmp_path: Path) -> None:
    """Each server gets its own id, and the end of the session."""
    async with site_of(tmp_path, Servers()) as site:
        offered = {"sampling": {}, "experimental": {"x": {}}}
        begun = await site.ask(legacy("initialize", protocolVersion=LEGACY, capabilities=offered))
        for _, _, params, _ in site.servers.asked:
            assert params["capabilities"] == {"experimental": {"x": {}}}
        result = begun.json()["result"]
        assert (result["serverInfo"]["name"], result["protocolVersion"]) == ("team", "2025-06-18")
        version = {"mcp-protocol-version": "2025-06-18"}
        session = {**version, "mcp-session-id": begun.headers["mcp-session-id"]}
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await site.ask(note, **session)).status_code == 202
        for message, text in (("scan", "priced scan"), ("delete", "files delete")):
            answer = await site.ask(
                legacy("tools/call", name=message, arguments={"copies": 1}), **session
            )
            assert answer.json()["result"]["content"][0]["text"] == text
        async with site.world.client() as client:
            assert (await client.get("/mcp/team", headers=session)).status_code == 405
            assert (await client.delete("/mcp/team", headers=session)).status_code == 204
        async with site.world.client(token="sibling") as client:
            body = encoded(legacy("ping"))
            stolen = await client.post("/mcp/team", content=body, headers=session)
        assert stolen.status_code == 404
        names = ("mcp-session-id", "mcp-protocol-version")
        seen = {(name, *map(fields.get, names)) for name, _, _, fields in site.servers.asked}
        assert seen == {
            ("files", None, None),
            ("files", "f-1", LEGACY),
            ("priced", None, None),
            ("priced", None, "2025-06-18"),
        }
        assert site.servers.methods("files")[-1] == "DELETE"


async def test_a_revocation_ends_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for a server that is slow."""
    monkeypatch.setattr(limits, "mcp_group_seconds", 1000.0)
    async with site_of(tmp_path, Servers()) as site, trio.open_nursery() as nursery:
        site.servers.slow.add("priced")
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await site.ask(modern("tools/list")))

        nursery.start_soon(ask)
        with trio.fail_after(20):
            while "tools/list" not in site.servers.methods("priced"):
                await trio.lowlevel.checkpoint()
            permit = site.world.judge.permits[-1]
            assert site.world.live.terminate([permit.grant.branch_key]) == 1
            await site.world.settled()
            while not answers:
                await trio.lowlevel.checkpoint()
        assert answers[0].status_code == 401
        assert site.world.sink.records[-1].outcome is CallOutcome.REVOKED


async def test_prompts_and_resources_have_a_server_too(tmp_path: Path) -> None:
    """A prompt is like a tool. A resource is read where it is listed, or where a template fits."""
    async with site_of(tmp_path, Servers()) as site:
        site.world.judge.permits.clear()
        prompts = (await site.ask(modern("prompts/list"))).json()["result"]["prompts"]
        names = [prompt["name"] for prompt in prompts]
        assert names == ["files__greet", "sum up", "priced__greet", "count"]
        reads = {
            "file:///a": "files", "both:///b": "files", "note:///c": "priced",
            "file:///x": "files", "file:///notes/x": "priced", "other:///x": "files",
        }  # fmt: skip
        asked = [
            (modern("prompts/get", name="priced__greet"), "priced"),
            (modern("prompts/get", name="sum up"), "files"),
            *((modern("resources/read", uri=uri), server) for uri, server in reads.items()),
        ]
        for completed, server in (("count", "priced"), ("files__greet", "files")):
            ref = {"type": "ref/prompt", "name": completed}
            message = modern("completion/complete", ref=ref, argument={"name": "a", "value": ""})
            asked.append((message, server))
        for message, server in asked:
            assert (await site.ask(message)).status_code == 200
            assert site.servers.asked[-1][0] == server, message
        assert site.servers.asked[-1][2]["ref"]["name"] == "greet"
        bad = modern("completion/complete", ref={"type": 1}, argument={})
        assert (await site.ask(bad)).json()["error"]["code"] == -32602
        listed = [method for _, method, _, _ in site.servers.asked if method.endswith("/list")]
        assert len(listed) == 6


async def test_a_subscription_concerns_one_server(tmp_path: Path) -> None:
    """The streams of several servers are not merged."""
    async with site_of(tmp_path, Servers()) as site:
        wanted = {"resourceSubscriptions": ["note:///c"]}
        await site.ask(modern("subscriptions/listen", notifications=wanted))
        assert site.servers.asked[-1][:2] == ("priced", "subscriptions/listen")
        for wanted in (
            {"resourceSubscriptions": ["note:///c", "file:///a"]},
            {"toolsListChanged": True},
        ):
            answer = await site.ask(modern("subscriptions/listen", notifications=wanted))
            assert "concerns files, priced" in answer.json()["error"]["message"]


async def test_a_task_is_found_by_its_id(tmp_path: Path) -> None:
    """The id is sealed for one endpoint. An id of another branch does not exist."""
    tasks = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}}}
    async with site_of(tmp_path, Servers()) as site:
        group = site.world.gateway.routes.groups["team"]
        for token, found in ((b"good", True), (b"sibling", False)):
            ids = group.members[1].endpoint.ids_of(site.world.judge.grants[token])
            sealed = ids.seal("t-1", IdKind.MCP_TASK)
            answer = await site.ask(modern("tasks/get", taskId=sealed, meta=tasks))
            assert ("error" not in answer.json()) == found
        assert [(server, params["taskId"]) for server, _, params, _ in site.servers.asked] == [
            ("priced", "t-1")
        ]


async def test_headers_must_agree_with_the_name_that_the_client_used(tmp_path: Path) -> None:
    """The server gets the name that it gave to the tool."""
    async with site_of(tmp_path, Servers()) as site:
        message = modern("tools/call", name="files__read")
        answer = await site.ask(message, **{"mcp-name": "read"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
        assert (await site.ask(message)).status_code == 200
        _, _, params, fields = site.servers.asked[-1]
        assert (params["name"], fields["mcp-name"]) == ("read", "read")
        assert fields["x-crewgate-tool"] == "files.read"


async def test_a_call_waits_for_the_first_credit_of_its_branch(tmp_path: Path) -> None:
    """The gate wants a draw before it answers for a branch that it has not seen."""
    async with site_of(tmp_path, Servers()) as site:
        grant = site.world.judge.grants[b"good"]
        site.world.judge.denials = 2 * [Denial(Reason.BUDGET_UNAVAILABLE, grant, retry=True)]
        assert "delete" in await site.tools()
        assert len(site.world.judge.draws) == 1
        site.world.judge.draws *= 3  # the next draw brings nothing
        site.world.judge.denials = 4 * [Denial(Reason.BUDGET_UNAVAILABLE, grant, retry=True)]
        assert (await site.ask(modern("tools/list"))).status_code == 503


async def test_a_call_that_waits_while_the_routes_change_is_not_judged_by_old_numbers(
    tmp_path: Path,
) -> None:
    """Its client tries again."""
    async with site_of(tmp_path, Servers()) as site, trio.open_nursery() as nursery:
        site.servers.slow.add("priced")
        texts: list[str] = []

        async def call() -> None:
            answer = (await site.ask(modern("tools/call", name="read"))).json()
            texts.append(answer["result"]["content"][0]["text"])

        nursery.start_soon(call)
        with trio.fail_after(20):
            while "tools/list" not in site.servers.methods("priced"):
                await trio.lowlevel.checkpoint()
            site.world.gateway.routes = structs.replace(site.world.gateway.routes)
            while not texts:
                await trio.lowlevel.checkpoint()
        assert "another configuration" in texts[0]
        assert "tools/call" not in site.servers.methods("files")


@pytest.mark.parametrize("what", ["pages", "size"])
async def test_a_hostile_server_is_left_out(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are not affected."""
    monkeypatch.setattr(limits, "mcp_group_pages_max", 3)
    monkeypatch.setattr(limits, "mcp_group_bytes_max", 1000)
    many = [f"t{number}" for number in range(50)]
    async with site_of(tmp_path, Servers({"files": ["read"], "priced": many})) as site:
        site.servers.page_size = 5 if what == "pages" else 50
        answer = (await site.ask(modern("tools/list"))).json()["result"]
        assert [tool["name"] for tool in answer["tools"]] == ["read"]
        assert answer["_meta"] == {"dev.crewgate/unavailable_servers": ["priced"]}


async def test_a_session_that_a_server_has_ended_begins_anew(tmp_path: Path) -> None:
    """The client learns it as MCP says, with each kind of request."""
    async with site_of(tmp_path, Servers()) as site:
        begun = await site.ask(legacy("initialize", protocolVersion=LEGACY, capabilities={}))
        session = {"mcp-session-id": begun.headers["mcp-session-id"]}
        assert (await site.ask(legacy("tools/list"), **session)).status_code == 200
        site.servers.ended.add("files")
        for message in (legacy("tools/list"), legacy("tools/call", name="delete")):
            assert (await site.ask(message, **session)).status_code == 404
