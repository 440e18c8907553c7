"""Queries, messages of gRPC and header fields, which carry a request or a budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.a2a import budget_extension, grpc_messages, message_fields, methods
from crewgate.core.a2a import query_parameters as query
from crewgate.core.a2a.client_ids import RequestTexts
from crewgate.core.a2a.errors import INVALID_AGENT_RESPONSE, INVALID_PARAMS, A2AError
from crewgate.core.a2a.grpc_messages import MessageReader
from crewgate.core.a2a.message_fields import Fields
from crewgate.core.a2a.methods import Version
from crewgate.core.sealed_ids import CallIds, IdKind, IdOwner, IdSealer

OWNER = IdOwner("crew", bytes(16), "r")
SEALER = IdSealer([bytes(32)])
LIST = message_fields.of_request(methods.LIST_TASKS, Version.V1_0)
GET = message_fields.of_request(methods.GET_TASK, Version.V1_0)


def rewritten(text: str, fields: Fields = LIST, in_path: tuple[str, ...] = ()) -> str:
    """The query for the agent."""
    return query.rewrite(query.parse(text), fields, RequestTexts(CallIds(SEALER, OWNER)), in_path)


def test_a_query_is_written_anew_with_the_ids_of_the_agent() -> None:
    """All other parameters keep their values."""
    context = SEALER.seal("c/1", IdKind.A2A_CONTEXT, OWNER)
    got = rewritten(
        f"contextId={context}&status=TASK_STATE_WORKING&x=a+b%2Fc&pageSize=5&pageToken="
    )
    assert got == "contextId=c%2F1&status=TASK_STATE_WORKING&x=a%20b%2Fc&pageSize=5&pageToken="


@pytest.mark.parametrize(
    ("text", "fields", "in_path"),
    [
        ("contextId=a&contextId=b", LIST, ()), ("context_id=a&contextId=b", LIST, ()),
        ("ContextID=a", LIST, ()), ("contextId=%ff", LIST, ()), ("contextId=%zz", LIST, ()),
        ("a=1;contextId=x", LIST, ()), ("id=x", GET, ("id",)), ("x=" + "a" * 5000, LIST, ()),
        ("pageToken=raw", LIST, ()),
    ],
)  # fmt: skip
def test_a_query_that_readers_could_read_in_two_ways_is_refused(
    text: str, fields: Fields, in_path: tuple[str, ...]
) -> None:
    """The agent could take another context than the gateway has judged."""
    with pytest.raises(A2AError) as caught:
        rewritten(text, fields, in_path)
    assert caught.value.kind is INVALID_PARAMS


@given(st.lists(st.binary(max_size=20), max_size=5), st.data())
def test_messages_of_grpc_are_found_however_they_arrive(
    messages: list[bytes], data: st.DataObject
) -> None:
    """The reader keeps an incomplete message until its rest arrives."""
    body = b"".join(map(grpc_messages.framed, messages))
    reader, found, at = MessageReader(20, INVALID_AGENT_RESPONSE), [], 0
    while at < len(body):
        size = data.draw(st.integers(1, len(body) - at))
        found += reader.feed(body[at : at + size])
        at += size
    assert found == messages
    assert not reader.held_bytes


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"\1\0\0\0\0", b"\0\0\0\0\1", b"\0\0\0\0\0\0", b"\0\xff\0\0\0"]
)
def test_a_request_of_grpc_is_one_message_that_is_not_compressed(body: bytes) -> None:
    """The head of a message that is too long is enough to refuse it."""
    with pytest.raises(A2AError):
        grpc_messages.single(body, 100)
    assert grpc_messages.single(grpc_messages.framed(b"abc"), 3) == b"abc"


def test_the_budget_is_in_fields_of_both_dialects() -> None:
    """Ours is a decimal number, AAuth's a dictionary of integers (RFC 9651)."""
    assert budget_extension.request_fields(12_500_000) == [(b"x-crewgate-credits-left", b"12.50")]
    budget = budget_extension.aauth_budget
    unit = b'unit="credit", decimals=6'
    assert budget(5, 2) == (b"aauth-budget", b"remaining=5, cost=2, " + unit)
    assert budget(-1, 10**18) == (
        b"aauth-budget",
        b"remaining=0, cost=999999999999999, " + unit,
    )
    refusal = budget_extension.aauth_refusal
    assert refusal(1, 8) == (b"aauth-budget", b"remaining=1, required=8, " + unit)
    assert refusal(0, 0) == (b"aauth-budget", b"remaining=0, " + unit)
