"""A branch sees its own tasks, contexts and pages, and no others."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core import protobuf_wire as wire
from crewgate.core.a2a import json_messages, message_fields, methods, protobuf_messages
from crewgate.core.a2a.agent_card import CardView
from crewgate.core.a2a.client_ids import RequestTexts, ResponseTexts, origin_of
from crewgate.core.a2a.errors import (
    INVALID_AGENT_RESPONSE,
    INVALID_PARAMS,
    PUSH_NOT_SUPPORTED,
    TASK_NOT_FOUND,
    A2AError,
    ErrorType,
)
from crewgate.core.a2a.message_fields import Fields, TextKind
from crewgate.core.a2a.methods import Version
from crewgate.core.a2a.text_rewriting import TextRewriter
from crewgate.core.sealed_ids import CallIds, IdOwner, IdSealer

OLD, NEW = bytes(32), bytes(31) + b"\1"
VIEW = CardView("https://gateway.example/a2a", "gateway.example", "r.*", (), ())
TASK, CONTEXT, PAGE, NAME = TextKind.TASK, TextKind.CONTEXT, TextKind.PAGE, TextKind.TASK_NAME
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def call(branch: int = 1, *, keys: tuple[bytes, ...] = (OLD,), endpoint: str = "r") -> CallIds:
    """The ids of one call of a branch."""
    return CallIds(IdSealer(keys), IdOwner("crew", bytes(15) + bytes((branch,)), endpoint))


def sent(text: str, kind: TextKind, branch: int = 1, **options: object) -> str:
    """Return the text that the agent gets for one of a branch."""
    return RequestTexts(call(branch, **options)).text(kind, text)  # type: ignore[arg-type]


def received(text: str, kind: TextKind, branch: int = 1, **options: object) -> str:
    """Return the text that a branch gets for one of the agent."""
    return ResponseTexts(call(branch, **options), VIEW).text(kind, text)  # type: ignore[arg-type]


def refusal(text: str, kind: TextKind, branch: int = 1, **options: object) -> ErrorType:
    """The type of the error that a text of a branch is."""
    with pytest.raises(A2AError) as caught:
        sent(text, kind, branch, **options)
    return caught.value.kind


@given(ids)
def test_a_task_exists_for_its_branch_only(task: str) -> None:
    """Another branch or endpoint gets the same answer for it as for any text."""
    sealed = received(task, TASK)
    assert sent(sealed, TASK) == task
    assert received(task, TASK) == sealed
    foreign = refusal(sealed, TASK, 2), refusal(sealed, TASK, endpoint="s")
    assert {*foreign, refusal(task, TASK), refusal("x", TASK)} == {TASK_NOT_FOUND}
    if "/" not in task:
        name = received(f"tasks/{task}/pushNotificationConfigs/c", NAME)
        assert sent(name, NAME) == f"tasks/{task}/pushNotificationConfigs/c"
        assert refusal(name, NAME, 2) is TASK_NOT_FOUND
        assert sent(name.split("/")[1], TASK) == task


def test_a_context_of_the_agent_is_sealed() -> None:
    """Another branch that sends it begins a context of its own."""
    sealed = received("agents", CONTEXT)
    assert sent(sealed, CONTEXT) == "agents"
    elsewhere = sent(sealed, CONTEXT, 2)
    assert elsewhere != "agents"
    assert received(elsewhere, CONTEXT, 2) == sealed


@given(ids)
def test_a_context_of_a_client_is_its_own(context: str) -> None:
    """Two branches that choose one name do not meet, and each reads its own name."""
    first, second = sent(context, CONTEXT), sent(context, CONTEXT, 2)
    assert len({context, first, second}) == 3
    assert received(first, CONTEXT) == context
    assert received(second, CONTEXT, 2) == context
    assert received(first, CONTEXT, 2) != context


def test_a_context_of_the_gateway_survives_another_sealing_key() -> None:
    """A conversation goes on while the keys change."""
    request = RequestTexts(call(), context="fresh")
    shown = ResponseTexts(call(), VIEW).text(CONTEXT, request.begin_context())
    assert sent(shown, CONTEXT, keys=(NEW, OLD)) == request.begin_context()
    assert RequestTexts(call()).begin_context() == ""


def test_the_tasks_of_a_branch_are_known_by_their_contexts() -> None:
    """A list shows tasks whose context the gateway has named for the branch."""
    mine = sent("chosen", CONTEXT), RequestTexts(call(), context="fresh").begin_context()
    response = ResponseTexts(call(), VIEW)
    assert all(map(response.keeps_task, mine))
    assert response.hides_total
    others = sent("chosen", CONTEXT, 2), "agents", ""
    assert not any(map(response.keeps_task, others))
    request = RequestTexts(call())
    request.text(CONTEXT, received("agents", CONTEXT))
    named = ResponseTexts(call(), VIEW, contexts=request.contexts)
    assert named.keeps_task("agents")
    assert not named.keeps_task(mine[0])
    assert not named.hides_total


def test_a_page_is_of_the_branch() -> None:
    """The token of a page may name a task of another branch, so only its branch can use it."""
    page = received("cursor", PAGE)
    assert sent(page, PAGE) == "cursor"
    assert {refusal(page, PAGE, 2), refusal("cursor", PAGE)} == {INVALID_PARAMS}


def test_a_tenant_must_be_let_through() -> None:
    """One upstream may have several agents, and a token allows one endpoint."""
    assert RequestTexts(call(), tenants=["acme"]).text(TextKind.TENANT, "acme") == "acme"
    assert refusal("acme", TextKind.TENANT) is INVALID_PARAMS


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://hooks.example/a?b=c", True), ("https://HOOKS.example:443", True),
        ("https://hooks.example:8443/", False), ("http://hooks.example/", False),
        ("https://hooks.example@evil.example/", False), ("https://evil/?hooks.example", False),
        ("https://hooks.example\\@evil.example/", False), ("https:hooks.example", False),
        ("https://hooks.example.evil.example/", False), ("https://hooks.example#@evil/", False),
        ("//hooks.example/", False), ("https://hooks.example/\r\nx: y", False), ("", False),
    ],
)  # fmt: skip
def test_the_agent_may_push_to_named_origins_only(url: str, allowed: bool) -> None:
    """No reader finds another host in an address than the gateway did."""
    origins = {origin_of("https://hooks.example")}
    texts = RequestTexts(call(), push_origins=origins)
    if allowed:
        assert texts.text(TextKind.PUSH_URL, url) == url
    else:
        with pytest.raises(A2AError) as caught:
            texts.text(TextKind.PUSH_URL, url)
        assert caught.value.kind is PUSH_NOT_SUPPORTED


def test_an_id_that_is_too_long_is_an_error_of_its_sender() -> None:
    """The agent's is an answer that the gateway cannot pass on."""
    assert refusal("x" * 2000, CONTEXT) is INVALID_PARAMS
    with pytest.raises(A2AError) as caught:
        received("x" * 2000, TASK)
    assert caught.value.kind is INVALID_AGENT_RESPONSE


@pytest.mark.parametrize("is_protobuf", [False, True])
def test_a_message_has_a_bounded_number_of_ids(
    monkeypatch: pytest.MonkeyPatch, is_protobuf: bool
) -> None:
    """Each one is sealed or opened, which takes the time of many values."""
    monkeypatch.setattr(limits, "a2a_json_values_max", 100)
    monkeypatch.setattr(limits, "a2a_fields_max", 100)

    def refers(texts: TextRewriter, fields: Fields, named: list[str]) -> None:
        if is_protobuf:
            message = b"".join(wire.delimited(8, each.encode()) for each in named)
            protobuf_messages.rewrite(message, fields, texts)
        else:
            message = json.dumps({"referenceTaskIds": named}).encode()
            json_messages.rewrite(message, fields, texts)

    message = message_fields.of_request(methods.SEND_MESSAGE, Version.V1_0).by_name["message"]
    assert isinstance(message.content, Fields)
    fields = message.content
    sealed = received("t", TASK)
    refers(RequestTexts(call()), fields, [sealed] * 5)
    with pytest.raises(A2AError, match="to read"):
        refers(RequestTexts(call()), fields, [sealed] * 9)
    refers(ResponseTexts(call(), VIEW), fields, ["t"] * 9)
    with pytest.raises(A2AError, match="to read"):
        refers(ResponseTexts(call(), VIEW), fields, [f"t{number}" for number in range(9)])


def test_a_stream_without_end_takes_bounded_memory() -> None:
    """The ids of its agent stay the same for the client, though not all are remembered."""
    texts = ResponseTexts(call(), VIEW)
    first = texts.text(TASK, "t0")
    for number in range(limits.a2a_known_ids_max + 1):
        texts.text(TASK, f"t{number}")
    assert len(texts._known) <= limits.a2a_known_ids_max
    assert texts.text(TASK, "t0") == first
