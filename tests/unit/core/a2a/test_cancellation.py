"""The request that cancels a task says what each binding and version want."""

import json

from a2a.compat.v0_3 import a2a_v0_3_pb2
from a2a.types import a2a_pb2

from crewgate.core.a2a.cancellation import task_cancellation
from crewgate.core.a2a.grpc_messages import single
from crewgate.core.a2a.methods import Binding, Version


def test_a_task_is_cancelled_by_json_rpc() -> None:
    """Each version has its own name for the method."""
    method, path, fields, body = task_cancellation("t", Binding.JSONRPC, Version.V1_0, "acme")
    message = json.loads(body)
    assert (method, path, message["method"]) == (b"POST", "", "CancelTask")
    assert message["params"] == {"id": "t", "tenant": "acme"}
    assert dict(fields) == {b"content-type": b"application/json", b"a2a-version": b"1.0"}
    *_, fields, body = task_cancellation("t", Binding.JSONRPC, Version.V0_3)
    message = json.loads(body)
    assert (message["method"], message["params"]) == ("tasks/cancel", {"id": "t"})
    assert dict(fields)[b"a2a-version"] == b"0.3"


def test_a_task_is_cancelled_by_http_json() -> None:
    """The path has the tenant, or the prefix of version 0.3."""
    cancel = task_cancellation
    assert cancel("a/b", Binding.HTTP_JSON, Version.V1_0).path == "/tasks/a%2Fb:cancel"
    assert cancel("t", Binding.HTTP_JSON, Version.V1_0, "acme").path == "/acme/tasks/t:cancel"
    assert cancel("t", Binding.HTTP_JSON, Version.V0_3).path == "/v1/tasks/t:cancel"


def test_a_task_is_cancelled_by_grpc() -> None:
    """The official classes read the message."""
    method, path, fields, body = task_cancellation("t", Binding.GRPC, Version.V1_0, "acme")
    assert (method, path) == (b"POST", "/lf.a2a.v1.A2AService/CancelTask")
    assert dict(fields)[b"te"] == b"trailers"
    message = a2a_pb2.CancelTaskRequest.FromString(single(body, 100))
    assert (message.id, message.tenant) == ("t", "acme")
    _, path, _, body = task_cancellation("t", Binding.GRPC, Version.V0_3)
    assert path == "/a2a.v1.A2AService/CancelTask"
    assert a2a_v0_3_pb2.CancelTaskRequest.FromString(single(body, 100)).name == "tasks/t"
