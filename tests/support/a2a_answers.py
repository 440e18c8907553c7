"""Random answers of an A2A agent, in the form of each binding and version.

They have the agent's own ids everywhere. A text with `RAW.` or `HIDDEN` must not reach a client;
`SHOWN` must. What is hidden are tasks of other branches in a list, and where the agent itself is.
"""

import json
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from a2a_id_fields import SDK_MODULES, kind_of
from a2a_mutations import Request, framed
from google.protobuf import json_format
from google.protobuf.message import Message

from crewgate.core.a2a.methods import Version

TOTAL = 977_000_977  # tasks of all branches that the agent counts
_DEPTH_MAX = 5
_STREAMS = ("SendStreamingMessage", "SubscribeToTask")


class Contexts(NamedTuple):
    """The agent's names of contexts: those of the branch, and of other branches."""

    own: Sequence[str]
    others: Sequence[str]


class Answer(NamedTuple):
    """The type and the bytes of a body, and how many tasks of the branch it lists."""

    content_type: bytes
    body: bytes
    shown: int


def answer_to(request: Request, contexts: Contexts, dice: random.Random) -> Answer:
    """Return what an agent could answer; in a list are the tasks of all `contexts`."""
    if request.call == "GetExtendedAgentCard":
        return _written([_card(request, dice)], request, dice, 0)
    kind = _response_type(request)
    if request.call == "ListTasks":
        message, shown = _list(kind, contexts, dice)
        return _written([message], request, dice, shown)
    count = dice.randint(1, 4) if request.call in _STREAMS else 1
    return _written([_filled(kind, contexts, dice) for _ in range(count)], request, dice, 0)


def _response_type(request: Request) -> type[Message]:
    module = SDK_MODULES[request.version]
    methods = module.DESCRIPTOR.services_by_name["A2AService"].methods_by_name
    renamed = {
        "SubscribeToTask": "TaskSubscription",
        "ListTaskPushNotificationConfigs": "ListTaskPushNotificationConfig",
    }
    name = request.call if request.call in methods else renamed[request.call]
    found: type[Message] = methods[name].output_type._concrete_class
    return found


def _list(kind: Any, contexts: Contexts, dice: random.Random) -> tuple[Message, int]:
    tasks, shown = [], 0
    for _ in range(dice.randint(0, 6)):
        is_own = dice.random() < 0.5
        context = dice.choice(contexts.own if is_own else contexts.others)
        task = _filled(kind.DESCRIPTOR.fields_by_name["tasks"].message_type._concrete_class,
                       contexts, dice)  # fmt: skip
        task.id, task.context_id = f"RAW.{dice.getrandbits(32)}", context
        task.metadata["mark"] = "SHOWN" if is_own else "HIDDEN"
        shown += is_own
        tasks.append(task)
    return kind(
        tasks=tasks, next_page_token="RAW.page", total_size=977_000_977, page_size=50
    ), shown


def _filled(kind: Any, contexts: Contexts, dice: random.Random, depth: int = 0) -> Any:
    """A message with the agent's ids in all fields that can have one."""
    message = kind()
    chosen = {one.name: dice.choice(one.fields).name for one in kind.DESCRIPTOR.oneofs}
    for field in kind.DESCRIPTOR.fields:
        if field.containing_oneof is not None and chosen[field.containing_oneof.name] != field.name:
            continue
        if field.containing_oneof is None and dice.random() < 0.2:
            continue
        place = kind_of(kind.DESCRIPTOR.name, field.name)
        if place in {"task", "name", "page", "context"}:
            raw = f"RAW.{dice.getrandbits(32)}"
            name = f"tasks/{raw}/pushNotificationConfigs/c"
            texts = {"name": name, "context": dice.choice((raw, *contexts.own))}
            value: Any = texts.get(place, raw)
        elif field.message_type is not None:
            value = _below(field, contexts, dice, depth)
        elif field.type == field.TYPE_STRING:
            value = dice.choice(("", "text", '\u3041\\"', "\u2028"))
        else:
            continue
        _put(message, field, value)
    return message


def _below(field: Any, contexts: Contexts, dice: random.Random, depth: int) -> Any:
    is_of_a2a = field.message_type.full_name.startswith(("lf.a2a.", "a2a."))
    if depth >= _DEPTH_MAX or not is_of_a2a or field.message_type.GetOptions().map_entry:
        return None
    return _filled(field.message_type._concrete_class, contexts, dice, depth + 1)


def _put(message: Any, field: Any, value: Any) -> None:
    if value is None:
        return
    if field.is_repeated:
        getattr(message, field.name).append(value)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


def _card(request: Request, dice: random.Random) -> Message:
    """A card whose addresses, schemes and signatures are those of the agent."""
    kind = SDK_MODULES[request.version].AgentCard
    card = kind(name="Agent", description="SHOWN", version="1", signatures=[{"signature": "RAW."}])
    card.skills.add(id="s", name="s", description="s", tags=["t"])
    card.security_schemes["RAW."].http_auth_security_scheme.scheme = "RAW."
    binding = dice.choice(("JSONRPC", "HTTP+JSON", "GRPC"))
    if request.version is Version.V0_3:
        card.url, card.preferred_transport = "http://RAW./", binding
        card.additional_interfaces.add(url="http://RAW./", transport="JSONRPC")
        card.security.add()
        return card
    for version in ("1.0", "0.3"):
        card.supported_interfaces.add(
            url="http://RAW./", protocol_binding=binding, protocol_version=version
        )
    card.security_requirements.add()
    return card


def _written(
    messages: Sequence[Message], request: Request, dice: random.Random, shown: int
) -> Answer:
    if request.is_grpc:
        body = b"".join(framed(each.SerializeToString()) for each in messages)
        return Answer(b"application/grpc", body, shown)
    # The gateway reads a card by its names in JSON only.
    as_members = request.call != "GetExtendedAgentCard" and dice.random() < 0.3
    values = []
    for each in messages:
        value: Any = json_format.MessageToDict(each, preserving_proto_field_name=as_members)
        if request.is_rpc and request.version is Version.V0_3:
            value = _of_v0_3(value, request.call)
        if request.is_rpc:
            value = {"jsonrpc": "2.0", "id": 1, "result": value}
        text = json.dumps(value, ensure_ascii=dice.random() < 0.5)
        if dice.random() < 0.3:
            text = text.replace('"RAW', '"\\u0052AW')
        values.append(text.encode())
    if request.call in _STREAMS:
        end = dice.choice((b"\n", b"\r\n", b"\r"))
        return Answer(
            b"text/event-stream", b"".join(b"data: %b%b%b" % (x, end, end) for x in values), shown
        )
    return Answer(b"application/json", values[0], shown)


def _of_v0_3(value: dict[str, Any], call: str) -> Any:
    """Return the result of JSON-RPC in version 0.3: events have no member around them."""
    if call.startswith("Send") or call == "SubscribeToTask":
        return next(iter(value.values()), {})
    if "PushNotificationConfig" not in call or call.startswith("Delete"):
        return value
    configs = value.get("configs", [value])
    found = [
        {"taskId": "RAW.1", **{name: each[name] for name in each if name.startswith("push")}}
        for each in configs
    ]
    return found if call.startswith("List") else found[0]
