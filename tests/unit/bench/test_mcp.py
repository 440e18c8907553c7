"""The MCP server behind the gateways of a bench, and how a call of its tool is written."""

import json
from pathlib import Path

import pytest

from bench.hop import mcp_messages
from bench.hop.envoy import Demand
from bench.hop.envoy_mcp import configuration
from bench.hop.mcp_gateways import CONTEXTFORGE, missing, place_of
from bench.hop.mcp_messages import Answer, call, fields, succeeded
from bench.hop.mcp_server import LEGACY, MODERN, SESSION, TOOL, response


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("revision", [MODERN, LEGACY])
def test_a_call_has_its_size_and_gets_a_result(revision: str) -> None:
    """With the id of the request; only the modern revision repeats names in fields."""
    message = call(TOOL, revision)
    assert len(message) == mcp_messages.CALL_BYTES
    assert any(field.startswith("mcp-name") for field in fields(TOOL, revision)) is (
        revision == MODERN
    )
    body = body_of(response(b"POST", message))
    assert json.loads(body)["id"] == 1
    assert succeeded(Answer(200, "", body))
    assert not succeeded(Answer(403, "", body))
    assert not succeeded(Answer(200, "", b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000}}'))


def test_a_session_is_given_and_an_unknown_method_is_an_error() -> None:
    """A notification has no body, and there is no stream of the server's own."""
    opened = response(b"POST", b'{"jsonrpc":"2.0","id":"a","method":"initialize"}')
    assert f"mcp-session-id: {SESSION}".encode() in opened
    assert json.loads(body_of(opened))["id"] == "a"
    unknown = json.loads(body_of(response(b"POST", b'{"id":2,"method":"x"}')))
    assert unknown["error"]["code"] == -32601
    assert response(b"POST", b'{"method":"notifications/initialized"}').startswith(b"HTTP/1.1 202")
    assert response(b"GET", b"").startswith(b"HTTP/1.1 405")


def test_envoy_asks_for_method_tool_and_claim() -> None:
    """Of the message that its MCP filter has read, and of the token."""
    demand, pair = Demand("issuer", "audience", Path("jwks.json")), (Path("c"), Path("k"))
    made = configuration(1, demand, pair, "/mcp", 7001, (TOOL, "bench.search"))
    for value in ("tools/call", TOOL, "bench.search"):
        assert made.count(f'"exact": "{value}"') == 1
    names = ("jwt_authn", "filters.http.mcp", "filters.http.rbac", "filters.http.router")
    places = [made.index(f'"envoy.{name}"' if "." in name else name) for name in names]
    assert places == sorted(places)


def test_a_gateway_that_is_not_installed_has_its_reason(tmp_path: Path) -> None:
    """Each one of PyPI is looked for in an environment of its own."""
    assert "could not be installed" in missing(CONTEXTFORGE, tmp_path)
    program = place_of(CONTEXTFORGE, tmp_path) / "bin" / "mcpgateway"
    program.parent.mkdir(parents=True)
    program.touch()
    assert missing(CONTEXTFORGE, tmp_path) == ""
