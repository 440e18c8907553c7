"""Which calls and answers have the same digest, and which have not."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from gate_world import GEOMETRY
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate._native.call_digester import CallDigester
from crewgate._native.table_owner import OwnedTable
from crewgate.core.rules.activity import EXEMPT

PLAIN = CallDigester()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=9), JSON)


@pytest.fixture(scope="module")
def table() -> Iterator[OwnedTable]:
    made = OwnedTable.private(GEOMETRY)
    yield made
    made.close()


def written(value: Any, chance: random.Random) -> str:
    """Return a JSON text with members in any order, any blanks and any escapes."""
    blank = " \n" * chance.randrange(2)
    if isinstance(value, dict):
        members = list(value.items())
        chance.shuffle(members)
        parts = [f"{written(name, chance)}:{written(each, chance)}" for name, each in members]
        return "{" + blank + f",{blank}".join(parts) + blank + "}"
    if isinstance(value, list):
        return f"[{blank}" + ",".join(written(each, chance) for each in value) + f"{blank}]"
    return json.dumps(value, ensure_ascii=bool(chance.randrange(2)))


def digest(table: OwnedTable, body: bytes, digester: CallDigester = PLAIN) -> int:
    return digester.call(table, b"POST", b"/page", b"", body)


@given(OBJECTS, OBJECTS, st.randoms())
def test_two_bodies_are_equal_if_their_json_is(
    table: OwnedTable, one: Any, other: Any, chance: random.Random
) -> None:
    first = digest(table, written(one, chance).encode())
    assert digest(table, written(one, chance).encode()) == first
    # True and 1 are equal in Python, and not in JSON.
    is_same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(table, written(other, chance).encode()) == first) is is_same


@given(st.binary(min_size=1, max_size=300), st.data())
def test_each_byte_and_its_place_counts(
    table: OwnedTable, body: bytes, data: st.DataObject
) -> None:
    changed = bytearray(body)
    changed[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    turns = data.draw(st.integers(0, len(body)))
    turned = body[turns:] + body[:turns]
    for other in (bytes(changed), turned, body + b"\0"):
        is_same = other == body
        assert (digest(table, other) == digest(table, body)) is is_same
        assert (PLAIN.answer(table, other) == PLAIN.answer(table, body)) is is_same


def test_no_two_short_texts_have_one_digest(table: OwnedTable) -> None:
    """Their bytes are read in words that overlap, so the size must not make up for a byte."""
    texts = {
        b"%c" % first + b"%c" % rest * size
        for first in b"abc123 "
        for rest in b"0 a"
        for size in range(40)
    }
    assert len({PLAIN.answer(table, text) for text in texts}) == len(texts)


def test_volatile_members_do_not_count_at_any_depth(table: OwnedTable) -> None:
    digester = CallDigester(("at", "näher"))
    bodies = [b'{"q":1,"at":%d,"in":{"n\\u00e4her":%d,"x":0}}' % (each, each) for each in (1, 2)]
    assert digest(table, bodies[0], digester) == digest(table, bodies[1], digester)
    assert digest(table, bodies[0]) != digest(table, bodies[1])
    with pytest.raises(ValueError, match=f"at most {limits.volatile_members_max}"):
        CallDigester(["m"] * (limits.volatile_members_max + 1))


def test_parameters_count_in_any_order(table: OwnedTable) -> None:
    def of(method: bytes, path: bytes, query: bytes) -> int:
        return PLAIN.call(table, method, path, query, b"")

    usual = of(b"GET", b"/page", b"a=1&b=2")
    assert of(b"GET", b"/page", b"b=2&a=1") == usual
    others = [
        of(b"GET", b"/page", b"a=2&b=1"),
        of(b"GET", b"/page", b"a=1"),
        of(b"HEAD", b"/page", b"a=1&b=2"),
        of(b"GET", b"/pagea", b"=1&b=2"),
    ]
    assert len({usual, *others}) == 1 + len(others)


def test_json_too_deep_or_torn_is_compared_by_its_bytes(table: OwnedTable) -> None:
    deep = b"[" * 80 + b"]" * 80
    torn = b'{"a":1,"b":2'
    assert digest(table, deep) == digest(table, deep) != digest(table, deep + b" ")
    assert digest(table, torn) != digest(table, b'{"b":2,"a":1')


def test_a_body_that_is_too_long_has_no_digest(table: OwnedTable) -> None:
    longest = b"a" * limits.digested_bytes_max
    assert digest(table, longest) > EXEMPT
    assert PLAIN.answer(table, longest) > EXEMPT
    assert digest(table, longest + b"a") == 0
    assert PLAIN.answer(table, longest + b"a") == 0


def test_tables_have_different_keys(table: OwnedTable) -> None:
    other = OwnedTable.private(GEOMETRY)
    try:
        assert digest(table, b"a") != digest(other, b"a")
    finally:
        other.close()
