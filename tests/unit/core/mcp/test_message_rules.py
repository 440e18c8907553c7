"""The rules of MCP messages: which revision one has, and which headers belong to it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_messages import encoded, headers, legacy, modern

from crewgate._native.json_rpc import read_message
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp import message_rules
from crewgate.core.mcp.methods import LEGACY_VERSIONS, Revision
from crewgate.core.mcp.rpc_errors import RefusedMessageError, RPCError


def _pairs(fields: dict[str, str]) -> list[HeaderField]:
    return [(name.encode(), value.encode()) for name, value in fields.items()]


def _code(message: dict[str, Any], fields: list[HeaderField], **how: bool) -> int:
    """The code of the error that a message gets; 0 for none."""
    error = _error(message, fields, **how)
    return 0 if error is None else error.code


def _error(message: dict[str, Any], fields: list[HeaderField], **how: bool) -> RPCError | None:
    read = read_message(encoded(message))
    try:
        version = message_rules.single(fields, message_rules.VERSION)
        revision = message_rules.revision_of(read, version)
        message_rules.check(read, fields, revision, **how)
    except RefusedMessageError as error:
        return error.error
    return None


CALL = modern("tools/call", name="read")


@pytest.mark.parametrize(
    ("message", "fields", "revision"),
    [
        (CALL, None, Revision.MODERN),
        (legacy("tools/call", name="read"), None, Revision.LEGACY),
        (legacy("initialize", protocolVersion="2025-11-25"), None, Revision.LEGACY),
        (legacy("tools/list"), b"2025-06-18", Revision.LEGACY),
    ],
)
def test_the_body_says_the_revision(
    message: dict[str, Any], fields: bytes | None, revision: Revision
) -> None:
    """A modern message names its version in `_meta`."""
    assert message_rules.revision_of(read_message(encoded(message)), fields) is revision


def test_a_modern_header_needs_a_modern_body() -> None:
    """Such a request is half of each revision."""
    fields = [(b"mcp-protocol-version", b"2026-07-28")]
    assert _code(legacy("tools/list"), fields) == -32602


@pytest.mark.parametrize("version", ["2027-01-01", "2026-07-29", "latest", "2024-01-01"])
def test_a_version_that_the_gateway_does_not_know_is_refused(version: str) -> None:
    """Its rules may differ from those that the gateway checks."""
    assert _code(legacy("tools/list"), [(b"mcp-protocol-version", version.encode())]) == -32022
    meta = {"io.modelcontextprotocol/protocolVersion": version}
    message = modern("tools/list", meta=meta)
    fields = _pairs(headers(message, mcp_protocol_version=version))
    assert _code(message, fields) == -32022


@pytest.mark.parametrize("name", ["mcp-method", "mcp-name", "mcp-protocol-version"])
def test_a_header_that_comes_twice_is_refused(name: str) -> None:
    """Servers differ in which of the two they read."""
    fields = _pairs(headers(CALL))
    assert _code(CALL, fields) == 0
    assert _code(CALL, [*fields, (name.encode(), dict(fields)[name.encode()])]) == -32020


@pytest.mark.parametrize("value", ["=?base64?cmVhZA==?=", "read"])
def test_a_name_may_be_in_base64(value: str) -> None:
    """A client may encode a name that needs no encoding."""
    assert _code(CALL, _pairs(headers(CALL, mcp_name=value))) == 0


@pytest.mark.parametrize(
    "value",
    [
        "=?base64?cmVhZA?=",  # without padding
        "=?base64?cmVhZB==?=",  # with bits that do not count
        "=?BASE64?cmVhZA==?=",
        "=?base64?cm VhZA==?=",
        "=?base64??=",
        "READ",
        "read ",
    ],
)
def test_another_form_of_a_name_is_refused(value: str) -> None:
    """A server may decode what is not canonical to another name."""
    fields = [(name, each) for name, each in _pairs(headers(CALL)) if name != b"mcp-name"]
    raw = value.encode()
    code = _code(CALL, [*fields, (b"mcp-name", raw)])
    assert code == (0 if raw.strip() == b"read" else -32020)


def test_a_method_without_a_name_has_no_such_header() -> None:
    """A server that reads headers only would take it for another call."""
    message = modern("tools/list")
    assert _code(message, _pairs(headers(message, mcp_name="read"))) == -32020


@pytest.mark.parametrize("method", ["resources/subscribe", "tasks/result", "x/search"])
def test_a_method_of_no_modern_client_needs_no_name(method: str) -> None:
    """The server of the method then answers that it has no such method."""
    message = modern(method)
    assert _code(message, _pairs(headers(message))) == 0
    assert _code(message, _pairs(headers(message, mcp_name="read"))) == 0


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_only_a_client_with_the_extension_has_tasks(method: str) -> None:
    """Another one gets this error for each task, whether it exists or not."""
    capabilities = {"extensions": {message_rules.TASKS: {}}}
    for meta, code in (({}, -32021), ({message_rules.CAPABILITIES: capabilities}, 0)):
        message = modern(method, taskId="a", meta=meta)
        assert _code(message, _pairs(headers(message))) == code


def test_a_version_error_names_versions_of_the_same_revision() -> None:
    """`server/discover` names no older ones either: clients find them with `initialize`."""
    for version, supported in ((b"2099-01-01", ["2026-07-28"]), (b"2024", [*LEGACY_VERSIONS])):
        error = _error(legacy("tools/list"), [(b"mcp-protocol-version", version)])
        assert error is not None
        assert error.data["supported"] == supported


def test_discovery_may_be_lenient() -> None:
    """Some clients send headers of another version with their first request."""
    message = modern("server/discover")
    fields = _pairs(headers(message, mcp_protocol_version="2025-11-25"))
    assert _code(message, fields) == -32020
    assert _code(message, fields, is_lenient=True) == 0
    call = _pairs(headers(CALL, mcp_protocol_version="2025-11-25"))
    assert _code(CALL, call, is_lenient=True) == -32020


def test_capabilities_are_required() -> None:
    """As in the schema of the revision."""
    message = modern("tools/list")
    del message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    assert _code(message, _pairs(headers(message))) == -32602


@given(name=st.text(min_size=1, max_size=20).filter(lambda text: "\x00" not in text))
def test_canonical_headers_agree_with_the_body(name: str) -> None:
    """The headers that the gateway writes pass its own check, for each name."""
    message = read_message(encoded(modern("prompts/get", name=name)))
    written = message_rules.canonical_headers(message, None)
    message_rules.check(message, written, Revision.MODERN)
    assert all(value.isascii() and value.strip() == value for _, value in written)


def test_a_body_that_servers_could_decode_is_refused() -> None:
    """In both revisions; the headers for the server say that it is JSON."""
    for message in (CALL, legacy("tools/call", name="read")):
        fields = _pairs(headers(message)) if message is CALL else []
        assert _code(message, fields) == 0
        error = _error(message, [*fields, (b"content-encoding", b"deflate")])
        assert error is not None
        assert (error.code, error.status) == (-32600, 415)
        read = read_message(encoded(message))
        sent = dict(message_rules.canonical_headers(read, None))
        assert sent[b"content-type"] == b"application/json"
