"""No mutation of a request lets a server read another message than the one that was judged."""

import json
import random
from collections import Counter

import lenient_mcp_server
import pytest
from lenient_mcp_server import ABSENT
from mcp_mutations import Request, mutated, requests
from search_depth import deep

from crewgate.config import MCPConfig, MCPResourceConfig
from crewgate.core.mcp import message_rules
from crewgate.core.sealed_ids import CallIds, IdOwner, IdSealer
from crewgate.gateway.headers import rules
from crewgate.gateway.mcp.endpoint import MCPEndpoint, compile_endpoint
from crewgate.gateway.mcp.judged_message import JudgedMessage
from crewgate.gateway.mcp.judging import UnservedMessageError, judge

FIELDS = rules(
    carriers=(), allow=(), credential=None, reads_answer=True, repeated=message_rules.REPEATED
)
HEADERS = {
    b"mcp-method": "method",
    b"mcp-protocol-version": "version",
    b"mcp-session-id": "",
    b"last-event-id": "",
    b"content-encoding": "",
}
IDS = CallIds(IdSealer([bytes(32)]), IdOwner("article", bytes(16), "files"))


@pytest.fixture(scope="module")
def endpoint() -> MCPEndpoint:
    config = MCPConfig(
        "files",
        "/mcp/files",
        "tools",
        10,
        resources=(MCPResourceConfig("keys", ("file:///srv/keys/*",), 10),),
    )
    numbers = {"files": 0, "files:resources.keys": 1}
    return compile_endpoint(config, numbers, IdSealer([bytes(32)]), {})


def check(request: Request, judged: JudgedMessage) -> None:
    """Compare what was judged with all that a server could read in what it gets."""
    fields, _ = request
    sent = [*FIELDS.filter.kept(fields, b"token"), *judged.headers]
    texts = list(lenient_mcp_server.bodies(sent, judged.body))
    assert texts
    message = judged.message
    assert message is not None
    ours = {
        "method": message.method,
        "id": message.id_value,
        "name": message.name,
        "uri": message.uri,
        "taskId": message.task_id,
        "cursor": message.cursor,
        "version": message.protocol_version,
    }
    expected = {
        name: ABSENT if value is None else json.dumps(value) for name, value in ours.items()
    }
    if message.kind == "response":
        expected["method"] = ABSENT
    for text in texts:
        assert lenient_mcp_server.readings(text) == {
            name: {value} for name, value in expected.items()
        }
        assert not lenient_mcp_server.has_duplicates(text)
    for header, member in HEADERS.items():
        allowed = {ours[member]} if member and message.protocol_version else {ABSENT}
        if header == b"mcp-protocol-version" and message.protocol_version is None:
            allowed = {ABSENT, "2025-11-25"}
        assert lenient_mcp_server.header_readings(sent, header) <= allowed, header
    named = lenient_mcp_server.header_readings(sent, b"mcp-name")
    used = message_rules.named(message) if message.protocol_version else None
    assert named == {ABSENT if used is None else used}
    kinds = lenient_mcp_server.header_readings(sent, b"content-type")
    assert kinds == {"application/json"}
    assert lenient_mcp_server.header_readings(sent, b"x-crewgate-tool") == {judged.id}
    expected_id = {
        "tools/call": f"files.{message.name}",
        "prompts/get": f"files:prompts.{message.name}",
    }
    assert judged.id == expected_id.get(message.method, judged.id)


def test_a_server_reads_what_was_judged(endpoint: MCPEndpoint) -> None:
    """Or the request is refused; many mutations are harmless, and pass."""
    dice = random.Random(7)
    valid = requests()
    for request in valid:
        check(request, judge(endpoint, *request, IDS, None))
    ends = Counter[str]()
    for _ in range(deep(3000)):
        request = mutated(dice.choice(valid), dice)
        try:
            judged = judge(endpoint, *request, IDS, None)
        except UnservedMessageError:
            ends["refused"] += 1
            continue
        ends["judged"] += 1
        check(request, judged)
    print(dict(ends))
    assert min(ends["refused"], ends["judged"]) > 100
