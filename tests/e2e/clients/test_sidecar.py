"""Clients behind the sidecar of a sub-agent: they know a socket and a URL, and no credential."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from client_gateway import PAGE, UPLOAD, ClientWorld

from crewgate.issuer import Orchestrator, SubAgent

CLIENTS = Path(__file__).parents[2] / "support" / "sidecar_clients.py"
NODE = """
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
const { CREWGATE_SOCKET: socketPath, CREWGATE_GATEWAY: url } = process.env;
const text = async (stream) => {
  let all = "";
  for await (const piece of stream.setEncoding("utf8")) all += piece;
  return all;
};
// The fetch of Node is undici's; it shows its class of dispatchers only here, once it is loaded.
await fetch("data:,");
const { constructor: Agent } = globalThis[Symbol.for("undici.globalDispatcher.1")];
const dispatcher = new Agent({ connect: { socketPath } });
const page = await (await fetch(`${url}/page`, { dispatcher })).text();
const first = await new Promise((resolve, reject) => {
  const headers = { authorization: "Bearer mine" };
  const request = http.request(`${url}/upload`, { socketPath, method: "POST", headers }, resolve);
  request.on("error", reject).end(Buffer.alloc(1048576));
});
const session = http2.connect(url, { createConnection: () => net.connect(socketPath) });
const stream = session.request({ ":path": "/events" }).end();
let trailers = {};
stream.on("trailers", (fields) => { trailers = { ...fields }; });
const events = await text(stream);
const uploaded = JSON.parse(await text(first)).bytes;
session.close();
await dispatcher.close();
console.log(JSON.stringify([page, uploaded, events, trailers["x-sum"]]));
"""
CURL = (
    'curl -s --unix-socket "$CREWGATE_SOCKET" "$CREWGATE_GATEWAY/page" -o /dev/null '
    '-w "%{http_code} %{http_version} "'
)


def printed(world: ClientWorld, folder: Path, *command: str) -> str:
    """What a program prints that a sidecar runs."""
    with Orchestrator.from_config(world.premises.file, crew="article", name="sub") as orchestrator:
        run = orchestrator.start_run(credits="10", tools=["client.*", "otters.*"])
        return output(run, folder, *command)


def output(run: SubAgent, folder: Path, *command: str) -> str:
    """Run a program as a sub-agent of `run` to its end, and return what it prints."""
    path = folder / "out"
    shell = ["sh", "-c", f'exec "$@" >{path}', "sh", *command]
    agent = run.spawn(role="tester", tools=["client.*", "otters.*"], credits="5", command=shell)
    assert agent.process is not None
    assert agent.process.wait(120) == 0
    return path.read_text()


def test_clients_of_python(
    world: ClientWorld, otters: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages, uploads and streams; MCP and gRPC; and two SDKs that insist on a key of their own."""
    monkeypatch.setenv("PYTHONPATH", str(CLIENTS.parent))
    found = json.loads(printed(world, tmp_path, sys.executable, str(CLIENTS)))
    answer = ["bytes", "sha256"]
    assert found == {
        "httpx over HTTP/1.1": "HTTP/1.1 200",
        "httpx over HTTP/2": "HTTP/2 200",
        "httpx2": len(UPLOAD),
        "aiohttp": len(UPLOAD),
        "requests": len(UPLOAD),
        "openai": answer,
        "anthropic": answer,
        "mcp": "1 otters",
        "grpc": "tester",
    }


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_clients_of_node(world: ClientWorld, tmp_path: Path) -> None:
    """Fetch (undici), and its own clients of HTTP/1.1 and HTTP/2; trailers pass."""
    program = tmp_path / "calls.mjs"
    program.write_text(NODE)
    page, uploaded, events, total = json.loads(printed(world, tmp_path, "node", str(program)))
    assert page.encode() == PAGE
    assert uploaded == len(UPLOAD)
    assert events.count("data:") == 3
    assert total == "3"


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl(world: ClientWorld, tmp_path: Path) -> None:
    """In both versions of HTTP."""
    both = f"{CURL}; {CURL} --http2-prior-knowledge"
    assert printed(world, tmp_path, "sh", "-c", both).split() == ["200", "1.1", "200", "2"]
