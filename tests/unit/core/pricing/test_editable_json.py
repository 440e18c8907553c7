"""A JSON text that is read in places and written again, against Python's own reader."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tariffs import texts, values

from crewgate import limits
from crewgate._native.json_count import outline
from crewgate.core.pricing.editable_json import UNPRICED, EditableJSON
from crewgate.errors import InvalidRequestError

NOTHING = object()

few = st.sampled_from(["a", "b", "c", "0", "1", "10"])
small = st.recursive(
    st.none() | st.integers(0, 3) | st.sampled_from(["", "a"]),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(few, parts, max_size=3),
    max_leaves=12,
)
steps_of = st.lists(few, min_size=1, max_size=3)


def written_as(pairs: list[tuple[str, bytes]]) -> bytes:
    """An object of members as they stand, whose names are spelled as JSON already."""
    return b"{%b}" % b",".join(name.encode() + b" : " + value for name, value in pairs)


def names_of(text: bytes) -> list[str]:
    """The names of an object's members, each as often as it stands there."""
    return [name for name, _ in json.loads(text, object_pairs_hook=list)]


def walk(value: Any, steps: list[str]) -> Any:
    """The value that a pointer leads to, by RFC 6901; NOTHING if there is none."""
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step, NOTHING)
        elif isinstance(value, list) and step in map(str, range(len(value))):
            value = value[int(step)]
        else:
            return NOTHING
    return value


@given(st.dictionaries(texts, values, max_size=6), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_a_document_is_written_as_the_same_json(
    value: dict[str, Any], ascii_only: bool, indent: int | str | None
) -> None:
    """However it was spelled, what is written says what was read."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert json.loads(EditableJSON(text).written()) == value


@given(st.dictionaries(few, small, max_size=4), st.lists(steps_of, min_size=1, max_size=5))
def test_finds_what_a_pointer_leads_to(value: dict[str, Any], pointers: list[list[str]]) -> None:
    """Each place is found, or is not there, and looking changes nothing of what is written."""
    document = EditableJSON(json.dumps(value).encode())
    for steps in pointers:
        found = document.find(steps)
        assert (NOTHING if found is None else json.loads(found)) == walk(value, steps)
    assert json.loads(document.written()) == value


@given(st.dictionaries(few, small, max_size=4), st.lists(st.tuples(steps_of, values), max_size=4))
def test_puts_where_it_is_told(value: dict[str, Any], puts: list[tuple[list[str], object]]) -> None:
    """Objects on the way are made, of null, too; for anything else there the call is refused."""
    document, model = EditableJSON(json.dumps(value).encode()), deepcopy(value)
    for steps, new in puts:
        way = [walk(model, steps[:end]) for end in range(1, len(steps))]
        text = json.dumps(new).encode()
        if not all(part in (NOTHING, None) or isinstance(part, dict) for part in way):
            with pytest.raises(InvalidRequestError, match="is not an object"):
                document.put(steps, text)
        else:
            document.put(steps, text)
            inner = model
            for step in steps[:-1]:
                inner[step] = inner = inner.get(step) or {}
            inner[steps[-1]] = new
        assert json.loads(document.written()) == model


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), values), max_size=6))
def test_a_member_that_stands_there_twice_is_written_once(pairs: list[tuple[str, object]]) -> None:
    """The last one counts, for whoever prices it and for whoever reads what goes on."""
    text = written_as([(json.dumps(name), json.dumps(value).encode()) for name, value in pairs])
    document = EditableJSON(text)
    for name, value in dict(pairs).items():
        found = document.find([name])
        assert found is not None
        assert json.loads(found) == value
    assert sorted(names_of(document.written())) == sorted(dict(pairs))


def test_an_inner_member_that_stands_there_twice_is_written_once() -> None:
    """The same in an object that was looked into; one that was not is not priced either."""
    document = EditableJSON(b'{"a":{"n":1,"n":2},"b":{"n":1,"n":2},"a":{"n":3,"\\u006e":4}}')
    assert document.find(["a", "n"]) == b"4"
    assert document.written() == b'{"a":{"n":4},"b":{"n":1,"n":2}}'


spellings = {"k": "kK\u212a", "s": "sS\u017f"}


@given(st.data(), st.sampled_from(["max_tokens", "stream", "n", "model", "k"]), st.booleans())
def test_another_case_of_a_name_is_refused(data: st.DataObject, name: str, both: bool) -> None:
    """Also the Kelvin sign for k and the long s, escaped or not, before or after, alone or not."""
    letters = [data.draw(st.sampled_from(spellings.get(c, c + c.upper()))) for c in name]
    other = "".join(letters)
    assume(other != name)
    pairs = [(json.dumps(other, ensure_ascii=data.draw(st.booleans())), b"9")]
    if both:
        pairs.insert(data.draw(st.integers(0, 1)), (json.dumps(name), b"1"))
    inner = written_as(pairs)
    for text, steps in ((inner, [name]), (b'{"a":%b}' % inner, ["a", name])):
        with pytest.raises(InvalidRequestError, match="two spellings") as refused:
            EditableJSON(text).find(steps)
        assert refused.value.status == UNPRICED


@given(st.data())
def test_an_escaped_name_is_the_same_name(data: st.DataObject) -> None:
    """It is found under what it spells, and goes on spelled plainly."""
    name = "max_tokens"
    escaped = "".join(
        f"\\u{ord(c):04{data.draw(st.sampled_from('xX'))}}" if data.draw(st.booleans()) else c
        for c in name
    )
    document = EditableJSON(written_as([(json.dumps(name), b"1"), (f'"{escaped}"', b"2")]))
    assert document.find([name]) == b"2"
    assert document.written() == b'{"max_tokens":2}'


@pytest.mark.parametrize(
    "text",
    [b"1e999", b"-0", b"1.0E+2", b"9" * 400, b'"\\u0041\\/"', b'{"b" : 1,"b":2 }', b"[1 , 2]",
     b'{"K":1,"k":2}', b'"\xff"', b"null", b"[" * 300 + b"]" * 300],
)  # fmt: skip
def test_what_is_not_looked_into_passes_byte_for_byte(text: bytes) -> None:
    """No number loses a digit and no text its spelling, whatever a reader here would make of it."""
    document = EditableJSON(b' { "a" :  %b\n, "b":1}' % text)
    assert document.find(["a"]) == text
    assert document.written() == b'{"a":%b,"b":1}' % text


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"5", b"null", b"true", b'"a"', b"{", b"{}x", b"{}{}", b"{}\x00",
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":01}', b'{"a":+1}', b'{"a":.5}', b'{"a":1.}',
        b'{"a":1e}', b'{"a":0x1}', b'{"a":1,}', b"{,}", b"[1,]", b"{'a':1}", b"{a:1}", b'{"a" 1}',
        b'{"a":"\n"}', b'{"a":[{"b":"\r\n"}]}', b'{"a":"\\x"}', b'{"a":"\\ud800"}',
        b'{"\\ud800":1}',
        b'{"\xff":1}', b'{"a":/**/1}', b'{"a":1;}', b"[" * 100_000, b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000, '{"a":1}'.encode("utf-16"), b"\x0b{}", b"a=1&b=2",
    ],
)  # fmt: skip
def test_what_is_no_object_or_array_is_refused(text: bytes) -> None:
    """Strict JSON is read and nothing that a lenient reader would take for it; nesting too."""
    with pytest.raises(ValueError, match="not JSON"):
        EditableJSON(text)


@given(st.binary(max_size=30) | st.text('{}[]",:\\u0aA 1e-.\n', max_size=30).map(str.encode))
def test_any_bytes_are_json_or_refused(text: bytes) -> None:
    """Nothing else is raised; what is accepted goes on as what Python would have read."""
    try:
        document = EditableJSON(text)
    except ValueError:
        return
    if text.decode(errors="replace").encode() == text:
        assert json.loads(document.written()) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b"{}", 0), (b'{"a":null}', 0), (b'{"a":[]}', 0), (b'{"a":[ ]}', 0), (b'{"a":[null]}', 1),
        (b'{"a":[1,[2,3],{"b":[4]}]}', 3), (b'{"a":"[1,2]"}', 1), (b'{"a":{}}', 1),
        (b'{"a":false}', 1), (b'{"a":0}', 1), (b'{"a":[1],"a":[1,2]}', 2),
    ],
)  # fmt: skip
def test_counts_items(text: bytes, count: int) -> None:
    """An array's are counted, anything else is one, nothing is none; nested ones are not added."""
    assert EditableJSON(text).items(["a"]) == count


@given(st.lists(values, max_size=6), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_items_are_counted_without_reading_them(
    items: list[object], ascii_only: bool, indent: int | str | None
) -> None:
    """As many as there are, whatever brackets, commas and quotes stand in them."""
    text = json.dumps({"a": items}, ensure_ascii=ascii_only, indent=indent).encode()
    assert EditableJSON(text, outline).items(["a"]) == EditableJSON(text).items(["a"]) == len(items)


def test_no_more_is_looked_into_than_may_be_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small objects take as long as a large one."""
    monkeypatch.setattr(limits, "json_opened_max", 8)
    document = EditableJSON(b'{"a":[{"b":1,"c":2},{"b":1,"c":2},{"b":1,"c":2}]}', outline)
    assert document.find(("a", "0", "b")) == b"1"
    assert document.find(("a", "0", "c")) == b"2"
    assert document.find(("a", "1", "b")) == b"1"
    with pytest.raises(InvalidRequestError, match="more than 8 values to read"):
        document.find(("a", "2", "b"))


def test_what_has_too_many_members_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they can be counted without being made; what is not looked into may have more."""
    monkeypatch.setattr(limits, "json_outermost_max", 3)
    for text in (b'{"a":1,"b":[1,2,3,4],"c":3}', b"[1,[2,2,2,2],3]"):
        assert EditableJSON(text, outline).written() == text
    for text in (b'{"a":1,"b":2,"c":3,"c":4}', b"[1,2,3,4]"):
        assert EditableJSON(text).written()
        with pytest.raises(ValueError, match="more than 3 values"):
            EditableJSON(text, outline)


@pytest.mark.parametrize("step", ["3", "-1", "-", "+1", "1.0", "1 ", "²", "٣", "", "a", "9" * 5000])
def test_what_is_no_index_leads_nowhere(step: str) -> None:
    """RFC 6901, section 4: digits alone, and fewer than there are items."""
    assert EditableJSON(b'{"a":[1,2,3]}').find(["a", step]) is None


def test_an_array_may_be_the_whole_text() -> None:
    """Its items are its members, its last one is what a stream's end says."""
    document = EditableJSON(b' [ 1 , {"a":[2]} , {"b" :3}]')
    assert (document.items([]), document.find(["1", "a", "0"])) == (3, b"2")
    assert document.last() == b'{"b" :3}'
    assert (EditableJSON(b"[]").last(), EditableJSON(b'{"a": 1}').last()) == (b"null", b'{"a":1}')
    document.put(["1", "a"], b"5")
    assert document.written() == b'[1,{"a":5},{"b" :3}]'
    for step in ("a", "3", "-1"):
        with pytest.raises(InvalidRequestError, match="no object"):
            document.put([step], b"5")
