"""Valid A2A requests of all bindings and versions, and mutations of them."""

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import mcp_mutations
from a2a_id_fields import SDK_MODULES, kind_of
from google.protobuf import json_format
from lenient_a2a_agent import CALLS, V0_3_REQUESTS, Call

from crewgate.core import protobuf_wire as wire
from crewgate.core.a2a.methods import Version
from crewgate.core.http_types import HeaderField

PATH = "/a2a/research"
_GRPC = re.compile(r"/[a-z0-9.]+\.A2AService/")
_NAMES = (
    "taskId", "task_id", "id", "contextId", "context_id", "referenceTaskIds", "tenant", "url",
    "name", "parent", "pageToken", "method", "params", "message", "configuration", "config",
    "pushNotificationConfig", "pushNotification", "taskPushNotificationConfig", "request",
)  # fmt: skip
_METHODS = ("GetTask", "tasks/get", "message/send", "SendMessage", "ListTasks", "CancelTask")
_HEAD = 5  # bytes of a gRPC message


class Request(NamedTuple):
    """A request as a client sends it; `target` is path and query.

    `call` is the method that it calls, and `is_rpc` says whether it does so by JSON-RPC.
    """

    method: str
    target: str
    fields: list[HeaderField]
    body: bytes
    call: str = ""
    version: Version = Version.V1_0
    is_rpc: bool = False

    @property
    def is_grpc(self) -> bool:
        """Whether it is a request of gRPC."""
        return _GRPC.match(self.target) is not None


class Texts(NamedTuple):
    """The texts for valid requests by their kinds, and what no request may say to the agent."""

    own: Mapping[str, str]
    foreign: tuple[str, ...]


def requests(texts: Texts) -> list[Request]:
    """Valid requests of each method, binding and version."""
    found = []
    for call in CALLS:
        example = _example(call.message.DESCRIPTOR, texts.own)
        found.append(_by_http_json(call, example, texts.own))
        found.append(_by_grpc(call, example))
        if call.version is Version.V1_0:
            found.append(_by_json_rpc(call.name, example, call.name, call.version))
    for method, (name, schema, _) in V0_3_REQUESTS.items():
        params = _filled(schema, texts.own)
        params.get("message", {}).update(
            messageId="m", role="user", kind="message", parts=[{"kind": "text", "text": "\u3041\\"}]
        )
        if method.startswith("tasks/pushNotificationConfig"):
            params["pushNotificationConfigId"] = "c1"
        found.append(_by_json_rpc(method, params, name, Version.V0_3))
    return found


def mutated(request: Request, texts: Texts, dice: random.Random) -> Request:
    """Return a request with one to three changes."""
    ways = _GRPC_WAYS if request.is_grpc else _JSON_WAYS
    for _ in range(dice.choice((1, 1, 2, 3))):
        request = dice.choice(ways)(request, texts, dice)
    return request


def _by_json_rpc(method: str, params: object, call: str, version: Version) -> Request:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    fields = _fields(b"application/json", "1.0" if version is Version.V1_0 else "")
    body = json.dumps(message).encode()
    return Request("POST", PATH, fields, body, call, version, is_rpc=True)


def _by_http_json(call: Call, example: dict[str, Any], own: Mapping[str, str]) -> Request:
    rest, path = dict(example), call.template
    for variable, name, form in re.findall(r"(\{([a-z_]+)=?([^}]*)\})", path):
        camel = re.sub("_(.)", lambda match: match[1].upper(), name)
        text = str(rest.pop(camel, "c1"))
        if "/" in form:
            text = form.replace("*", own["task"], 1).replace("*", "c1")
        path = path.replace(variable, text)
    if not call.template.startswith("/{tenant}"):
        rest.pop("tenant", None)
    body, query = b"", ""
    if call.http_method == "POST":
        body = json.dumps(rest.get(call.body, rest)).encode()
    else:
        query = "?" + urlencode(
            {name: each for name, each in rest.items() if isinstance(each, str)}
        )
    fields = _fields(b"application/json", call.version.value)
    target = PATH + path + query.rstrip("?")
    return Request(call.http_method, target, fields, body, call.name, call.version)


def _by_grpc(call: Call, example: dict[str, Any]) -> Request:
    file = call.message.DESCRIPTOR.file
    service = file.services_by_name["A2AService"]
    renamed = {"SubscribeToTask": "TaskSubscription", "GetExtendedAgentCard": "GetAgentCard",
               "ListTaskPushNotificationConfigs": "ListTaskPushNotificationConfig"}  # fmt: skip
    name = call.name if call.version is Version.V1_0 else renamed.get(call.name, call.name)
    message = json_format.ParseDict(example, call.message()).SerializeToString()
    fields = _fields(b"application/grpc", call.version.value)
    target = f"/{service.full_name}/{name}"
    return Request("POST", target, fields, framed(message), call.name, call.version)


def _fields(kind: bytes, version: str) -> list[HeaderField]:
    fields = [(b"content-type", kind), (b"a2a-extensions", b"https://example.com/x")]
    return [*fields, (b"a2a-version", version.encode())] if version else fields


def _example(descriptor: Any, own: Mapping[str, str]) -> dict[str, Any]:
    """A message with a text of the branch in each field that is judged."""
    found: dict[str, Any] = {}
    for field in descriptor.fields:
        kind = kind_of(descriptor.name, field.name)
        value: Any = own.get("config-name" if _names_config(descriptor.name, kind) else kind)
        if kind == "" and field.message_type is not None:
            is_own = not field.message_type.full_name.startswith("google.")
            value = _example(field.message_type, own) if is_own else None
        if (value and field.containing_oneof is None) or field.name == "message":
            found[field.camelcase_name] = [value] if field.is_repeated else value
    if descriptor.name == "Message":
        found["messageId"] = "m"
    return {name: each for name, each in found.items() if each}


def _names_config(message: str, kind: str) -> bool:
    return kind == "name" and "Config" in message and "List" not in message


def _filled(schema: Mapping[str, Any], own: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: own[content] if isinstance(content, str) else _filled(content, own)
        for name, content in schema.items()
        if name != "referenceTaskIds"
    }


def framed(message: bytes) -> bytes:
    """A message of gRPC on the wire."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _as_mcp(change: Callable[..., Any]) -> Callable[[Request, Texts, random.Random], Request]:
    """Use a mutation of an MCP request, which has a header and a body."""

    def changed(request: Request, _texts: Texts, dice: random.Random) -> Request:
        fields, body = change((request.fields, request.body), dice)
        return request._replace(fields=fields, body=body)

    return changed


def _repeat_member(request: Request, texts: Texts, dice: random.Random) -> Request:
    values = (*texts.foreign, *texts.own.values(), *_METHODS, None, 5, [texts.foreign[0]], {}, "")
    pair = (request.fields, request.body)
    _, body = mcp_mutations.repeat_member(pair, dice, _NAMES, values)
    return request._replace(body=body)


def _use_proto_names(request: Request, _texts: Texts, dice: random.Random) -> Request:
    """Name members as in `a2a.proto`, which readers of ProtoJSON accept."""
    messages = SDK_MODULES[request.version].DESCRIPTOR.message_types_by_name.values()
    names = [(field.json_name, field.name) for each in messages for field in each.fields]
    dice.shuffle(names)  # "message" stands for several
    body = request.body
    for name, written in names:
        body = body.replace(f'"{name}":'.encode(), f'"{written}":'.encode())
    return request._replace(body=body)


def _exchange_text(request: Request, texts: Texts, dice: random.Random) -> Request:
    """Put a text of another branch, or of another kind, where a text of the branch stands."""
    old = dice.choice(list(texts.own.values()))
    new = dice.choice((*texts.foreign, *texts.own.values()))
    body = request.body.replace(json.dumps(old).encode(), json.dumps(new).encode(), 1)
    return request._replace(target=request.target.replace(old, quote(new, safe=""), 1), body=body)


def _change_path(request: Request, texts: Texts, dice: random.Random) -> Request:
    path, mark, query = request.target.partition("?")
    places = [match.start() for match in re.finditer("[/:]", path)] or [0]
    at = dice.choice(places)
    foreign = quote(dice.choice(texts.foreign), safe="")
    inserted = dice.choice((
        "/", "//", "/.", "/..", "/../" + foreign, "%2F", "%2f..%2f" + foreign, "%3A", "%253A", ";",
        "\\", "%00", "%23", "/acme", "/v1", "/tasks", "/tasks/" + foreign, ":cancel", ":subscribe",
        foreign, "%252F" + foreign, "%3F", "%20", "+", ";id=" + foreign,
    ))  # fmt: skip
    end = at + 1 if dice.random() < 0.5 else at
    path = path[:at] + inserted + path[end:]
    if dice.random() < 0.1:
        path = path.replace("tasks", dice.choice(("Tasks", "t%61sks", "TASKS")), 1)
    method = dice.choice(("GET", "POST", "DELETE", "HEAD", "PUT"))
    return request._replace(
        method=method if dice.random() < 0.2 else request.method, target=path + mark + query
    )


def _change_query(request: Request, texts: Texts, dice: random.Random) -> Request:
    value = quote(dice.choice((*texts.foreign, *texts.own.values())), safe="")
    name = dice.choice((*_NAMES, "ID", "Id", "task-id", "tenant%00", "i%64", "a2a-version", "id[]"))
    sign = dice.choice(("&", "&", "&", ";", "%26", "&&"))
    mark = sign if "?" in request.target else "?"
    return request._replace(target=f"{request.target}{mark}{name}={value}")


def _add_body(request: Request, texts: Texts, dice: random.Random) -> Request:
    """Give a request a body that needs none, or none that needs one."""
    name, value = dice.choice(_NAMES), dice.choice((*texts.foreign, *texts.own.values()))
    body = dice.choice((b"", b"{}", json.dumps({name: value}).encode()))
    return request._replace(body=body)


def _merge_protobuf(request: Request, texts: Texts, dice: random.Random) -> Request:
    """Write a field again, in the message or in one in it: readers merge or replace."""
    new = dice.choice((*texts.foreign, *texts.own.values())).encode()
    number, data = dice.randint(1, 17), request.body[_HEAD:]
    field = dice.choice((
        wire.delimited(number, new),
        wire.delimited(number, b"tasks/" + new),
        wire.delimited(number, wire.delimited(dice.randint(1, 8), new)),
        wire.delimited(number, wire.delimited(dice.randint(1, 4), wire.delimited(4, new))),
        wire.integer(number, dice.getrandbits(64)),
        # A group, and the number of the field in more bytes than it needs.
        wire.varint(number << 3 | 3) + wire.delimited(number, new) + wire.varint(number << 3 | 4),
        bytes(((number & 15) << 3 | 0x82, 0x80, 0)) + wire.varint(len(new)) + new,
        data,
    ))  # fmt: skip
    return request._replace(body=framed(dice.choice((data + field, field + data))))


def _nest_protobuf(request: Request, texts: Texts, dice: random.Random) -> Request:
    """Write a field again in the first message that is one."""
    data, new = request.body[_HEAD:], dice.choice(texts.foreign).encode()
    try:
        fields = [*wire.fields(data)]
    except ValueError:
        return request
    inner = [each for each in fields if each.wire_type == wire.BYTES]
    if not inner:
        return request
    chosen = dice.choice(inner)
    more = wire.delimited(dice.randint(1, 8), new)
    raw = wire.delimited(chosen.number, dice.choice((chosen.value + more, more + chosen.value)))
    parts = [raw if each is chosen else each.raw for each in fields]
    return request._replace(body=framed(b"".join(parts)))


def _change_frame(request: Request, texts: Texts, dice: random.Random) -> Request:
    body = request.body
    other = framed(wire.delimited(2, texts.foreign[0].encode()))
    at = dice.randint(0, len(body) - 1) if body else 0
    return request._replace(
        body=dice.choice((
            b"\1" + body[1:], body + other, other + body, body + b"\0", body[:-1], body[:_HEAD],
            body[:at] + bytes((dice.randrange(256),)) + body[at + 1 :],
        ))
    )  # fmt: skip


def _change_service(request: Request, texts: Texts, dice: random.Random) -> Request:
    service, _, name = request.target[1:].partition("/")
    module = SDK_MODULES[dice.choice(list(SDK_MODULES))]
    other = module.DESCRIPTOR.services_by_name["A2AService"]
    name = dice.choice(
        (name, name.lower(), dice.choice(other.methods).name, name + "/", "%47etTask")
    )
    return request._replace(target=f"/{dice.choice((service, other.full_name))}/{name}")


_Way = Callable[[Request, Texts, random.Random], Request]
_JSON_WAYS: tuple[_Way, ...] = (
    _repeat_member, _repeat_member, _use_proto_names, _exchange_text, _exchange_text, _change_path,
    _change_query, _add_body, *map(_as_mcp, (
        mcp_mutations.change_bytes, mcp_mutations.change_field, mcp_mutations.change_coding,
        mcp_mutations.change_id,
    )),
)  # fmt: skip
_GRPC_WAYS: tuple[_Way, ...] = (
    _merge_protobuf, _merge_protobuf, _nest_protobuf, _nest_protobuf, _change_frame,
    _change_service, _change_query, _as_mcp(mcp_mutations.change_field),
)  # fmt: skip
