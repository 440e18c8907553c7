"""Completions: of prompts and resources that the caller may use, and of templates of resources."""

import pytest
from mcp_messages import encoded, headers, modern

from crewgate.config import MCPConfig, MCPResourceConfig
from crewgate.core.sealed_ids import CallIds, IdOwner, IdSealer
from crewgate.gateway.mcp.endpoint import MCPEndpoint, compile_endpoint
from crewgate.gateway.mcp.judged_message import JudgedMessage
from crewgate.gateway.mcp.judging import UnservedMessageError, judge

SEALER = IdSealer([bytes(32)])
CLASSES = {"docs": "file:///docs/*", "keys": "file:///docs/keys/*"}


@pytest.fixture(scope="module")
def endpoint() -> MCPEndpoint:
    resources = tuple(MCPResourceConfig(name, (uri,), 0) for name, uri in CLASSES.items())
    config = MCPConfig("files", "/mcp/files", "tools", 10, resources=resources)
    numbers = {"files": 0} | {f"files:resources.{name}": 1 for name in CLASSES}
    return compile_endpoint(config, numbers, SEALER, {})


def judged(endpoint: MCPEndpoint, ref: dict[str, str]) -> JudgedMessage:
    message = modern("completion/complete", ref=ref, argument={"name": "a", "value": "b"})
    fields = [(name.encode(), value.encode()) for name, value in headers(message).items()]
    ids = CallIds(SEALER, IdOwner("article", bytes(16), "files"))
    return judge(endpoint, fields, encoded(message), ids, None)


@pytest.mark.parametrize(
    ("uri", "classes"),
    [
        ("file:///docs/a", {"docs"}),
        ("file:///docs/keys/{name}", {"keys"}),
        ("file:///docs/{name}", {"docs", "keys"}),
        ("{+uri}", {"docs", "keys", "other"}),
    ],
)
def test_a_template_needs_all_classes_of_its_uris(
    endpoint: MCPEndpoint, uri: str, classes: set[str]
) -> None:
    """A completion can show the URI of any of them."""
    found = judged(endpoint, {"type": "ref/resource", "uri": uri})
    assert {found.id, *found.also} == {f"files:resources.{name}" for name in classes}
    assert found.price == 0


def test_a_prompt_needs_itself_only(endpoint: MCPEndpoint) -> None:
    found = judged(endpoint, {"type": "ref/prompt", "name": "greet"})
    assert (found.id, found.also) == ("files:prompts.greet", ())


@pytest.mark.parametrize("uri", ["", "file:///docs/../docs/{a}", "no uri{a}"])
def test_a_template_that_servers_read_differently_is_refused(
    endpoint: MCPEndpoint, uri: str
) -> None:
    with pytest.raises(UnservedMessageError):
        judged(endpoint, {"type": "ref/resource", "uri": uri})
