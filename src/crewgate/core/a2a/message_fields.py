"""Says which members of the messages of A2A hold what the gateway judges or rewrites.

A `Fields` describes one message for two readers: `json_messages` finds a member by its name, and
`protobuf_messages` by its number in `a2a.proto`. Members that are not listed pass as they are. A
number of 0 means that only JSON has the member.

The members of JSON-RPC requests of version 0.3 are those of its JSON schema. Its HTTP+JSON binding
has the members of its `a2a.proto`. Both stand in one table where they do not contradict each other.
"""

import enum
import re
from collections.abc import Mapping
from typing import NamedTuple

from crewgate.core.a2a import methods
from crewgate.core.a2a.methods import Method, Version
from crewgate.core.json_member_names import folded_words


class TextKind(enum.Enum):
    """The meaning of a text."""

    TASK = enum.auto()
    TASK_NAME = enum.auto()  # "tasks/ID", or "tasks/ID/pushNotificationConfigs/ID"
    CONTEXT = enum.auto()
    PAGE = enum.auto()  # where a list of tasks goes on
    TENANT = enum.auto()
    PUSH_URL = enum.auto()


class Field(NamedTuple):
    """A member: its number in protobuf, and the kind of its text or the fields of its message.

    It may be repeated.
    """

    number: int
    content: "TextKind | Fields"


class Fields:
    """The members of one message, by their names in JSON.

    `lists_tasks`: the message is a list of tasks, of which the client gets those of its branch.
    `task_ids`: the members that may have the id of the task whose `status` the message shows.
    `is_sent`: a client sends it, and it begins a context unless it names one, or a task.
    `card`: it is an agent card of this version.
    """

    def __init__(
        self,
        fields: Mapping[str, Field],
        *,
        task_ids: tuple[str, ...] = (),
        lists_tasks: bool = False,
        is_sent: bool = False,
        card: Version | None = None,
    ) -> None:
        self.by_name = {**fields, **{_snake(name): field for name, field in fields.items()}}
        self.by_number = {field.number: field for field in fields.values() if field.number}
        self.folded = {folded_words(name) for name in fields}
        self.task_ids = task_ids
        self.lists_tasks = lists_tasks
        self.is_sent = is_sent
        self.card = card


# The states in which nothing of a task runs any more, in JSON of both versions and in protobuf.
ENDED = frozenset(
    {"TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED",
     "completed", "failed", "canceled", "rejected"}
)  # fmt: skip
ENDED_NUMBERS = frozenset({3, 4, 5, 7})


def _snake(name: str) -> str:
    """Return the name of a member in `a2a.proto`, which readers of ProtoJSON accept as well."""
    return re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name)


def _message(**fields: tuple[int, TextKind | Fields]) -> dict[str, Field]:
    return {name: Field(*field) for name, field in fields.items()}


def _without_numbers(fields: Fields) -> dict[str, Field]:
    """Return the members of a message that only JSON has at another place too."""
    return {name: Field(0, field.content) for name, field in fields.by_name.items()}


_TASK, _CONTEXT, _TENANT = TextKind.TASK, TextKind.CONTEXT, TextKind.TENANT
_PAGE, _NAME, _URL = TextKind.PAGE, TextKind.TASK_NAME, TextKind.PUSH_URL

# Version 1.0, `lf.a2a.v1`.
_MESSAGE_FIELDS = _message(contextId=(2, _CONTEXT), taskId=(3, _TASK), referenceTaskIds=(8, _TASK))
_MESSAGE = Fields(_MESSAGE_FIELDS)
_SENT_MESSAGE = Fields(_MESSAGE_FIELDS, is_sent=True)
_STATUS = Fields(_message(message=(2, _MESSAGE)))
_TASK_OBJECT = Fields(
    _message(id=(1, _TASK), contextId=(2, _CONTEXT), status=(3, _STATUS), history=(5, _MESSAGE)),
    task_ids=("id",),
)
_ARTIFACT_UPDATE = Fields(_message(taskId=(1, _TASK), contextId=(2, _CONTEXT)))
_STATUS_UPDATE = Fields(
    _message(taskId=(1, _TASK), contextId=(2, _CONTEXT), status=(3, _STATUS)), task_ids=("taskId",)
)
_PUSH = Fields(_message(tenant=(1, _TENANT), taskId=(3, _TASK), url=(4, _URL)))
_PUSH_V0_3 = _message(url=(2, _URL))
_CONFIGURATION = Fields(
    _message(
        taskPushNotificationConfig=(2, _PUSH),
        # Version 0.3 has the address under these names.
        pushNotificationConfig=(0, Fields(_PUSH_V0_3)),
        pushNotification=(0, Fields(_PUSH_V0_3)),
    )
)
_EVENT = _message(
    task=(1, _TASK_OBJECT),
    message=(2, _MESSAGE),
    statusUpdate=(3, _STATUS_UPDATE),
    artifactUpdate=(4, _ARTIFACT_UPDATE),
)
_OF_TASK = _message(tenant=(1, _TENANT), id=(2, _TASK))
_OF_CONFIG = _message(tenant=(1, _TENANT), taskId=(2, _TASK))

_V1_0: dict[Method, tuple[Fields, Fields]] = {
    methods.SEND_MESSAGE: (
        Fields(
            _message(
                tenant=(1, _TENANT), message=(2, _SENT_MESSAGE), configuration=(3, _CONFIGURATION)
            )
        ),
        Fields(_EVENT),
    ),
    methods.GET_TASK: (Fields(_OF_TASK), _TASK_OBJECT),
    methods.LIST_TASKS: (
        Fields(_message(tenant=(1, _TENANT), contextId=(2, _CONTEXT), pageToken=(5, _PAGE))),
        Fields(_message(tasks=(1, _TASK_OBJECT), nextPageToken=(2, _PAGE)), lists_tasks=True),
    ),
    methods.CANCEL_TASK: (Fields(_OF_TASK), _TASK_OBJECT),
    methods.SUBSCRIBE_TO_TASK: (Fields(_OF_TASK), Fields(_EVENT)),
    methods.CREATE_PUSH_CONFIG: (_PUSH, _PUSH),
    methods.GET_PUSH_CONFIG: (Fields(_OF_CONFIG), _PUSH),
    methods.LIST_PUSH_CONFIGS: (
        Fields(_message(tenant=(4, _TENANT), taskId=(1, _TASK))),
        Fields(_message(configs=(1, _PUSH))),
    ),
    methods.DELETE_PUSH_CONFIG: (Fields(_OF_CONFIG), Fields({})),
    methods.GET_EXTENDED_AGENT_CARD: (
        Fields(_message(tenant=(1, _TENANT))),
        Fields({}, card=Version.V1_0),
    ),
}
_V1_0[methods.SEND_STREAMING_MESSAGE] = _V1_0[methods.SEND_MESSAGE]

# Version 0.3, `a2a.v1` and the JSON schema. A result of JSON-RPC is the task, message or event
# itself, and not an object with a member for it.
_MESSAGE_FIELDS_V0_3 = _message(
    contextId=(2, _CONTEXT), taskId=(3, _TASK), referenceTaskIds=(0, _TASK)
)
_MESSAGE_V0_3 = Fields(_MESSAGE_FIELDS_V0_3)
_SENT_MESSAGE_V0_3 = Fields(_MESSAGE_FIELDS_V0_3, is_sent=True)
# In JSON, readers of ProtoJSON know some members by a name of `a2a.proto` too: `update` here, and
# `request` and `msg` for other messages.
_STATUS_V0_3 = Fields(_message(message=(2, _MESSAGE_V0_3), update=(0, _MESSAGE_V0_3)))
_TASK_V0_3 = Fields(
    _message(
        id=(1, _TASK), contextId=(2, _CONTEXT), status=(3, _STATUS_V0_3), history=(5, _MESSAGE_V0_3)
    ),
    task_ids=("id",),
)
_STATUS_UPDATE_V0_3 = Fields(
    _message(taskId=(1, _TASK), contextId=(2, _CONTEXT), status=(3, _STATUS_V0_3)),
    task_ids=("taskId",),
)
_EVENT_V0_3 = Fields(
    {
        **_without_numbers(_TASK_V0_3),
        **_without_numbers(_MESSAGE_V0_3),
        **_message(
            task=(1, _TASK_V0_3),
            message=(2, _MESSAGE_V0_3),
            msg=(0, _MESSAGE_V0_3),
            statusUpdate=(3, _STATUS_UPDATE_V0_3),
            artifactUpdate=(4, _ARTIFACT_UPDATE),
        ),
    },
    task_ids=("id", "taskId"),
)
_CONFIGURATION_V0_3 = Fields(
    _message(
        pushNotification=(2, Fields(_PUSH_V0_3)),
        pushNotificationConfig=(0, Fields(_PUSH_V0_3)),
        taskPushNotificationConfig=(0, _PUSH),
    )
)


def _request_v0_3(method: Method, **fields: tuple[int, TextKind | Fields]) -> Fields:
    """Return the request of a method.

    It has the members of version 1.0 as well: an agent that serves this version only takes the
    prefix "/v1" of the paths of version 0.3 for a tenant, and reads such a request as its own.
    """
    return Fields({**_without_numbers(_V1_0[method][0]), **_message(**fields)})


def _of_task_v0_3(method: Method) -> Fields:
    return _request_v0_3(method, name=(1, _NAME), id=(0, _TASK))


_TASK_PUSH_V0_3 = Fields(
    _message(name=(1, _NAME), pushNotificationConfig=(2, Fields(_PUSH_V0_3)), taskId=(0, _TASK))
)
_V0_3: dict[Method, tuple[Fields, Fields]] = {
    methods.SEND_MESSAGE: (
        _request_v0_3(
            methods.SEND_MESSAGE,
            message=(1, _SENT_MESSAGE_V0_3),
            request=(0, _SENT_MESSAGE_V0_3),
            configuration=(2, _CONFIGURATION_V0_3),
        ),
        _EVENT_V0_3,
    ),
    methods.GET_TASK: (_of_task_v0_3(methods.GET_TASK), _TASK_V0_3),
    methods.CANCEL_TASK: (_of_task_v0_3(methods.CANCEL_TASK), _TASK_V0_3),
    methods.SUBSCRIBE_TO_TASK: (_of_task_v0_3(methods.SUBSCRIBE_TO_TASK), _EVENT_V0_3),
    methods.CREATE_PUSH_CONFIG: (
        _request_v0_3(
            methods.CREATE_PUSH_CONFIG,
            parent=(1, _NAME),
            config=(3, _TASK_PUSH_V0_3),
            # In HTTP+JSON the body is `config` itself. JSON-RPC has the last two.
            name=(0, _NAME),
            taskId=(0, _TASK),
            pushNotificationConfig=(0, Fields(_PUSH_V0_3)),
        ),
        _TASK_PUSH_V0_3,
    ),
    methods.GET_PUSH_CONFIG: (_of_task_v0_3(methods.GET_PUSH_CONFIG), _TASK_PUSH_V0_3),
    methods.LIST_PUSH_CONFIGS: (
        _request_v0_3(methods.LIST_PUSH_CONFIGS, parent=(1, _NAME), id=(0, _TASK)),
        Fields({**_without_numbers(_TASK_PUSH_V0_3), **_message(configs=(1, _TASK_PUSH_V0_3))}),
    ),
    methods.DELETE_PUSH_CONFIG: (_of_task_v0_3(methods.DELETE_PUSH_CONFIG), Fields({})),
    methods.GET_EXTENDED_AGENT_CARD: (
        _request_v0_3(methods.GET_EXTENDED_AGENT_CARD),
        Fields({}, card=Version.V0_3),
    ),
}
_V0_3[methods.SEND_STREAMING_MESSAGE] = _V0_3[methods.SEND_MESSAGE]

_OF_VERSION = {Version.V1_0: _V1_0, Version.V0_3: _V0_3}


def of_request(method: Method, version: Version) -> Fields:
    """Return the members of the request of a method."""
    return _OF_VERSION[version][method][0]


def of_response(method: Method, version: Version) -> Fields:
    """Return the members of its response, or of one event of a stream."""
    return _OF_VERSION[version][method][1]
