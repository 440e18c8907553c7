"""Two MCP servers behind one path, as the official client sees them in both revisions."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from installation import is_listening, wait_until
from mcp_gateway import MCPGateway, mcp_gateway

from crewgate.demo.ports import reserve

# The same server twice, whose tools have the same names, and another one.
TABLES = """
[mcp.twin]
path = "/mcp/twin"
rewrite = "/mcp"
upstream = "everything"
price = "0.02"

[upstream.otters]
url = "http://127.0.0.1:{port}"

[mcp.otters]
path = "/mcp/otters"
rewrite = "/mcp"
upstream = "otters"
price = "0.03"

[mcp_group.team]
path = "/mcp/team"
servers = ["everything", "twin", "otters"]
"""
OTTERS = Path(__file__).parents[2] / "support" / "mcp_server.py"
MODES = ("auto", "legacy")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MCPGateway]:
    pytest.importorskip("mcp", reason="mcp is not installed")
    port = reserve()
    otters = subprocess.Popen([sys.executable, "-W", "ignore", str(OTTERS), str(port)])
    try:
        wait_until(lambda: is_listening(port))
        folder, tables = tmp_path_factory.mktemp("mcp"), TABLES.format(port=port)
        with mcp_gateway(folder, tables, ("everything.*", "twin.*", "otters.*")) as gateway:
            gateway.url = gateway.url.replace("/mcp/everything", "/mcp/team")
            yield gateway
    finally:
        otters.kill()
        otters.wait()


def session(
    gateway: MCPGateway, folder: Path, tools: str, steps: Callable[[Any], Any], mode: str
) -> None:
    """Take steps with the official client, whose branch may use `tools`."""
    from crewgate.mcp import client  # noqa: PLC0415 - it takes a second

    async def run() -> None:
        token = folder / "token"
        words = ("--crew", "article", "--role", "tester", "--tools", tools)
        token.write_text(gateway.premises.run("mint", *words, "--credits", "1").strip())
        async with client(token, gateway.url, ca=gateway.ca, mode=mode) as found:
            await steps(found)

    asyncio.run(run())


@pytest.mark.parametrize("mode", MODES)
def test_a_client_uses_the_tools_of_all_servers(
    gateway: MCPGateway, tmp_path: Path, mode: str
) -> None:
    """Each call is one of the endpoint that has the tool, at its price."""
    tools = "everything.add,everything.test_simple_text,twin.add,otters.*"
    names: list[str] = []
    texts: list[str] = []

    async def steps(client: Any) -> None:
        names.extend(tool.name for tool in (await client.list_tools()).tools)
        for name in ("everything__add", "twin__add"):
            result = await client.call_tool(name, {"a": 3, "b": 4})
            texts.append(result.content[0].text)
        result = await client.call_tool("count", {"things": "otters", "to": 2})
        texts.append(result.content[0].text)

    session(gateway, tmp_path, tools, steps, mode)
    assert sorted(names) == ["count", "everything__add", "test_simple_text", "twin__add"]
    assert texts == ['{\n  "sum": 7\n}', '{\n  "sum": 7\n}', "2 otters"]
    for tool, cost in (("everything.add", 10_000), ("twin.add", 20_000), ("otters.count", 30_000)):
        found = gateway.premises.ask("audit", "--tool", tool)
        assert found["calls"][-1]["cost_micro"] == cost


@pytest.mark.parametrize("mode", MODES)
def test_a_name_that_one_server_has_for_the_caller_stays(
    gateway: MCPGateway, tmp_path: Path, mode: str
) -> None:
    """Tools that only others may use change neither its list nor its calls."""

    async def steps(client: Any) -> None:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["add"]
        result = await client.call_tool("add", {"a": 1, "b": 1})
        assert "2" in result.content[0].text

    session(gateway, tmp_path, "twin.add", steps, mode)
