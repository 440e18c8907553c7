"""The methods of A2A: their names in each binding and version, and what each one does.

A token allows a method by its name in version 1.0, also for clients of another version, and in each
binding. (A2A 1.0, section 5.3 "Method Mapping Reference"; A2A 0.3, section 3.5.6.)
"""

import enum
from typing import NamedTuple


class Version(enum.Enum):
    """A version of the protocol that differs on the wire."""

    V1_0 = "1.0"
    V0_3 = "0.3"


class Binding(enum.Enum):
    """How messages are carried; the value is the name in an agent card."""

    JSONRPC = "JSONRPC"
    HTTP_JSON = "HTTP+JSON"
    GRPC = "GRPC"


class Action(enum.Enum):
    """The effect of a method, by which the gateway judges it."""

    SEND = enum.auto()
    LIST = enum.auto()
    CANCEL = enum.auto()
    PUSH = enum.auto()  # works with the addresses to which the agent pushes updates of a task
    READ = enum.auto()


class Method(NamedTuple):
    """A method by its name in version 1.0; `is_stream`: it answers with a stream of events."""

    name: str
    action: Action
    is_stream: bool = False


SEND_MESSAGE = Method("SendMessage", Action.SEND)
SEND_STREAMING_MESSAGE = Method("SendStreamingMessage", Action.SEND, is_stream=True)
GET_TASK = Method("GetTask", Action.READ)
LIST_TASKS = Method("ListTasks", Action.LIST)
CANCEL_TASK = Method("CancelTask", Action.CANCEL)
SUBSCRIBE_TO_TASK = Method("SubscribeToTask", Action.READ, is_stream=True)
CREATE_PUSH_CONFIG = Method("CreateTaskPushNotificationConfig", Action.PUSH)
GET_PUSH_CONFIG = Method("GetTaskPushNotificationConfig", Action.PUSH)
LIST_PUSH_CONFIGS = Method("ListTaskPushNotificationConfigs", Action.PUSH)
DELETE_PUSH_CONFIG = Method("DeleteTaskPushNotificationConfig", Action.PUSH)
GET_EXTENDED_AGENT_CARD = Method("GetExtendedAgentCard", Action.READ)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        SEND_MESSAGE,
        SEND_STREAMING_MESSAGE,
        GET_TASK,
        LIST_TASKS,
        CANCEL_TASK,
        SUBSCRIBE_TO_TASK,
        CREATE_PUSH_CONFIG,
        GET_PUSH_CONFIG,
        LIST_PUSH_CONFIGS,
        DELETE_PUSH_CONFIG,
        GET_EXTENDED_AGENT_CARD,
    )
}

# JSON-RPC names of version 0.3. Those of version 1.0 are the names of the methods.
_V0_3_NAMES: dict[str, Method] = {
    "message/send": SEND_MESSAGE,
    "message/stream": SEND_STREAMING_MESSAGE,
    "tasks/get": GET_TASK,
    "tasks/cancel": CANCEL_TASK,
    "tasks/resubscribe": SUBSCRIBE_TO_TASK,
    "tasks/pushNotificationConfig/set": CREATE_PUSH_CONFIG,
    "tasks/pushNotificationConfig/get": GET_PUSH_CONFIG,
    "tasks/pushNotificationConfig/list": LIST_PUSH_CONFIGS,
    "tasks/pushNotificationConfig/delete": DELETE_PUSH_CONFIG,
    "agent/getAuthenticatedExtendedCard": GET_EXTENDED_AGENT_CARD,
}

# The gRPC service of each version, and the methods of version 0.3 with another name there.
GRPC_SERVICES: dict[str, Version] = {
    "/lf.a2a.v1.A2AService/": Version.V1_0,
    "/a2a.v1.A2AService/": Version.V0_3,
}
_V0_3_GRPC_NAMES: dict[str, Method] = {
    "SendMessage": SEND_MESSAGE,
    "SendStreamingMessage": SEND_STREAMING_MESSAGE,
    "GetTask": GET_TASK,
    "CancelTask": CANCEL_TASK,
    "TaskSubscription": SUBSCRIBE_TO_TASK,
    "CreateTaskPushNotificationConfig": CREATE_PUSH_CONFIG,
    "GetTaskPushNotificationConfig": GET_PUSH_CONFIG,
    "ListTaskPushNotificationConfig": LIST_PUSH_CONFIGS,
    "DeleteTaskPushNotificationConfig": DELETE_PUSH_CONFIG,
    "GetAgentCard": GET_EXTENDED_AGENT_CARD,
}


def of_json_rpc(name: str) -> tuple[Method, Version] | None:
    """Return the method that a JSON-RPC request names, and its version; None if there is none."""
    method = METHODS.get(name)
    if method is not None:
        return method, Version.V1_0
    method = _V0_3_NAMES.get(name)
    return None if method is None else (method, Version.V0_3)


def of_grpc_path(path: str) -> tuple[Method, Version] | None:
    """Return the method of the path of a gRPC request, and its version; None if there is none."""
    for service, version in GRPC_SERVICES.items():
        if path.startswith(service):
            names = METHODS if version is Version.V1_0 else _V0_3_GRPC_NAMES
            method = names.get(path.removeprefix(service))
            return None if method is None else (method, version)
    return None
