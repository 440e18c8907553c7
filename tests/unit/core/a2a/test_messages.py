"""Messages are rewritten at the ids that A2A defines, and nowhere else.

The protobuf classes of the official SDK are the reference for both forms of messages.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from a2a.types import a2a_pb2
from a2a_id_fields import IDS, NAMES, SDK_MODULES
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.a2a import json_messages, message_fields, methods, protobuf_messages
from crewgate.core.a2a.errors import INVALID_AGENT_RESPONSE, INVALID_PARAMS, A2AError
from crewgate.core.a2a.message_fields import Fields, TextKind
from crewgate.core.a2a.methods import METHODS, Method, Version
from crewgate.core.a2a.text_rewriting import TextRewriter

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


class Marked(TextRewriter):
    """Marks each text that it gets."""

    def __init__(self, *, is_strict: bool = False, context: str = "", hides: bool = False) -> None:
        self.is_strict = is_strict
        self.malformed = INVALID_PARAMS if is_strict else INVALID_AGENT_RESPONSE
        self.context = context
        self.hides_total = hides
        self.tasks: dict[str, bool] = {}

    def text(self, kind: TextKind, text: str) -> str:
        return f"«{kind.name if kind is TextKind.TENANT else ''}{text}»"

    def begin_context(self) -> str:
        return self.context

    def keeps_task(self, context_id: str) -> bool:
        return context_id.startswith("mine")

    def note_task(self, task: str, *, has_ended: bool) -> None:
        self.tasks[task] = has_ended

    def json_card(self, card: bytes) -> bytes:
        return b'{"card":%b}' % card

    def protobuf_card(self, card: bytes, version: Version) -> bytes:
        return version.value.encode() + card


def filled(kind: Any, depth: int = 0) -> st.SearchStrategy[Message]:
    """Messages of a type of the SDK, with texts in every field that is one."""
    parts: dict[str, st.SearchStrategy[Any]] = {}
    for field in kind.DESCRIPTOR.fields:
        value: st.SearchStrategy[Any]
        name = field.message_type.name if field.message_type is not None else ""
        if field.type == field.TYPE_STRING:
            value = texts
        elif field.type == field.TYPE_BOOL:
            value = st.booleans()
        elif name in {"Message", "Task", "TaskStatus", "Part", "Artifact"} or (
            name.endswith(("Event", "Config", "Configuration")) and depth < 4
        ):
            value = filled(field.message_type._concrete_class, depth + 1)
        else:
            continue
        parts[field.name] = st.lists(value, max_size=2) if is_repeated(field) else value
    required = {name: parts.pop(name) for name in [*parts] if depth == 0 and name == "id"}
    return st.fixed_dictionaries(required, optional=parts).map(lambda given: kind(**given))


def is_repeated(field: Any) -> bool:
    """Whether a field is a list."""
    return bool(field.is_repeated)


def mark(message: Message) -> None:
    """Do to a message of the SDK what the gateway must do."""
    for field, value in [*message.ListFields()]:
        place = (message.DESCRIPTOR.name, field.name)
        if field.message_type is not None:
            for each in value if is_repeated(field) else [value]:
                if not field.message_type.full_name.startswith("google."):
                    mark(each)
        elif place in IDS | NAMES or field.name == "tenant":
            tenant = "TENANT" if field.name == "tenant" else ""
            if is_repeated(field):
                value[:] = [f"«{tenant}{text}»" if text else text for text in value]
            elif value:
                setattr(message, field.name, f"«{tenant}{value}»")


def messages() -> Iterator[tuple[Version, Method, bool, Any]]:
    """Each request and each response of each method in each version."""
    for version, module in SDK_MODULES.items():
        service = module.DESCRIPTOR.services_by_name["A2AService"]
        for each in service.methods:
            found = methods.of_grpc_path(f"/{service.full_name}/{each.name}")
            assert found is not None
            yield version, found[0], True, each.input_type._concrete_class
            if found[0] is not methods.GET_EXTENDED_AGENT_CARD:
                yield version, found[0], False, each.output_type._concrete_class


Case = tuple[Version, Method, bool, Any]
CASES = [*messages()]


def complete(kind: Any, depth: int = 0) -> Message:
    """A message of a type of the SDK with a text in every field that is one."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.message_type is not None:
            if field.message_type.full_name.startswith("google.") or depth > 4:
                continue
            part = complete(field.message_type._concrete_class, depth + 1)
            target = getattr(message, field.name)
            if field.message_type.GetOptions().map_entry:
                continue
            if is_repeated(field):
                target.extend([part, part])
            else:
                target.CopyFrom(part)
        elif field.type == field.TYPE_STRING:
            if is_repeated(field):
                getattr(message, field.name).extend(["a", "b"])
            else:
                setattr(message, field.name, f"{field.name}-{depth}")
    return message  # type: ignore[no-any-return]


def check_both_forms(case: Case, message: Any) -> None:
    """All ids of a message change, and nothing else does, in protobuf and in JSON."""
    version, method, is_request, kind = case
    find = message_fields.of_request if is_request else message_fields.of_response
    fields = find(method, version)
    if fields.lists_tasks:
        for task in message.tasks:
            task.context_id = "mine" + task.context_id
    rewriter = Marked(is_strict=is_request)
    expected = kind.FromString(message.SerializeToString())
    mark(expected)
    got = protobuf_messages.rewrite(message.SerializeToString(), fields, rewriter)
    assert kind.FromString(got) == expected
    text = json_format.MessageToJson(message).encode()
    got = json_messages.rewrite(text, fields, rewriter)
    assert json_format.Parse(got, kind()) == expected


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{case[3].DESCRIPTOR.full_name}-{case[1].name}" for case in CASES]
)
def test_each_id_of_a_complete_message_is_rewritten(case: Case) -> None:
    """Every place where A2A has an id or an address, in each message of each version."""
    kind = case[3]
    check_both_forms(case, complete(kind))
    for choice in kind.DESCRIPTOR.oneofs:  # of which a message holds one
        for field in choice.fields:
            if field.message_type is not None:
                part = complete(field.message_type._concrete_class, 1)
                check_both_forms(case, kind(**{field.name: part}))


@given(st.data())
def test_both_forms_are_rewritten_alike(data: st.DataObject) -> None:
    """Messages with some of their fields, and with unusual texts in them."""
    case = data.draw(st.sampled_from(CASES))
    check_both_forms(case, data.draw(filled(case[3])))


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"a","ID":"b"}', b'{"ID":"a"}', b'{"i_d":"a"}', b'{"id":1}', b'{"id":["a"],"Id":1}',
        b'{"id":{}}', b"[]", b'"a"', b"", b'{"id":"\\ud800"}',
    ],
)  # fmt: skip
def test_a_request_that_could_be_read_otherwise_is_refused(body: bytes) -> None:
    """Some readers ignore case, or take the last of two spellings."""
    fields = message_fields.of_request(methods.GET_TASK, Version.V1_0)
    with pytest.raises(A2AError) as caught:
        json_messages.rewrite(body, fields, Marked(is_strict=True))
    assert caught.value.kind is INVALID_PARAMS


def test_both_spellings_of_protojson_are_judged() -> None:
    """A request may write task_id or taskId, and not both."""
    fields = message_fields.of_request(methods.SEND_MESSAGE, Version.V1_0)
    got = json_messages.rewrite(b'{"message":{"task_id":"t"}}', fields, Marked(is_strict=True))
    assert json.loads(got) == {"message": {"task_id": "«t»"}}
    with pytest.raises(A2AError):
        json_messages.rewrite(
            b'{"message":{"task_id":"t","taskId":"t"}}', fields, Marked(is_strict=True)
        )


@pytest.mark.parametrize("name", ["pushNotificationConfig", "taskPushNotificationConfig"])
@pytest.mark.parametrize("version", [*Version])
def test_an_address_for_pushes_is_judged_under_each_name(name: str, version: Version) -> None:
    """An agent that reads the other version finds no address that the gateway has not judged."""
    fields = message_fields.of_request(methods.SEND_MESSAGE, version)
    body = json.dumps({"configuration": {name: {"url": "https://x.example/"}}}).encode()
    got = json.loads(json_messages.rewrite(body, fields, Marked(is_strict=True)))
    assert got["configuration"][name]["url"] == "«https://x.example/»"


def test_what_is_not_listed_passes_byte_for_byte() -> None:
    """Numbers, escapes and unknown members stay as they were written."""
    body = b'{"id":"a", "metadata": {"id": "b",  "n": 1.50, "s": "\\u00e9"} , "x":1e2}'
    fields = message_fields.of_response(methods.GET_TASK, Version.V1_0)
    got = json_messages.rewrite(body, fields, Marked())
    assert b'{"id": "b",  "n": 1.50, "s": "\\u00e9"}' in got
    assert b'"x":1e2' in got
    unchanged = b'{ "metadata": {"id": "b"}}'
    assert json_messages.rewrite(unchanged, fields, Marked()) == unchanged


@pytest.mark.parametrize(
    "twice", [a2a_pb2.GetTaskRequest(id="a"), a2a_pb2.GetTaskRequest(tenant="t")]
)
def test_a_protobuf_request_has_no_judged_field_twice(twice: Message) -> None:
    """Readers take the last of two values."""
    fields = message_fields.of_request(methods.GET_TASK, Version.V1_0)
    with pytest.raises(A2AError):
        protobuf_messages.rewrite(twice.SerializeToString() * 2, fields, Marked(is_strict=True))


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader_of_protobuf(data: bytes) -> None:
    """Bytes that are no protobuf are an error of the protocol; a message keeps its fields."""
    fields = message_fields.of_response(methods.SEND_MESSAGE, Version.V1_0)
    with contextlib.suppress(A2AError, DecodeError):  # the SDK also reads what the gateway does not
        got = protobuf_messages.rewrite(data, fields, Marked())
        expected = a2a_pb2.SendMessageResponse.FromString(data)
        mark(expected)
        assert a2a_pb2.SendMessageResponse.FromString(got) == expected


@pytest.mark.parametrize("hides", [False, True])
def test_a_list_has_the_tasks_of_the_branch_only(hides: bool) -> None:
    """The tasks of others leave a list in both forms, and its total does not count them."""
    mine = [a2a_pb2.Task(id=f"{at}", context_id=f"mine{at}") for at in range(2)]
    others = [a2a_pb2.Task(id="9", context_id="other"), a2a_pb2.Task(id="8")]
    fields = message_fields.of_response(methods.LIST_TASKS, Version.V1_0)
    for tasks, total in (([*mine, *others], 2), (mine, 2 if hides else 70)):
        whole = a2a_pb2.ListTasksResponse(
            tasks=tasks, next_page_token="n", page_size=50, total_size=70
        )
        rewriter = Marked(hides=hides)
        got = a2a_pb2.ListTasksResponse.FromString(
            protobuf_messages.rewrite(whole.SerializeToString(), fields, rewriter)
        )
        text = json_messages.rewrite(json_format.MessageToJson(whole).encode(), fields, rewriter)
        assert json_format.Parse(text, a2a_pb2.ListTasksResponse()) == got
        assert [task.id for task in got.tasks] == ["«0»", "«1»"]
        assert (got.total_size, got.page_size, got.next_page_token) == (total, 50, "«n»")


@pytest.mark.parametrize("version", [*Version])
@pytest.mark.parametrize(
    ("sent", "begins"),
    [({}, True), ({"contextId": "c"}, False), ({"taskId": "t"}, False), ({"contextId": ""}, True)],
)
def test_a_message_without_a_context_gets_one(
    version: Version, sent: dict[str, str], begins: bool
) -> None:
    """A message that names a context or a task stays where it is."""
    rewriter = Marked(is_strict=True, context="new")
    fields = message_fields.of_request(methods.SEND_MESSAGE, version)
    got = json_messages.rewrite(json.dumps({"message": sent}).encode(), fields, rewriter)
    assert (json.loads(got)["message"].get("contextId") == "new") == begins
    kind = SDK_MODULES[version].SendMessageRequest
    message = json_format.ParseDict({"message": sent}, kind())
    read = kind.FromString(protobuf_messages.rewrite(message.SerializeToString(), fields, rewriter))
    named = read.message if version is Version.V1_0 else read.request
    assert (named.context_id == "new") == begins


@pytest.mark.parametrize("state", ["WORKING", "COMPLETED", "INPUT_REQUIRED", "REJECTED"])
@pytest.mark.parametrize("version", [*Version])
def test_the_state_of_a_task_is_seen(version: Version, state: str) -> None:
    """In a task and in an update, in both forms, and as version 0.3 has it in JSON-RPC."""
    has_ended = state in {"COMPLETED", "REJECTED"}
    fields = message_fields.of_response(methods.SEND_STREAMING_MESSAGE, version)
    kind, status = SDK_MODULES[version].StreamResponse, {"state": f"TASK_STATE_{state}"}
    for content in ({"task": {"id": "t"}}, {"statusUpdate": {"taskId": "t"}}):
        (inner,) = content.values()
        message = json_format.ParseDict({next(iter(content)): inner | {"status": status}}, kind())
        for rewrite, data in (
            (protobuf_messages.rewrite, message.SerializeToString()),
            (json_messages.rewrite, json_format.MessageToJson(message).encode()),
        ):
            rewriter = Marked()
            rewrite(data, fields, rewriter)
            assert rewriter.tasks == {"t": has_ended}
        if version is Version.V0_3:
            rewriter, flat = Marked(), {**inner, "status": {"state": state.lower()}}
            json_messages.rewrite(json.dumps(flat).encode(), fields, rewriter)
            assert rewriter.tasks == {"t": has_ended}


def test_cards_go_their_own_way() -> None:
    """An agent card is rewritten as a whole."""
    for version in Version:
        fields = message_fields.of_response(methods.GET_EXTENDED_AGENT_CARD, version)
        assert json_messages.rewrite(b"{}", fields, Marked()) == b'{"card":{}}'
        assert protobuf_messages.rewrite(b"x", fields, Marked()) == version.value.encode() + b"x"


@pytest.mark.parametrize("is_request", [True, False])
def test_a_message_is_read_to_a_bound(is_request: bool) -> None:
    """Neither form makes the gateway read more values than the limits allow."""
    fields = message_fields.of_response(methods.GET_TASK, Version.V1_0)
    rewriter = Marked(is_strict=is_request)
    many = limits.a2a_json_values_max + 1
    with pytest.raises(A2AError):
        json_messages.rewrite(b'{"history":[%b]}' % b",".join([b"{}"] * many), fields, rewriter)
    with pytest.raises(A2AError):
        protobuf_messages.rewrite(b"\x10\x01" * many, fields, rewriter)


def test_each_method_has_fields_in_each_version_that_has_it() -> None:
    """Version 0.3 has all methods but ListTasks."""
    for method in METHODS.values():
        for version in Version:
            if (method, version) != (methods.LIST_TASKS, Version.V0_3):
                assert isinstance(message_fields.of_request(method, version), Fields)
