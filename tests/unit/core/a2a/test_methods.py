"""A method has one name for tokens, in all bindings and versions."""

import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2
from a2a.types import a2a_pb2

from crewgate.core.a2a import http_json_paths, methods
from crewgate.core.a2a.methods import METHODS, Version


@pytest.mark.parametrize(
    ("module", "version"), [(a2a_pb2, Version.V1_0), (a2a_v0_3_pb2, Version.V0_3)]
)
def test_each_grpc_method_of_the_protocol_is_known(module: object, version: Version) -> None:
    """The services of both versions have no method that the gateway does not know."""
    service = module.DESCRIPTOR.services_by_name["A2AService"]  # type: ignore[attr-defined]
    for each in service.methods:
        found = methods.of_grpc_path(f"/{service.full_name}/{each.name}")
        assert found is not None, each.name
        assert found[1] is version
        assert found[0].is_stream == each.server_streaming


def test_json_rpc_names_of_both_versions_name_the_same_methods() -> None:
    """A token that allows SendMessage allows message/send."""
    assert methods.of_json_rpc("SendMessage") == (methods.SEND_MESSAGE, Version.V1_0)
    assert methods.of_json_rpc("message/send") == (methods.SEND_MESSAGE, Version.V0_3)
    assert methods.of_json_rpc("tasks/resubscribe") == (methods.SUBSCRIBE_TO_TASK, Version.V0_3)
    assert methods.of_json_rpc("sendmessage") is None
    assert methods.of_grpc_path("/lf.a2a.v1.A2AService/") is None
    assert methods.of_grpc_path("/other.Service/SendMessage") is None


@pytest.mark.parametrize(
    ("request_line", "name", "task", "tenant"),
    [
        ("POST /message:send", "SendMessage", "", ""),
        ("POST /acme/message:send", "SendMessage", "", "acme"),
        ("POST /message:stream", "SendStreamingMessage", "", ""),
        ("GET /tasks", "ListTasks", "", ""),
        ("GET /acme/tasks", "ListTasks", "", "acme"),
        ("GET /tasks/abc", "GetTask", "abc", ""),
        ("POST /tasks/abc:cancel", "CancelTask", "abc", ""),
        ("POST /acme/tasks/abc:cancel", "CancelTask", "abc", "acme"),
        ("GET /tasks/abc:subscribe", "SubscribeToTask", "abc", ""),
        ("POST /tasks/abc:subscribe", "SubscribeToTask", "abc", ""),
        (
            "POST /tasks/abc/pushNotificationConfigs",
            "CreateTaskPushNotificationConfig",
            "abc",
            "",
        ),
        (
            "DELETE /acme/tasks/abc/pushNotificationConfigs/abc",
            "DeleteTaskPushNotificationConfig",
            "abc",
            "acme",
        ),
        ("GET /extendedAgentCard", "GetExtendedAgentCard", "", ""),
        ("POST /v1/message:send", "SendMessage", "", ""),
        ("GET /v1/tasks/abc", "GetTask", "abc", ""),
        ("GET /v1/card", "GetExtendedAgentCard", "", ""),
    ],
)
def test_a_path_names_its_method(request_line: str, name: str, task: str, tenant: str) -> None:
    """Tenant and action are parts of the path, and the path can be written with another task."""
    http_method, path = request_line.split()
    found = http_json_paths.find(http_method, path)
    assert found is not None
    assert (found.method.name, found.task_id, found.tenant) == (name, task, tenant)
    assert (found.version is Version.V0_3) == path.startswith("/v1/")
    assert found.path_with(found.task_id) == path
    if task:
        other = http_json_paths.find(http_method, found.path_with("other"))
        assert other is not None
        assert (other.method, other.task_id) == (found.method, "other")


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /message:send", "POST /tasks", "POST /tasks/abc", "GET /tasks/", "POST /tasks/:cancel",
        "POST /tasks/abc:other", "GET /v1/tasks", "GET /v1/acme/tasks", "GET /a/b/tasks",
        "GET /tasks/abc/other", "GET /tasks/a%62c", "GET tasks", "HEAD /tasks", "GET /",
        "GET /card",
        "POST /tasks/message:send", "GET /tasks/abc/pushNotificationConfigs/x/y",
    ],
)  # fmt: skip
def test_another_path_names_none(request_line: str) -> None:
    """A path that two servers could read differently is no method."""
    assert http_json_paths.find(*request_line.split()) is None


def test_the_table_has_every_method_of_the_specification() -> None:
    """A2A 1.0, section 5.3, names eleven methods."""
    assert len(METHODS) == 11
