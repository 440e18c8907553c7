"""Runs MCP clients through a gateway: each client writes one line for each step.

The steps: list the tools; call one; call one whose stream the server closes; call one that the
token does not allow, and one that the server does not have; call without credits; present a renewed
token; have the branch revoked in the middle of a stream; call after that; call again with a token
of another branch.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from mcp_gateway import MCPGateway
from npm_programs import BIN, MODULES

SCRIPT = Path(__file__).with_name("mcp_clients.mjs")
SECONDS = 60.0  # a hang, not a slow machine
Steps = dict[str, dict[str, Any]]


class Tokens:
    """The tokens of one run, of three branches."""

    def __init__(self, gateway: MCPGateway) -> None:
        tools = [f"everything.{name}" for name in ("add", "hold", "test_reconnection")]
        self.narrow = gateway.start("10", tools).token()
        self.poor = gateway.start("0.01", tools).token()
        self._doomed = gateway.start("10", tools)
        self._orchestrator = gateway.orchestrator
        self.first = self._doomed.token()
        self.renewed = self._orchestrator.refresh(self._doomed)

    def texts(self) -> dict[str, str]:
        """All tokens, by their names."""
        return {name: token for name, token in vars(self).items() if not name.startswith("_")}

    def revoke(self) -> None:
        """End the branch of `first` and `renewed`."""
        self._orchestrator.revoke(self._doomed)


def run_typescript(gateway: MCPGateway, package: str, mode: str, folder: Path) -> Steps:
    """Let a TypeScript client take all steps; `mode` is how it finds the revision."""
    tokens = Tokens(gateway)
    script = folder / "client.mjs"
    script.write_text(SCRIPT.read_text())
    (folder / "node_modules").symlink_to(MODULES)
    variables = {"TOKENS": json.dumps(tokens.texts()), "NODE_EXTRA_CA_CERTS": str(gateway.ca)}
    steps: Steps = {}
    with subprocess.Popen(
        [str(BIN / "node"), str(script), package, mode, gateway.url],
        stdout=subprocess.PIPE,
        env=os.environ | variables,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            step = json.loads(line)
            name = step.pop("step")
            if name == "progress":
                tokens.revoke()
            else:
                steps[name] = step
        assert process.wait(SECONDS) == 0
    return steps


def run_python(gateway: MCPGateway, mode: str) -> Steps:
    """Let the Python client take all steps."""
    return asyncio.run(_run_python(gateway, mode, Tokens(gateway)))


async def _run_python(gateway: MCPGateway, mode: str, tokens: Tokens) -> Steps:
    import mcp  # noqa: PLC0415 - it takes a second
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415

    steps: Steps = {}

    async def see(step: str, work: Any, read: Callable[[Any], Any]) -> None:
        try:
            steps[step] = read(await asyncio.wait_for(work, SECONDS))
        except mcp.MCPError as error:
            found = error.error
            steps[step] = {"error": "MCPError", "code": found.code, "text": found.message}

    def listed(found: Any) -> dict[str, Any]:
        return {"text": ",".join(sorted(tool.name for tool in found.tools))}

    def result(found: Any) -> dict[str, Any]:
        return {"isError": found.is_error, "text": ",".join(each.text for each in found.content)}

    def opened(token: str) -> tuple[httpx2.AsyncClient, Any]:
        http = httpx2.AsyncClient(
            headers={"authorization": f"Bearer {token}"},
            verify=gateway.trust(),
            trust_env=False,
            timeout=SECONDS,
        )
        return http, mcp.Client(streamable_http_client(gateway.url, http_client=http), mode=mode)

    both = {"a": 1, "b": 2}
    http, client = opened(tokens.narrow)
    async with http, client:
        await see("list", client.list_tools(), listed)
        await see("call", client.call_tool("add", both), result)
        await see("resumed", client.call_tool("test_reconnection", {}), result)
        await see("not allowed", client.call_tool("test_simple_text", {}), result)
        await see("unknown", client.call_tool("no_such_tool", {}), result)
    http, client = opened(tokens.poor)
    async with http, client:
        await client.call_tool("add", both)
        await see("exhausted", client.call_tool("add", both), result)
    http, client = opened(tokens.first)
    async with http, client:
        http.headers["authorization"] = f"Bearer {tokens.renewed}"
        await see("renewed token", client.call_tool("add", both), result)
        begun = asyncio.Event()

        async def progress(*_: object) -> None:
            begun.set()

        held = client.call_tool("hold", {"seconds": 30}, progress_callback=progress)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(see("revoked", held, result))
            await asyncio.wait_for(begun.wait(), SECONDS)
            await asyncio.to_thread(tokens.revoke)
        await see("after", client.call_tool("add", both), result)
        http.headers["authorization"] = f"Bearer {tokens.narrow}"
        await see("other branch", client.call_tool("add", both), result)
    return steps
