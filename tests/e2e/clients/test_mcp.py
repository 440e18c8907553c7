"""MCP: its own client and server, streamable HTTP on httpx2; each request presents a token file."""

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2
import pytest
from client_gateway import ClientWorld
from installation import wait_until

from crewgate.issuer.httpx2_auth import TokenAuth

SERVER = Path(__file__).parents[2] / "support" / "mcp_server.py"


@pytest.fixture
def mcp() -> Any:
    """The package, which takes a second to import."""
    return pytest.importorskip("mcp", reason="mcp is not installed")


@pytest.fixture
def address(world: ClientWorld, mcp: Any) -> Iterator[str]:
    """Where the gateway has a server."""
    process = subprocess.Popen([sys.executable, SERVER, str(world.mcp)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(world.mcp))
        yield f"{world.url}/mcp"
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_tool_that_reports_on_its_way(
    mode: str, world: ClientWorld, mcp: Any, address: str, tmp_path: Path
) -> None:
    """With a session, and with the newest version of the protocol that both know."""
    file = tmp_path / "token"
    file.write_text(world.token)
    connect = import_module("mcp.client.streamable_http").streamable_http_client
    told: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(done)

    async def run() -> None:
        trust = ssl.create_default_context(cafile=str(world.ca))
        auth = TokenAuth(file)
        async with (
            httpx2.AsyncClient(auth=auth, verify=trust, trust_env=False) as http,
            mcp.Client(connect(address, http_client=http), mode=mode) as client,
        ):
            assert [tool.name for tool in (await client.list_tools()).tools] == ["count"]
            wanted = {"things": "otters", "to": 3}
            answer = await client.call_tool("count", wanted, progress_callback=progress)
            assert answer.content[0].text == "3 otters"

    asyncio.run(run())
    assert sorted(told) == [1, 2, 3]
