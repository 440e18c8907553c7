"""No response shows a caller what its token does not allow, in its text, its headers or its status.

The gate, the gateway and the sockets are real; a script plays the server.
"""

import json
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from gated_gateway import GatedGateway, gated_gateway
from mcp_messages import encoded, headers, legacy, modern
from msgspec import structs
from search_depth import deep
from tariffs import cut

from crewgate.config import Config, MCPResourceConfig
from crewgate.core.mcp import tool_ids
from crewgate.core.policy import scope

URIS = {"docs": "file:///docs/*", "keys": "file:///docs/keys/*"}
PATTERNS = (
    "files.*", "files.read", "files.delete", "files.a.*", "files:prompts.*", "files:prompts.greet",
    "files:resources.docs", "files:resources.keys", "files:resources.*",
)  # fmt: skip
NAMES = {
    "tools": ("read", "Read", "delete", "a.b", "write", "read-all"),
    "prompts": ("greet", "Greet", "bye"),
    "resources": ("file:///docs/a", "file:///docs/keys/k", "http://x/y", "file:///docs//keys/z"),
    "resourceTemplates": ("file:///docs/{a}", "file:///docs/keys/{a}", "http://x/{y}"),
}
LISTS = {
    "tools": "tools/list",
    "prompts": "prompts/list",
    "resources": "resources/list",
    "resourceTemplates": "resources/templates/list",
}
CLASSES = {
    "file:///docs/a": "docs", "file:///docs/keys/k": "keys", "http://x/y": "other",
    "file:///docs/keys/{a}": "keys", "http://x/{y}": "other",
}  # fmt: skip


async def send(
    site: GatedGateway, token: str, message: dict[str, Any] | None, *, path: str = "/mcp/files"
) -> Any:
    """Post a message, or get the stream of a session."""
    fields = {} if message is None or "_meta" not in message["params"] else headers(message)
    fields["authorization"] = f"Bearer {token}"
    if message is None:
        return await site.client.get(path, headers=fields)
    return await site.client.post(path, content=encoded(message), headers=fields)


def _configure(config: Config) -> Config:
    resources = tuple(MCPResourceConfig(name, (uri,), 0) for name, uri in URIS.items())
    files, priced, *others = config.mcp
    files = structs.replace(files, resources=resources)
    priced = structs.replace(priced, refusals="result")
    return structs.replace(config, mcp=(files, priced, *others))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[GatedGateway]:
    allowed = ("files.*", "files:prompts.*", "files:resources.*", "priced.*")
    async with gated_gateway(tmp_path, _configure, allowed) as running:
        yield running


def _seen(response: Any, name: str) -> tuple[int, list[tuple[str, str]], str]:
    """A response without the name that its request had, and without what differs by chance."""
    text = response.text
    chance = response.headers.get("x-crewgate-request", "")
    fields = [
        (key, value.replace(name, "NAME"))
        for key, value in response.headers.multi_items()
        if key not in {"x-crewgate-request", "content-length", "date"}
    ]
    found = json.loads(text)
    problem = found.get("error", {}).get("data") or found["result"]["_meta"]["dev.crewgate/problem"]
    for member in ("instance", "request", "request_id"):
        chance = chance or str(problem.get(member, ""))
    for member in ("instance", "request", "request_id"):
        if problem.get(member):
            text = text.replace(str(problem[member]), "REQUEST")
    return response.status_code, fields, text.replace(name, "NAME")


@pytest.mark.parametrize("quota", [1_000_000, 1])
async def test_what_is_not_allowed_looks_like_what_does_not_exist(
    site: GatedGateway, quota: int
) -> None:
    """So it is with and without a price, rules or a tariff, and with all arguments."""
    token = site.token(["files.ping", "priced.ping"], credit_quota=quota)
    for write in (modern, legacy):
        for path, status, names in (
            ("/mcp/files", 403, ("delete", "write", "read", "ghost")),
            ("/mcp/priced", 200, ("ask", "scan", "ghost")),
        ):
            for arguments in ({}, {"path": "/etc", "copies": "many"}):
                answers = [
                    _seen(await send(site, token, message, path=path), name)
                    for name in names
                    for message in [write("tools/call", name=name, arguments=arguments)]
                ]
                assert answers == [answers[0]] * len(names)
                assert answers[0][0] == status
        refs = [{"type": "ref/prompt", "name": name} for name in ("greet", "ghost")]
        answers = [
            _seen(await send(site, token, write("completion/complete", ref=ref)), ref["name"])
            for ref in refs
        ]
        assert answers == [answers[0]] * 2


def _allows(kind: str, name: str, patterns: Sequence[str]) -> bool:
    if kind == "tools":
        ids = {tool_ids.tool_id("files", name)}
    elif kind == "prompts":
        ids = {tool_ids.prompt_id("files", name)}
    else:
        classes = {"docs", "keys"} if name == "file:///docs/{a}" else {CLASSES.get(name, "")}
        ids = {tool_ids.resource_id("files", each) for each in classes if each}
    return any(scope.matches(pattern, each) for pattern in patterns for each in ids)


def _entries(kind: str, patterns: Sequence[str], dice: random.Random) -> Iterator[dict[str, Any]]:
    """Yield entries of a list; those that are not allowed say so in all of their members."""
    key = "name" if kind in {"tools", "prompts"} else "uriTemplate" if "T" in kind else "uri"
    for name in dice.sample(NAMES[kind], dice.randint(0, len(NAMES[kind]))):
        mark = "SHOWN" if _allows(kind, name, patterns) else "HIDDEN"
        yield {key: name, "title": mark, "description": f"é{mark}", "_meta": {mark: mark}}


def _response(
    method: str, patterns: Sequence[str], dice: random.Random
) -> tuple[dict[str, Any], int]:
    """A result with what the caller may see, and may not; how often it may see something."""
    if method == "resources/read":
        contents = [
            {"uri": name, "text": "SHOWN" if _allows("resources", name, patterns) else "HIDDEN"}
            for name in NAMES["resources"]
        ]
        return {"contents": contents}, sum(each["text"] == "SHOWN" for each in contents)
    kind = next(kind for kind, listed in LISTS.items() if listed == method)
    entries = list(_entries(kind, patterns, dice))
    result = {kind: entries, "nextCursor": "HIDDEN-page", "others": "HIDDEN", "ttlMs": 10**9}
    return result, sum(each["title"] == "SHOWN" for each in entries)


async def test_no_policy_lets_a_response_show_more(site: GatedGateway) -> None:
    """Over lists, reads and streams of both revisions, as JSON or events, cut anywhere."""
    dice = random.Random(5)
    for _ in range(deep(60)):
        patterns = dice.sample(PATTERNS, dice.randint(1, 3))
        method = dice.choice([*LISTS.values(), "resources/read"])
        write, is_stream = dice.choice((modern, legacy)), dice.random() < 0.5
        params = {"uri": "file:///docs/a"} if method == "resources/read" else {}
        if params and not _allows("resources", params["uri"], patterns):
            continue
        result, count = _response(method, patterns, dice)
        is_session = write is legacy and is_stream and dice.random() < 0.5
        hidden = [uri for uri in NAMES["resources"] if not _allows("resources", uri, patterns)]
        updates = [
            {"jsonrpc": "2.0", "method": "notifications/resources/updated",
             "params": {"uri": uri, "title": "HIDDEN"}} for uri in hidden
        ]  # fmt: skip
        answer = {"jsonrpc": "2.0", "id": 1, "result": result}
        body = json.dumps(answer, ensure_ascii=dice.random() < 0.5).encode()
        kind = b"application/json"
        if is_stream:
            kind = b"text/event-stream"
            end = dice.choice((b"\n", b"\r\n", b"\r"))
            events = [*map(json.dumps, updates), body.decode()]
            body = b"".join(b"data: %b%b%b" % (text.encode(), end, end) for text in events)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nConnection: close\r\n\r\n" % kind
        site.answer = [head, *cut(body, [dice.randrange(10_000) for _ in range(4)])]
        token = site.token(patterns)
        response = await send(site, token, None if is_session else write(method, **params))
        assert response.status_code == 200, response.text
        shown = response.text + str(response.headers.multi_items())
        assert "HIDDEN" not in shown
        expected = count * (1 if method == "resources/read" else 4)
        assert shown.count("SHOWN") == expected
        await site.world.settled()
