"""Digests of answers, as the rules on branches compare them."""

import json
import tracemalloc
from typing import Any

import pytest

from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core.rules.builtin import builtin_rules
from crewgate.core.rules.rule import LoopRules, RuleMode
from crewgate.gateway.call.call_digests import AnswerBody, CallDigests

RULES = builtin_rules(RuleMode.ENFORCE, warn=4, refuse=10, end=20)


@pytest.fixture
def table() -> OwnedTable:
    return OwnedTable.private(TableCapacities(64, 64, 64, 2))


def digest(table: OwnedTable, body: bytes, volatile: tuple[str, ...] = ()) -> int:
    answer = AnswerBody(is_message=True)
    answer.add(body)
    return CallDigests(LoopRules(RULES, volatile_members=volatile)).of_answer(table, answer)


def message(number: int, result: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": result, **more}).encode()


def test_answers_are_equal_if_they_say_the_same(table: OwnedTable) -> None:
    """Whatever number a client gave its call, and whether the server streams the answer."""
    first = digest(table, message(1, {"content": [], "_meta": {"at": 1}}))
    assert first
    assert digest(table, message(2, {"_meta": {"at": 2}, "content": []})) == first
    events = b"event: message\r\ndata: " + message(3, {"content": []}) + b"\r\n\r\n"
    assert digest(table, events) == first


def test_answers_that_name_other_things_are_other_answers(table: OwnedTable) -> None:
    """The id of a thing that the tool has made is no id of a message."""
    made = [digest(table, message(1, {"structuredContent": {"id": each}})) for each in (17, 18)]
    assert len({0, *made}) == 3
    named = [
        digest(table, message(1, {"structuredContent": {"id": each}}), ("id",)) for each in (17, 18)
    ]
    assert named[0] == named[1] != 0


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b'{"result":"\xff"}',
        b'{"\xff":1}',
        b'{"result":' * 5000,
        b"data:",
        b"data: [",
        b"[]",
    ],
)
def test_a_body_that_is_no_message_raises_nothing(body: bytes, table: OwnedTable) -> None:
    answer = AnswerBody(is_message=True)
    answer.add(body)
    assert not answer.is_failed()
    digest(table, body)


@pytest.mark.parametrize(
    ("body", "is_failed"),
    [
        (b'{"id":1,"error":{"code":-32603,"message":"broken"}}', True),
        (b'{"id":1,"result":{"isError":true,"content":[]}}', True),
        (b'{"id":1,"error":null,"result":{}}', False),
        (b'{"id":1,"result":{"isError":false}}', False),
        (b'{"id":1,"result":null}', False),
    ],
)
def test_a_message_says_whether_the_call_failed(body: bytes, is_failed: bool) -> None:
    answer = AnswerBody(is_message=True)
    answer.add(body)
    assert answer.is_failed() == is_failed


def test_an_answer_of_many_small_pieces_takes_little_room(table: OwnedTable) -> None:
    """A server that sends two bytes at a time must not take thirty times the memory."""
    body = bytes(range(256)) * 128
    tracemalloc.start()
    try:
        answer = AnswerBody(is_message=False)
        for at in range(0, len(body), 2):
            answer.add(body[at : at + 2])
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert answer.content() == body
    assert held < 2 * len(body)
