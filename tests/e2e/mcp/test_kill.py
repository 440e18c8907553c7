"""A revocation reaches what an MCP server still does for the branch, and a hang-up what it should.

The server is the official SDK's, in both revisions.
"""

import json
from typing import Any

import httpx
import pytest
from installation import wait_until
from mcp_gateway import MCPGateway
from mcp_messages import LEGACY, encoded, headers, legacy, modern

from crewgate.core.ids import branch_key
from crewgate.core.sealed_ids import IdKind, IdOwner, IdSealer
from crewgate.issuer import SubAgent
from crewgate.runtime.sealing_key_file import read_sealing_keys

TASKS = {"io.modelcontextprotocol/clientCapabilities": {
    "extensions": {"io.modelcontextprotocol/tasks": {}}
}}  # fmt: skip
_COMMON = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
}


def client(gateway: MCPGateway, run: SubAgent) -> httpx.Client:
    authorization = {"authorization": f"Bearer {run.token()}"}
    return httpx.Client(verify=gateway.trust(), headers=authorization | _COMMON, timeout=60)


def post(gateway: MCPGateway, run: SubAgent, message: dict[str, Any], **fields: str) -> Any:
    """One answer, from JSON or the last event of a stream."""
    is_modern = "_meta" in message["params"]
    known = headers(message) if is_modern else {}
    with client(gateway, run) as http:
        answer = http.post(gateway.url, content=encoded(message), headers={**known, **fields})
    text = answer.text.rpartition("data: ")[2]
    return answer, json.loads(text) if text.strip() else None


def begin_task(gateway: MCPGateway, run: SubAgent) -> str:
    call = modern("tools/call", name="slow_compute", arguments={"seconds": 600}, meta=TASKS)
    found: str = post(gateway, run, call)[1]["result"]["taskId"]
    return found


def state_of(gateway: MCPGateway, run: SubAgent, task: str) -> Any:
    return post(gateway, run, modern("tasks/get", taskId=task, meta=TASKS))[1]


def held(gateway: MCPGateway) -> list[str | None]:
    """How the calls of the tool `hold` have ended at the server."""
    requests = gateway.everything.observed()["requests"]
    return [each["ended"] for each in requests if each["target"] == "hold"]


def test_a_task_and_a_stream_end_with_their_branch(gateway: MCPGateway) -> None:
    """The client reads why its stream ended. The task of another branch goes on."""
    run, other = gateway.start(), gateway.start()
    before = gateway.everything.observed()["tasks"]
    task, others = begin_task(gateway, run), begin_task(gateway, other)
    assert state_of(gateway, run, task)["result"]["status"] == "working"
    assert state_of(gateway, other, task)["error"]["message"] == "The task does not exist."
    call = modern("tools/call", name="hold", arguments={"seconds": 600})
    call["params"]["_meta"]["progressToken"] = "p"
    count = len(held(gateway))
    with client(gateway, run) as http:
        stream = http.stream("POST", gateway.url, content=encoded(call), headers=headers(call))
        with stream as answer:
            lines = answer.iter_lines()
            assert any("notifications/progress" in line for line in lines)
            gateway.orchestrator.revoke(run)
            last = [line for line in lines if line.startswith("data: ")][-1]
    assert "branch-revoked" in last

    def is_cancelled() -> bool:
        tasks = gateway.everything.observed()["tasks"]
        states = [tasks[name] for name in tasks if name not in before]
        return states == ["cancelled", "working"] and held(gateway)[count] == "cancelled"

    wait_until(is_cancelled)
    assert state_of(gateway, other, others)["result"]["status"] == "working"
    gateway.orchestrator.revoke(other)


def begin_session(gateway: MCPGateway, run: SubAgent) -> dict[str, str]:
    """The header fields of a legacy session."""
    info = {"protocolVersion": LEGACY, "capabilities": {}}
    info["clientInfo"] = {"name": "test", "version": "1"}  # type: ignore[assignment]
    answer, _ = post(gateway, run, legacy("initialize", **info))
    session = {"mcp-session-id": answer.headers["mcp-session-id"]}
    ready = legacy("notifications/initialized")
    del ready["id"]
    post(gateway, run, ready, **session)
    return session | {"mcp-protocol-version": LEGACY}


def test_a_session_ends_with_its_branch(gateway: MCPGateway) -> None:
    """The server knows it no more; before, only its branch could use it."""
    run, other = gateway.start(), gateway.start()
    session = begin_session(gateway, run)
    assert post(gateway, run, legacy("ping"), **session)[0].status_code == 200
    assert post(gateway, other, legacy("ping"), **session)[0].status_code == 404
    sealer = IdSealer(read_sealing_keys(gateway.premises.folder / "state" / "sealing.keys"))
    owner = IdOwner("article", branch_key("article", run.branch), "everything")
    plain = sealer.open(session["mcp-session-id"], IdKind.MCP_SESSION, owner)
    direct = {**_COMMON, **session, "mcp-session-id": plain}

    def at_server() -> int:
        url = gateway.everything.url
        return httpx.post(url, content=encoded(legacy("ping")), headers=direct).status_code

    assert at_server() == 200
    gateway.orchestrator.revoke(run)
    wait_until(lambda: at_server() == 404)


@pytest.mark.parametrize(("revision", "end"), [("modern", "cancelled"), ("legacy", "answered")])
def test_a_hang_up_cancels_in_its_revision(gateway: MCPGateway, revision: str, end: str) -> None:
    """2026-07-28: closing the stream cancels the call. 2025-11-25: the call goes on."""
    run, count = gateway.start(), len(held(gateway))
    fields: dict[str, str] = {}
    if revision == "modern":
        call = modern("tools/call", name="hold", arguments={"seconds": 1})
        call["params"]["_meta"]["progressToken"] = "p"
        fields = headers(call)
    else:
        fields = begin_session(gateway, run)
        call = legacy("tools/call", name="hold", arguments={"seconds": 1})
        call["params"]["_meta"] = {"progressToken": "p"}

    with client(gateway, run) as http:
        stream = http.stream("POST", gateway.url, content=encoded(call), headers=fields)
        with stream as answer:
            assert any("notifications/progress" in line for line in answer.iter_lines())
    wait_until(lambda: held(gateway)[count] is not None)
    assert held(gateway)[count] == end
