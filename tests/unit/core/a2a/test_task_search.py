"""The search for the task of a message whose call ended before it showed the task."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from a2a.types import ListTasksRequest, ListTasksResponse, Task, TaskState, TaskStatus
from google.protobuf.json_format import MessageToJson

from crewgate.core.a2a.errors import A2AError
from crewgate.core.a2a.grpc_messages import framed, single
from crewgate.core.a2a.methods import Binding
from crewgate.core.a2a.task_search import list_request, running_tasks

WORKING, ENDED = TaskState.TASK_STATE_WORKING, TaskState.TASK_STATE_COMPLETED
WAITING = TaskState.TASK_STATE_INPUT_REQUIRED


def test_each_binding_asks_for_the_newest_tasks_of_one_context() -> None:
    """Without their history; the official classes read the message of gRPC."""
    method, path, fields, body = list_request("c d", Binding.JSONRPC, "acme")
    message, size = json.loads(body), {"pageSize": 20, "historyLength": 0}
    assert (method, path, message["method"]) == (b"POST", "", "ListTasks")
    assert message["params"] == {"contextId": "c d", "tenant": "acme", **size}
    assert dict(fields)[b"a2a-version"] == b"1.0"
    method, path, _, body = list_request("c d", Binding.HTTP_JSON, "acme")
    assert (method, urlsplit(path).path, body) == (b"GET", "/acme/tasks", b"")
    assert parse_qs(urlsplit(path).query) == {
        "contextId": ["c d"], "pageSize": ["20"], "historyLength": ["0"]
    }  # fmt: skip
    _, path, fields, body = list_request("c d", Binding.GRPC, "acme")
    assert (path, dict(fields)[b"te"]) == ("/lf.a2a.v1.A2AService/ListTasks", b"trailers")
    asked = ListTasksRequest.FromString(single(body, 1000))
    assert (asked.context_id, asked.tenant, asked.page_size) == ("c d", "acme", 20)
    assert asked.HasField("history_length")


def listed(binding: Binding, *tasks: tuple[str, str, TaskState]) -> bytes:
    """The body of a list, as the official SDK writes it."""
    found = ListTasksResponse(
        tasks=[
            Task(id=task, context_id=context, status=TaskStatus(state=state))
            for task, context, state in tasks
        ]
    )
    if binding is Binding.GRPC:
        return framed(found.SerializeToString())
    text = MessageToJson(found)
    return (f'{{"id":1,"result":{text}}}' if binding is Binding.JSONRPC else text).encode()


@pytest.mark.parametrize("binding", [*Binding])
def test_a_list_shows_what_goes_on_in_the_context(binding: Binding) -> None:
    """An agent that ignores the context lists the tasks of others as well: they go on."""
    found = listed(
        binding, ("a", "c", WORKING), ("b", "c", ENDED), ("d", "x", WORKING), ("e", "c", WAITING)
    )
    assert running_tasks("c", binding, found) == ["a", "e"]
    assert running_tasks("c", binding, listed(binding, ("b", "c", ENDED))) == []
    for none in (listed(binding), listed(binding, ("d", "x", WORKING))):
        assert running_tasks("c", binding, none) is None


@pytest.mark.parametrize("binding", [*Binding])
@pytest.mark.parametrize(
    "body", [b"{", b"\0\0\0\0\1\x0b", b'{"result":1,"tasks":2}', b"\1\0\0\0\0"]
)
def test_another_body_is_an_error(binding: Binding, body: bytes) -> None:
    """The caller learns that there may be work which it does not know."""
    if binding is Binding.GRPC and body.startswith(b"{"):
        body = b"\0\0\0\0\2\x0a\x09"
    with pytest.raises(A2AError):
        running_tasks("c", binding, body)


def test_an_error_of_the_agent_has_no_tasks() -> None:
    """Such as that it does not know the context."""
    assert running_tasks("c", Binding.JSONRPC, b'{"error":{"code":-32001}}') is None
    assert running_tasks("c", Binding.GRPC, b"") is None
