"""Events cut out of a stream, against a model that looks at one byte at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariffs import cut, places

from crewgate import limits
from crewgate.core.pricing.sse import ENDS, EventSplitter, data_of, is_stream

BOUND = 24

streams = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"a", b"data: {}", b":"]
    ),
    max_size=20,
).map(b"".join)


def by_byte(stream: bytes) -> tuple[list[bytes], bytes]:
    """The events, and what is left."""
    events, rest = [], b""
    for number in range(len(stream)):
        rest += stream[number : number + 1]
        if rest.endswith(ENDS):
            events.append(rest)
            rest = b""
    return events, rest


@given(streams, places)
def test_events_are_the_same_however_a_stream_is_cut(stream: bytes, at: list[int]) -> None:
    """Each ends with the first blank line after its beginning, also one that came in pieces."""
    splitter = EventSplitter()
    events = [event for piece in cut(stream, at) for event in splitter.feed(piece)]
    assert (events, splitter.tail()) == by_byte(stream)


@given(st.lists(st.binary(max_size=40) | streams, max_size=12))
def test_nothing_is_lost_and_little_is_kept(pieces: list[bytes]) -> None:
    """What is fed comes out again, in order, and never is more kept than an event's bound."""
    splitter, out = EventSplitter(), b""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "event_bytes_max", BOUND)
        for piece in pieces:
            out += b"".join(splitter.feed(piece))
            assert splitter._size <= BOUND
    assert out + splitter.tail() == b"".join(pieces)
    assert splitter.tail() == b""


def test_a_long_event_goes_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is over its bound is not waited for; the next one is whole again."""
    monkeypatch.setattr(limits, "event_bytes_max", BOUND)
    splitter = EventSplitter()
    long = b"data: " + b"a" * BOUND
    assert list(splitter.feed(long)) == [long]
    assert list(splitter.feed(b"a\n\ndata: b\n\n")) == [b"a\n\n", b"data: b\n\n"]


LINES = {
    b"data: a": b"a",
    b"data:b": b"b",
    b"data:  c": b" c",
    b"data:": b"",
    b"data: d: e": b"d: e",
    b": data: f": None,
    b":": None,
    b"event: data": None,
    b"id:1": None,
    b"datum: g": None,
    b"data : h": None,
    b" data: i": None,
    b"DATA: j": None,
}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(LINES)), st.sampled_from([b"\n", b"\r", b"\r\n"])))
)
def test_an_event_carries_its_data_lines(lines: list[tuple[bytes, bytes]]) -> None:
    """Joined by line feeds, each without the field's name and one blank; the rest is no data."""
    data = [LINES[line] for line, _ in lines]
    event = b"".join(line + end for line, end in lines)
    assert data_of(event) == b"\n".join(part for part in data if part is not None)


@pytest.mark.parametrize(
    ("kind", "coding", "streams"),
    [
        (b"text/event-stream", None, True),
        (b"Text/Event-Stream; charset=utf-8", None, True),
        (b"text/event-stream", b"gzip", False),
        (b"application/json", None, False),
        (b"application/x; a=text/event-stream", None, False),
        (None, None, False),
    ],
)
def test_a_stream_is_told_by_its_fields(
    kind: bytes | None, coding: bytes | None, streams: bool
) -> None:
    """It says that it is one, and nobody has to decompress it."""
    given_fields = {b"content-type": kind, b"content-encoding": coding}
    fields = {name: value for name, value in given_fields.items() if value is not None}
    assert is_stream(fields) is streams
