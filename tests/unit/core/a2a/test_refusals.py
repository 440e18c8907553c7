"""Clients of each binding read the gateway's refusals with the official SDK's own means."""

import base64
import json
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2
from grant_builders import grant

from crewgate.core.a2a.errors import TASK_NOT_FOUND, VERSION_NOT_SUPPORTED, A2AError
from crewgate.core.a2a.methods import Binding
from crewgate.core.a2a.refusals import A2AProblemFormat
from crewgate.core.problem_types import PROBLEM_TYPES
from crewgate.core.problems import RefusalResponse
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial

ID = bytes(15) + b"\1"
PATH = b"/.well-known/oauth-protected-resource/a2a"


def form(binding: Binding, **options: Any) -> A2AProblemFormat:
    """The format of a request."""
    settings: dict[str, Any] = {"message_id": b'"m-1"', **options}
    return A2AProblemFormat("a2a", PATH, "research.SendMessage", binding, **settings)


def refused(reason: Reason, binding: Binding, **options: Any) -> RefusalResponse:
    """The refusal of a request for a reason of the gate."""
    kind, denial = PROBLEM_TYPES[reason], Denial(reason, grant(1, 5))
    return form(binding).refusal(kind, ID, denial, authority=b"gateway.example", **options)


def status_of(response: RefusalResponse) -> status_pb2.Status:
    """The status in the trailers of a gRPC response."""
    text = dict(response.fields)[b"grpc-status-details-bin"]
    return status_pb2.Status.FromString(base64.b64decode(text + b"=" * (-len(text) % 4)))


@pytest.mark.parametrize("binding", [Binding.JSONRPC, Binding.HTTP_JSON])
def test_a_method_that_the_token_does_not_allow_is_a_challenge(binding: Binding) -> None:
    """Its status and its scope say what the client lacks."""
    response = refused(Reason.TOOL_NOT_ALLOWED, binding)
    assert response.status == 403
    challenge = dict(response.fields)[b"www-authenticate"]
    assert b'scope="research.SendMessage"' in challenge
    assert b'resource_metadata="https://gateway.example' + PATH in challenge


def test_a_request_without_a_token_is_asked_for_one() -> None:
    """As one with a bad token, which clients may replace; JSON-RPC has the status too."""
    for reason, error in ((Reason.MISSING_TOKEN, b""), (Reason.TOKEN_EXPIRED, b"invalid_token")):
        response = refused(reason, Binding.JSONRPC)
        assert (response.status, json.loads(response.body)["id"]) == (401, "m-1")
        assert error in dict(response.fields)[b"www-authenticate"]


def test_json_rpc_clients_read_why_a_call_is_refused() -> None:
    """They read the body of the status 200 only, with the id of their request."""
    response = refused(Reason.CREDITS_EXHAUSTED, Binding.JSONRPC)
    body = json.loads(response.body)
    assert (response.status, body["id"]) == (200, "m-1")
    assert body["error"]["code"] == -31403
    (info,) = body["error"]["data"]
    assert (info["reason"], info["domain"]) == ("CREDITS_EXHAUSTED", "crewgate.dev")
    assert info["metadata"]["status"] == "403"


def test_http_json_clients_get_a_status() -> None:
    """It has the status of the problem, which is that of the response too."""
    response = refused(Reason.CREDITS_EXHAUSTED, Binding.HTTP_JSON)
    error = json.loads(response.body)["error"]
    assert (response.status, error["code"], error["status"]) == (403, 403, "RESOURCE_EXHAUSTED")
    assert dict(response.fields)[b"content-type"] == b"application/a2a+json"


def test_grpc_clients_get_a_status_in_the_trailers() -> None:
    """Errors of A2A have the domain of A2A."""
    problem = refused(Reason.CREDITS_EXHAUSTED, Binding.GRPC)
    assert (problem.status, dict(problem.fields)[b"grpc-status"]) == (200, b"8")
    response = form(Binding.GRPC).error(A2AError(TASK_NOT_FOUND))
    status, info = status_of(response), error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, info.reason, info.domain) == (5, "TASK_NOT_FOUND", "a2a-protocol.org")
    assert dict(response.fields)[b"content-type"] == b"application/grpc"


def test_an_error_of_the_protocol_has_the_form_of_its_binding() -> None:
    """Code, status and reason are those of A2A 1.0, section 5.4."""
    error = A2AError(VERSION_NOT_SUPPORTED, "why", {"supportedVersions": "1.0"})
    response = form(Binding.JSONRPC).error(error)
    body = json.loads(response.body)
    assert (response.status, body["error"]["code"]) == (200, -32009)
    assert body["error"]["message"] == "Version not supported: why"
    response = form(Binding.HTTP_JSON).error(error)
    details = json.loads(response.body)["error"]["details"]
    assert (response.status, details[0]["reason"]) == (400, "VERSION_NOT_SUPPORTED")
    assert details[0]["metadata"] == {"supportedVersions": "1.0"}
    assert json.loads(form(Binding.JSONRPC, message_id=b"").error(error).body)["id"] is None


def test_a_running_call_that_ends_invites_no_repetition() -> None:
    """A client of JSON-RPC gets an error of its request, and no challenge."""
    response = refused(Reason.BRANCH_REVOKED, Binding.JSONRPC, is_running=True)
    assert response.status == 200
    assert b"www-authenticate" not in dict(response.fields)


def test_a_stream_ends_with_an_event_that_clients_raise() -> None:
    """JSON-RPC has the error in an event like all others, HTTP+JSON in an event of its own type."""
    kind = PROBLEM_TYPES[Reason.BRANCH_REVOKED]
    event = form(Binding.JSONRPC).event(kind, ID) or b""
    assert json.loads(event.removeprefix(b"data: "))["id"] == "m-1"
    assert form(Binding.JSONRPC, message_id=b"").event(kind, ID) is None
    event = form(Binding.HTTP_JSON).event(kind, ID) or b""
    assert event.startswith(b"event: error\ndata: {")
    assert event.endswith(b"}\n\n")


def test_an_endpoint_may_answer_with_problem_documents() -> None:
    """They are those of all other routes."""
    plain = A2AProblemFormat("http", PATH, "research.*", Binding.JSONRPC, b"1")
    kind = PROBLEM_TYPES[Reason.CREDITS_EXHAUSTED]
    response = plain.refusal(kind, ID, authority=b"gateway.example")
    assert (response.status, json.loads(response.body)["status"]) == (403, 403)
    assert (plain.event(kind, ID) or b"").startswith(b"event: error\n")
