"""MCP over streamable HTTP: the SDKs for Python and TypeScript; each request reads a token file."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from client_gateway import ClientWorld
from documents import ROOT, blocks
from npm_programs import needs_npm, run_module


@pytest.fixture
def mcp() -> Any:
    """The package, which takes a second to import."""
    return pytest.importorskip("mcp", reason="mcp is not installed")


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_tool_that_reports_on_its_way(
    mode: str, world: ClientWorld, mcp: Any, otters: str, tmp_path: Path
) -> None:
    """With a session, and with the newest version of the protocol that both know.

    A call without a token fails alone: the session can go on when there is a token again.
    """
    from crewgate.mcp import client  # noqa: PLC0415 - it takes a second as well

    file = tmp_path / "token"
    file.write_text(world.token)
    told: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(done)

    async def run() -> None:
        wanted = {"things": "otters", "to": 3}
        async with client(file, otters, ca=world.ca, mode=mode) as session:
            assert [tool.name for tool in (await session.list_tools()).tools] == ["count"]
            answer = await session.call_tool("count", wanted, progress_callback=progress)
            assert answer.content[0].text == "3 otters"
            file.unlink()
            with pytest.raises(mcp.MCPError, match=r"did not send the call: .*token file"):
                await session.call_tool("count", wanted)
            file.write_text(world.token)
            answer = await session.call_tool("count", wanted)
            assert answer.content[0].text == "3 otters"

    asyncio.run(run())
    assert sorted(told) == [1, 2, 3]


@needs_npm
def test_the_recipe_for_typescript(world: ClientWorld, otters: str, tmp_path: Path) -> None:
    """As the page has it: it lists the tools, and says why the gateway refuses a token."""
    page = (ROOT / "docs" / "how-to" / "connect-clients.md").read_text()
    (recipe,) = (block.content for block in blocks(page) if block.language == "js")
    file = tmp_path / "writer.token"
    url = "https://localhost:8443/mcp/otters"
    for shown, real in (("/run/crew/writer.token", str(file)), (url, otters)):
        assert recipe.count(shown) == 1
        recipe = recipe.replace(shown, real)

    def run(token: str) -> subprocess.CompletedProcess[str]:
        file.write_text(token)
        trust = {"NODE_EXTRA_CA_CERTS": str(world.ca)}
        return run_module(recipe, folder=tmp_path, environment=trust)

    good, bad = run(world.token), run(f"{world.token[:-4]}AAAA")
    assert (good.returncode, good.stdout) == (0, "[ 'count' ]\n"), good.stderr
    assert bad.returncode
    assert "invalid-token" in bad.stderr
