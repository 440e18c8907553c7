"""Events read from a stream, against a model that follows the standard line by line."""

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tariffs import cut, places

from crewgate import limits
from crewgate.core.event_stream import Event, EventReader, is_stream

BOUND = 24
BOM = b"\xef\xbb\xbf"

LINES = [
    b"", b"data: a", b"data:b", b"data:  c", b"data:", b"data", b"data: d: e", b": data: f", b":",
    b"event: data", b"event", b"event:x", b"id:1", b"id", b"id: a\0", b"retry: 5", b"datum: g",
    b"data : h", b" data: i", b"DATA: j", BOM + b"data: k",
    BOM + b"event: m",
]  # fmt: skip
streams = st.builds(
    bytes.__add__,
    st.sampled_from([b"", BOM]),
    st.lists(
        st.sampled_from(LINES + [b""] * len(LINES)).flatmap(
            lambda line: st.sampled_from([line + b"\n", line + b"\r", line + b"\r\n"])
        ),
        max_size=20,
    ).map(b"".join),
)


def model(stream: bytes) -> list[tuple[str, bytes | None, bytes]]:
    """HTML standard, §9.2.6, on the whole stream at once: the events that a client gets."""
    events = []
    kind, event_id, data = b"", None, b""
    lines = re.split(rb"\r\n|\n|\r", stream.removeprefix(BOM))
    for line in lines[:-1]:  # a last line without its end is no line
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if not line:
            if data:
                events.append((kind.decode() or "message", event_id, data[:-1]))
            kind, event_id, data = b"", None, b""
        elif field == b"data":
            data += value + b"\n"
        elif field == b"event":
            kind = value
        elif field == b"id" and b"\0" not in value:
            event_id = value
    return events


def dispatched(events: list[Event]) -> list[tuple[str, bytes | None, bytes]]:
    return [(each.kind, each.id, each.data) for each in events if each.data is not None]


@given(streams, places)
def test_events_are_those_of_the_standard_however_a_stream_is_cut(
    stream: bytes, at: list[int]
) -> None:
    """Each with its type, id and data; an end of the stream is like an empty line."""
    reader = EventReader(limits.event_bytes_max)
    events = [event for piece in cut(stream, at) for event in reader.feed(piece)]
    last = reader.end()
    assert dispatched(events) == model(stream)
    assert dispatched(events + last) == model(stream + b"\n\n")
    assert b"".join(event.raw for event in events + last) == stream
    assert reader.end() == []


def test_a_byte_order_mark_after_an_empty_line_is_a_part_of_a_name() -> None:
    """A client drops the mark at the beginning of the stream only."""
    reader = EventReader(limits.event_bytes_max)
    events = reader.feed(b"\n") + reader.feed(BOM + b"data: a\n\n")
    assert dispatched(events) == []


@given(st.lists(st.binary(max_size=40) | streams, max_size=12))
def test_nothing_is_lost_and_little_is_kept(pieces: list[bytes]) -> None:
    """All bytes come out again in order, and the reader keeps at most the bound of an event."""
    reader, out = EventReader(BOUND), b""
    for piece in pieces:
        out += b"".join(event.raw for event in reader.feed(piece))
        assert reader._size <= BOUND
    assert out + b"".join(event.raw for event in reader.end()) == b"".join(pieces)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_long_event_goes_on_in_parts_without_fields(end: bytes) -> None:
    """One that is over its bound is not waited for; the next one is whole again."""
    reader = EventReader(BOUND)
    long = b"data: " + b"a" * BOUND + end
    rest = end + b"data: b" + end * 2
    parts = reader.feed(long) + reader.feed(rest)
    assert [(part.is_whole, part.data) for part in parts] == [
        (False, None), (False, None), (True, b"b"),
    ]  # fmt: skip
    assert b"".join(part.raw for part in parts) == long + rest


def test_an_event_of_very_many_lines_has_no_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """To split it would take long."""
    monkeypatch.setattr(limits, "event_lines_max", 4)
    reader = EventReader(limits.event_bytes_max)
    events = reader.feed(b"data\n" * 3 + b"\n" + b"data\n" * 4 + b"\n" + b"data\n\n")
    assert [event.is_whole for event in events] == [True, False, True]


@given(st.lists(st.sampled_from([b"\n", b": ping\n", b":\r\n", b":\r", b"\r\n\r\n"]), min_size=1))
def test_comments_and_empty_lines_between_events_are_not_held_back(idle: list[bytes]) -> None:
    """Keep-alives reach the client, however they are spelled; an event waits for its end."""
    reader = EventReader(limits.event_bytes_max)
    for piece in [*idle, *idle]:
        assert b"".join(event.raw for event in reader.feed(piece)) == piece
    assert reader.feed(idle[0] + b"data: a") == [Event(idle[0])]
    assert dispatched(reader.feed(b"\n\n")) == [("message", None, b"a")]


def test_a_comment_that_arrives_in_pieces_passes_once_it_is_whole() -> None:
    reader = EventReader(limits.event_bytes_max)
    assert reader.feed(b": pi") == []
    assert reader.feed(b"ng\ndata: a\n") == [Event(b": ping\n")]


@given(streams, st.sampled_from([b"{}", b"", b'{"a":\n1}', b'{\r\n"b":\r2}']))
def test_an_event_is_written_with_other_data_and_another_id(stream: bytes, data: bytes) -> None:
    """The type stays, and no byte of the former data, nor of an unknown field."""
    for event in EventReader(limits.event_bytes_max).feed(stream):
        event_id = None if event.id is None else b"x" + event.id
        written = structs.replace(event, data=data, id=event_id).written_anew()
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert dispatched(EventReader(limits.event_bytes_max).feed(written)) == [
            (event.kind, event_id, lines)
        ]
        fields = {line.partition(b":")[0] for line in written.splitlines()}
        assert fields <= {b"data", b"event", b"id", b"retry", b""}


def test_a_stream_in_single_bytes_is_read_about_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long event and many comments, byte by byte: the reader does not join them each time."""
    joined, take = [0], EventReader._take

    def counted(reader: EventReader) -> bytes:
        rest = take(reader)
        joined[0] += len(rest)
        return rest

    monkeypatch.setattr(EventReader, "_take", counted)
    stream = b"data: " + b"a" * 10_000 + b"\n\n" + b": ping\n" * 1000
    reader = EventReader(limits.event_bytes_max)
    for number in range(len(stream)):
        reader.feed(stream[number : number + 1])
    assert reader.end() == []
    assert joined[0] < 3 * len(stream)


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
    """The type of a stream says that it is one, and it has no compression."""
    given_fields = {b"content-type": kind, b"content-encoding": coding}
    fields = {name: value for name, value in given_fields.items() if value is not None}
    assert is_stream(fields) is streams


def test_small_pieces_take_as_little_room_as_large_ones() -> None:
    """A list of pieces of two bytes would take some twenty times their size."""
    reader = EventReader(2**20)
    tracemalloc.start()
    try:
        for _ in range(100_000):
            assert reader.feed(b"xx") == []
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.held_bytes == 200_000
    assert kept < 2 * 200_000
