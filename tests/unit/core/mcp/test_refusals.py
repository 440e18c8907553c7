"""MCP clients get JSON-RPC errors and results instead of problem documents."""

import json
from typing import Any

import pytest
from grant_builders import grant
from msgspec import structs

from crewgate.core import problem_types
from crewgate.core.mcp.methods import Revision
from crewgate.core.mcp.refusals import MCPProblemFormat
from crewgate.core.problem_types import PROBLEM_TYPES, ProblemType
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial

GRANT = grant(1, 50)
CALL = MCPProblemFormat(
    "mcp", b"/.well-known/x", "files.read", b'"a"', is_tool_call=True, revision=Revision.MODERN
)
LIST = structs.replace(CALL, is_tool_call=False)
UNREAD = structs.replace(LIST, message_id=b"", revision=None)


def _refused(
    form: MCPProblemFormat, kind: ProblemType, **how: bool
) -> tuple[int, dict[bytes, bytes], Any]:
    denial = Denial(Reason.TOOL_NOT_ALLOWED, GRANT)
    status, fields, body = form.refusal(kind, bytes(16), denial, authority=b"gw:1", **how)
    return status, dict(fields), json.loads(body)


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_on_a_tool_call(reason: Reason) -> None:
    """401 and 403 are for the client's program; the model reads the rest as a result."""
    kind = PROBLEM_TYPES[reason]
    status, fields, answer = _refused(CALL, kind)
    assert answer["id"] == "a"
    assert fields[b"content-type"] == b"application/json"
    if kind.token_error or kind.status == 401:
        assert status == kind.status
        assert answer["error"]["code"] == -31_000 - kind.status
        assert b"https://gw:1/.well-known/x" in fields[b"www-authenticate"]
    else:
        assert status == 200
        assert answer["result"]["isError"] is True
        assert kind.title in answer["result"]["content"][0]["text"]
        assert b"www-authenticate" not in fields


@pytest.mark.parametrize("form", [LIST, UNREAD], ids=["list", "unread"])
@pytest.mark.parametrize("reason", Reason)
def test_each_reason_on_other_messages(form: MCPProblemFormat, reason: Reason) -> None:
    """A JSON-RPC error with the status of the problem, and the id if that is known."""
    kind = PROBLEM_TYPES[reason]
    status, _, answer = _refused(form, kind)
    assert status == kind.status
    assert answer["id"] == ("a" if form is LIST else None)
    assert answer["error"]["data"]["type"] == kind.uri


def test_the_challenge_names_the_scope() -> None:
    """All that the operation needs, as MCP's authorization pages want."""
    _, fields, _ = _refused(CALL, PROBLEM_TYPES[Reason.TOOL_NOT_ALLOWED])
    assert b'scope="files.read"' in fields[b"www-authenticate"]


def test_a_tool_that_is_not_allowed_can_be_a_result() -> None:
    """Some clients end their session at 403."""
    form = structs.replace(CALL, form="result")
    status, fields, answer = _refused(form, PROBLEM_TYPES[Reason.TOOL_NOT_ALLOWED])
    assert (status, answer["result"]["isError"]) == (200, True)
    assert b"www-authenticate" not in fields


def test_problem_documents_on_request() -> None:
    """The form "http" is what every other tool gets."""
    form = structs.replace(CALL, form="http")
    status, fields, answer = _refused(form, PROBLEM_TYPES[Reason.CREDITS_EXHAUSTED])
    assert (status, fields[b"content-type"]) == (403, b"application/problem+json")
    assert answer["title"]


@pytest.mark.parametrize("form", [CALL, LIST], ids=["call", "list"])
def test_a_running_call_is_never_repeated(form: MCPProblemFormat) -> None:
    """A client that gets 401 or 403 sends its request again, and the tool would run twice."""
    kind = PROBLEM_TYPES[Reason.BRANCH_REVOKED]
    status, fields, _ = _refused(form, kind, is_running=True)
    assert status == 200
    assert b"www-authenticate" not in fields


def test_the_last_event_of_a_stream() -> None:
    """Its type is `message`, and it has no id, after which clients would reconnect."""
    event = CALL.event(problem_types.UPSTREAM_FAILED, bytes(16)) or b""
    lines = event.decode().split("\n")
    assert lines[0] == "event: message"
    assert lines[2:] == ["", ""]
    assert json.loads(lines[1].removeprefix("data: "))["result"]["isError"]
    assert UNREAD.event(problem_types.UPSTREAM_FAILED, bytes(16)) is None


def test_a_legacy_result_has_no_type() -> None:
    """The member came with the modern revision."""
    form = structs.replace(CALL, revision=Revision.LEGACY)
    _, _, answer = _refused(form, PROBLEM_TYPES[Reason.CREDITS_EXHAUSTED])
    assert "resultType" not in answer["result"]
