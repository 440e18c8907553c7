"""Reads a request as an A2A agent could: lenient, and independent of the gateway's tables.

The protobuf classes of the official SDK say which members a message has, and the annotations in
them which paths the HTTP+JSON binding has. A lenient agent reads members, paths and queries in
every spelling that some parser accepts; the official parser of each form reads them as well.
"""

import json
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from a2a.compat.v0_3 import types as v0_3
from a2a_id_fields import SDK_MODULES, kind_of
from google.api import annotations_pb2
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from lenient_mcp_server import SPELLINGS, Members, bodies, header_readings
from pydantic import BaseModel, ValidationError

from crewgate.core.a2a.methods import Version
from crewgate.core.http_types import HeaderField

# The requests of JSON-RPC in version 0.3, which has no protobuf for them: what each one is in
# version 1.0, and the ids in its parameters.
_MESSAGE = {
    "message": {"contextId": "context", "taskId": "task", "referenceTaskIds": "task"},
    "configuration": {"pushNotificationConfig": {"url": "url"}},
}
_TASK_ID = {"id": "task"}
V0_3_REQUESTS: dict[str, tuple[str, dict[str, Any], type[BaseModel]]] = {
    "message/send": ("SendMessage", _MESSAGE, v0_3.MessageSendParams),
    "message/stream": ("SendStreamingMessage", _MESSAGE, v0_3.MessageSendParams),
    "tasks/get": ("GetTask", _TASK_ID, v0_3.TaskQueryParams),
    "tasks/cancel": ("CancelTask", _TASK_ID, v0_3.TaskIdParams),
    "tasks/resubscribe": ("SubscribeToTask", _TASK_ID, v0_3.TaskIdParams),
    "tasks/pushNotificationConfig/set": (
        "CreateTaskPushNotificationConfig",
        {"taskId": "task", "pushNotificationConfig": {"url": "url"}},
        v0_3.TaskPushNotificationConfig,
    ),
    "tasks/pushNotificationConfig/get": (
        "GetTaskPushNotificationConfig", _TASK_ID, v0_3.GetTaskPushNotificationConfigParams,
    ),
    "tasks/pushNotificationConfig/list": (
        "ListTaskPushNotificationConfigs", _TASK_ID, v0_3.ListTaskPushNotificationConfigParams,
    ),
    "tasks/pushNotificationConfig/delete": (
        "DeleteTaskPushNotificationConfig", _TASK_ID, v0_3.DeleteTaskPushNotificationConfigParams,
    ),
}  # fmt: skip
# Methods of the gRPC service of version 0.3 with another name in version 1.0.
_RENAMED = {
    "TaskSubscription": "SubscribeToTask",
    "ListTaskPushNotificationConfig": "ListTaskPushNotificationConfigs",
    "GetAgentCard": "GetExtendedAgentCard",
}
_VARIABLE = re.compile(r"\{([a-z_]+)(?:=([^}]*))?\}")


class Sent(NamedTuple):
    """A request as it reaches the agent; `path` has no prefix of the binding."""

    method: str
    path: str
    query: str
    headers: list[HeaderField]
    body: bytes


class Reading(NamedTuple):
    """A method that an agent takes a request for, and the texts that it finds, by their kinds.

    `is_exact`: the official parser of the agent reads it so.
    """

    method: str
    version: Version
    texts: frozenset[tuple[str, str]]
    is_exact: bool = False


class Call(NamedTuple):
    """A method of the official service, and a path of it: its HTTP method, template and body."""

    name: str
    version: Version
    message: type[Message]
    http_method: str
    template: str
    body: str


def calls() -> Iterator[Call]:
    """Yield each method of both versions with each of its paths."""
    for version, module in SDK_MODULES.items():
        for each in module.DESCRIPTOR.services_by_name["A2AService"].methods:
            rule = each.GetOptions().Extensions[annotations_pb2.http]
            name = _RENAMED.get(each.name, each.name)
            for way in (rule, *rule.additional_bindings):
                verb = way.WhichOneof("pattern")
                path = getattr(way, verb)
                yield Call(
                    name, version, each.input_type._concrete_class, verb.upper(), path, way.body
                )


CALLS = tuple(calls())


def read_json_rpc(sent: Sent) -> Iterator[Reading]:
    """Yield what agents of the JSON-RPC binding read."""
    for text in bodies(sent.headers, sent.body):
        try:
            message = json.loads(text, object_pairs_hook=Members)
        except (ValueError, RecursionError):
            continue
        if not isinstance(message, Members):
            yield Reading("a batch", Version.V1_0, frozenset())
            continue
        for method in set(_texts(message, "method")):
            yield from _read_params(method, message, text, sent.query)


def _read_params(method: str, message: Members, text: str, query: str) -> Iterator[Reading]:
    exact = json.loads(text).get("params")
    if method in V0_3_REQUESTS:
        name, schema, model = V0_3_REQUESTS[method]
        found = frozenset(_walk(message, {"params": schema}))
        yield Reading(name, Version.V0_3, found | _of_query(query, schema))
        try:
            read = model.model_validate(exact).model_dump(by_alias=True)
        except ValidationError:
            return
        found = frozenset(_walk(Members(_pairs(read)), schema))
        yield Reading(name, Version.V0_3, found, is_exact=True)
        return
    for call in CALLS:
        if call.version is Version.V1_0 and call.name == method:
            schema = _schema(call.message.DESCRIPTOR)
            found = frozenset(_walk(message, {"params": schema}))
            yield Reading(method, Version.V1_0, found | _of_query(query, schema))
            yield from _exact(call, exact or {})
            return
    yield Reading(method, Version.V1_0, frozenset())


def read_http_json(sent: Sent) -> Iterator[Reading]:
    """Yield what agents of the HTTP+JSON binding read."""
    for path in _paths(sent.path):
        for call in CALLS:
            match = _pattern(call.template).fullmatch(path)
            if match is None or call.http_method != sent.method:
                continue
            yield from _read_call(call, match.groupdict(), sent)


def _read_call(call: Call, in_path: dict[str, str], sent: Sent) -> Iterator[Reading]:
    descriptor = call.message.DESCRIPTOR
    schema = _schema(descriptor)
    named = {
        (kind_of(descriptor.name, name), value)
        for name, value in in_path.items()
        if value and kind_of(descriptor.name, name)
    }
    found = named | _of_query(sent.query, schema)
    for text in bodies(sent.headers, sent.body):
        try:
            value = json.loads(text, object_pairs_hook=Members)
        except (ValueError, RecursionError):
            continue
        found |= set(_walk(value, schema))
        if call.body not in {"", "*"}:  # this one field is the body
            found |= set(_walk(value, schema[call.body]))
    yield Reading(call.name, call.version, frozenset(found))
    if sent.method == "POST":
        try:
            exact = json.loads(sent.body or b"{}")
        except ValueError:
            return
    else:
        exact = dict(parse_qsl(sent.query))
    for reading in _exact(call, exact):
        yield reading._replace(texts=reading.texts | named)


def read_grpc(sent: Sent) -> Iterator[Reading]:
    """Yield what agents of the gRPC binding read."""
    for call in CALLS:
        service = call.message.DESCRIPTOR.file.services_by_name["A2AService"]
        for method in service.methods:
            is_named = sent.path == f"/{service.full_name}/{method.name}"
            if not is_named or method.input_type is not call.message.DESCRIPTOR:
                continue
            if _RENAMED.get(method.name, method.name) != call.name:
                continue
            flag, size = sent.body[0], int.from_bytes(sent.body[1:5], "big")
            assert (flag, size) == (0, len(sent.body) - 5)
            try:
                message = call.message.FromString(sent.body[5:])
            except DecodeError:
                return
            yield Reading(call.name, call.version, frozenset(_ids_of(message)), is_exact=True)
            return


def versions(sent: Sent) -> set[str]:
    """The versions that the header and the query name; "absent" if there is none."""
    named = {value for name, value in parse_qsl(sent.query) if name.lower() == "a2a-version"}
    return named | header_readings(sent.headers, b"a2a-version")


def _exact(call: Call, value: object) -> Iterator[Reading]:
    """Yield what the parser of the official SDK reads, if it accepts the message."""
    try:
        message = json_format.ParseDict(value, call.message(), ignore_unknown_fields=True)
    except (json_format.ParseError, AttributeError, TypeError, ValueError):
        return
    yield Reading(call.name, call.version, frozenset(_ids_of(message)), is_exact=True)


def _ids_of(message: Message) -> Iterator[tuple[str, str]]:
    if message.DESCRIPTOR.name == "Message":
        yield "message", ""
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        kind = kind_of(message.DESCRIPTOR.name, field.name)
        if kind:
            yield from ((kind, text) for text in values)
        elif field.message_type is not None and not _is_foreign(field.message_type):
            for each in values:
                yield from _ids_of(each)


@cache
def _schema(descriptor: Any) -> dict[str, Any]:
    """The members of a message that hold ids: a kind, or the members of a message in it."""
    found: dict[str, Any] = {}
    for field in descriptor.fields:
        content: Any = kind_of(descriptor.name, field.name)
        if not content and field.message_type is not None and not _is_foreign(field.message_type):
            content = _schema(field.message_type)
        if content:
            found[field.json_name] = found[field.name] = content
    return found


def _is_foreign(descriptor: Any) -> bool:
    return bool(descriptor.full_name.startswith("google."))


def _walk(value: Any, schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the texts that stand at the members of a schema, in any spelling."""
    if isinstance(value, list) and not isinstance(value, Members):
        for each in value:
            yield from _walk(each, schema)
    elif isinstance(value, Members):
        for name, content in schema.items():
            for chosen in _members(value, name):
                if isinstance(content, str):
                    yield from ((content, text) for text in _flat(chosen) if text)
                else:
                    yield from _walk(chosen, content)


def _members(value: Members, name: str) -> Iterator[Any]:
    """Yield the members that some reader takes for `name`: the first and the last of them."""
    snake = re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name)
    seen: set[int] = set()
    for accepted in {(name,), (snake,), (name, snake)}:
        for spelt in SPELLINGS:
            wanted = {spelt(each) for each in accepted}
            found = [at for at, (written, _) in enumerate(value) if spelt(written) in wanted]
            seen.update(found[:1] + found[-1:])
    for at in seen:
        yield value[at][1]


def _flat(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and not isinstance(value, Members):
        for each in value:
            yield from _flat(each)
    elif value is not None:
        yield json.dumps(value)


def _texts(message: Members, name: str) -> Iterator[str]:
    for value in _members(message, name):
        yield from _flat(value)


def _pairs(value: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        (name, Members(_pairs(each)) if isinstance(each, dict) else each)
        for name, each in value.items()
    ]


def _of_query(query: str, schema: dict[str, Any]) -> frozenset[tuple[str, str]]:
    """The texts in a query, whose parts some servers divide by ";" as well."""
    pairs = parse_qsl(query) + parse_qsl(query.replace(";", "&"))
    return frozenset(_walk(Members(pairs), schema))


def _paths(path: str) -> set[str]:
    """The paths that servers and proxies make of one: decoded, and without dots and doubles."""
    found = {path, unquote(path), unquote(unquote(path))}
    found |= {each.split(";")[0] for each in found} | {each.split("#")[0] for each in found}
    return found | {posixpath.normpath(each.replace("\\", "/")) for each in found}


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """The pattern of a path such as "/tasks/{id=*}:cancel"."""
    parts = _VARIABLE.split(template)
    found = re.escape(parts[0])
    for at in range(1, len(parts), 3):
        inner = re.escape(parts[at + 1] or "*").replace(r"\*", "[^/:]+")
        found += f"(?P<{parts[at]}>{inner})" + re.escape(parts[at + 2])
    return re.compile(found)
