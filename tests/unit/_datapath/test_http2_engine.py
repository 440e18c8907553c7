"""The native engine of HTTP/2 does what ngh2's does: the same events, bytes and exceptions."""

from pathlib import Path
from typing import Any

import ngh2
import pytest
from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple
from http2_engines import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS_FRAME,
    WINDOW_UPDATE,
    frame,
    numbers,
    outcome,
    values,
)
from http2_frames import MAGIC
from hypothesis import given, settings
from hypothesis import strategies as st
from search_depth import deep

from crewgate._datapath import http2_engine, nghttp2_library
from crewgate._datapath.http2_engine import HTTP2Engine

# Small limits, so that examples reach them. A rate of 0 keeps the clock out of the result.
CONFIGURATION = ngh2.Configuration(
    auto_window_update=False,
    max_outbound_ack=3,
    max_settings=4,
    max_continuations=2,
    max_send_header_block_length=3_000,
    stream_reset_rate_limit=(3, 0),
    glitch_rate_limit=(6, 0),
    max_inbound_header_list_size=1_000,
    max_inbound_header_count=9,
)
SETTINGS = {
    ngh2.Setting.MAX_CONCURRENT_STREAMS: 3,
    ngh2.Setting.INITIAL_WINDOW_SIZE: 200,
    ngh2.Setting.MAX_HEADER_LIST_SIZE: 900,
    ngh2.Setting.NO_RFC7540_PRIORITIES: 1,
}
WINDOW = 70_000
ACKNOWLEDGEMENT = (SETTINGS_FRAME, 1, 0, b"")

REST = [(b":scheme", b"https"), (b":path", b"/a")]
PSEUDO_FIELDS = [
    [(b":method", b"POST"), *REST, (b":authority", b"a")],
    [(b":method", b"POST"), *REST, (b":authority", b"a")],
    [(b":method", b"GET"), *REST],
    [(b":method", b"CONNECT"), (b":authority", b"a")],
    [(b":status", b"200")],
    [],
]
FIELDS = [
    HeaderTuple(b"accept", b"*/*"),
    NeverIndexedHeaderTuple(b"authorization", b"Bearer " + b"t" * 70),
    HeaderTuple(b"x-long", b"y" * 400),
    HeaderTuple(b"content-length", b"60"),
    HeaderTuple(b"content-length", b"x"),
    HeaderTuple(b"X-Capital", b"1"),
    HeaderTuple(b"x-control", b"a\nb"),
    HeaderTuple(b"connection", b"close"),
    HeaderTuple(b"priority", b"u=0, i"),
    HeaderTuple(b"empty", b""),
]
ANSWERS = [
    [(b":status", b"200"), (b"date", b"now")],
    [(b":status", b"200"), NeverIndexedHeaderTuple(b"x", b"y")],
    [(b":status", b"200"), (b"x", b"y" * 4_000)],  # too large to be sent
]


STREAMS = st.sampled_from([1, 1, 3, 3, 5])
ALL_STREAMS = st.sampled_from([1, 3, 5, 7, 9, 2, 0])
SIZES = st.sampled_from([0, 1, 60, 140, 199, 250])
HEADS = st.tuples(
    st.just("head"),
    st.sampled_from([5, 5, 7, 9]),
    st.just(0),
    st.lists(st.sampled_from([0, 0, 1, 2, 8, 9]), max_size=4),
    st.sampled_from([1, 1, 2, 3]),  # frames
    st.sampled_from([0, 0, END_STREAM, PRIORITY, PADDED | END_STREAM]),
)
TRAILERS = st.tuples(
    st.just("head"),
    STREAMS,
    st.just(5),
    st.lists(st.sampled_from([0, 9])),
    st.just(1),
    st.sampled_from([END_STREAM, END_STREAM, 0]),
)
FRAMES = st.tuples(
    st.just("frame"),
    st.one_of(
        st.tuples(
            st.just(DATA),
            st.sampled_from([0, 0, 0, END_STREAM, PADDED]),
            STREAMS,
            SIZES.map(lambda size: b"\1" * size),
        ),
        st.tuples(st.just(RST_STREAM), st.just(0), STREAMS, numbers(4)),
        st.tuples(st.just(WINDOW_UPDATE), st.just(0), st.sampled_from([0, 1, 3]), numbers(4)),
        st.tuples(st.just(PING), st.sampled_from([0, 1]), st.just(0), st.just(b"12345678")),
    ),
)
# What no good client sends.
HOSTILE_FRAMES = st.one_of(
    st.tuples(
        st.just("head"),
        ALL_STREAMS,
        st.integers(0, len(PSEUDO_FIELDS) - 1),
        st.lists(st.integers(0, len(FIELDS) - 1), max_size=5),
        st.integers(1, 4),
        st.sampled_from([0, END_STREAM]),
    ),
    st.tuples(
        st.just("frame"),
        st.one_of(
            st.tuples(
                st.just(SETTINGS_FRAME),
                st.just(0),
                st.just(0),
                st.lists(
                    st.tuples(st.sampled_from([1, 3, 4, 4, 5, 9, 99]), numbers(4)), max_size=5
                ).map(lambda given: b"".join(name.to_bytes(2) + value for name, value in given)),
            ),
            st.just(ACKNOWLEDGEMENT),
            st.just((GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\2why")),
            # Of all kinds, known and unknown.
            st.tuples(
                st.sampled_from([*range(11), 12, 16, 119]),
                st.sampled_from([0, END_HEADERS]),
                ALL_STREAMS,
                st.sampled_from([b"", b"\0\0\0\1", b"\0\0\0\1u=1", b"\0\0\0\1\0\0\0\1"]),
            ),
        ),
    ),
)
ANSWERING = st.one_of(
    st.tuples(
        st.just("send_response"), STREAMS, st.sampled_from([0, 0, 1, 2]), st.just(value=False)
    ),
    st.tuples(st.just("send_response"), STREAMS, st.just(0), st.just(value=True)),
    st.tuples(st.just("send_informational_response"), STREAMS),
    st.tuples(
        st.just("send_data"), STREAMS, st.sampled_from([0, 1, 20_000, 90_000]), st.booleans()
    ),
    st.tuples(st.just("send_trailers"), STREAMS, st.booleans()),
    st.tuples(st.just("reset_stream"), STREAMS, st.sampled_from([0, 8])),
    st.tuples(st.just("acknowledge_received_data"), st.sampled_from([1, 60, 200]), STREAMS),
)
ENDINGS = st.sampled_from([("send_shutdown_notice",), ("send_goaway",), ("terminate_connection",)])
WRITES = st.tuples(st.just("data_to_send"), st.sampled_from([None, 65_536, 65_536, 10, 0]))
STEPS = st.lists(st.one_of(HEADS, TRAILERS, FRAMES, ANSWERING, WRITES), min_size=8, max_size=30)
# At most two steps that are not good, each instead of another one.
ODD_STEPS = st.dictionaries(st.integers(0, 30), st.one_of(HOSTILE_FRAMES, ENDINGS), max_size=2)
# Where the bytes of a step are cut, and which of its bytes is spoiled, and how.
CUTS = st.lists(st.sampled_from([100, 100, 100, 50, 90, 0]), min_size=1, max_size=5)
FAULTS = st.dictionaries(
    st.integers(0, 40), st.tuples(st.integers(0, 99), st.integers(0, 255)), max_size=1
)


class Client:
    """Writes heads, whose HPACK tables go on from head to head."""

    def __init__(self) -> None:
        self._encoder = Encoder()

    def head(self, stream: int, pseudo: int, fields: list[int], frames: int, flags: int) -> bytes:
        """One head in so many frames."""
        block = self._encoder.encode([*PSEUDO_FIELDS[pseudo], *[FIELDS[at] for at in fields]])
        size = len(block) // frames + 1
        pieces = [block[at : at + size] for at in range(0, len(block), size)] or [b""]
        prefix = b"\0" * (flags & PADDED != 0) + b"\0\0\0\0\7" * (flags & PRIORITY != 0)
        wire = b""
        for number, piece in enumerate(pieces, 1):
            ends = END_HEADERS if number == len(pieces) else 0
            if number == 1:
                wire += frame(HEADERS, flags | ends, stream, prefix + piece)
            else:
                wire += frame(CONTINUATION, ends, stream, piece)
        return wire


def act(engine: Any, step: tuple[Any, ...]) -> object:
    """Take one step; return what came of it."""
    ends = {}
    match step:
        case "send_response", stream, answer, is_last:
            ends, step = {"end_stream": is_last}, (step[0], stream, ANSWERS[answer])
        case "send_data", stream, size, is_last:
            ends, step = {"end_stream": is_last}, (step[0], stream, b"d" * size)
        case "send_informational_response", stream:
            step = (*step, [(b":status", b"103")])
        case "send_trailers", stream, is_empty:
            step = (step[0], stream, [] if is_empty else [(b"x", b"y")])
    return outcome(lambda: getattr(engine, step[0])(*step[1:], **ends))


def state(engine: Any) -> list[object]:
    """What can be asked of an engine."""
    return [
        outcome(lambda: engine.want_read),
        outcome(lambda: engine.want_write),
        [engine.queued_body_size(stream) for stream in (1, 3, 5)],
        [values(event) for event in engine.events()],
    ]


def resident_bytes() -> int:
    """Return the memory of this process that the kernel has given it."""
    words = Path("/proc/self/smaps_rollup").read_text().split()
    return int(words[words.index("Rss:") + 1]) * 1024


def engines() -> tuple[Any, Any]:
    """Ours, and ngh2's. Their streams end in the order of a hash, whose seed is the same here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngh2._core, "urandom", bytes)
        patch.setattr("crewgate._datapath.http2_callbacks.urandom", bytes)
        made = HTTP2Engine(CONFIGURATION), ngh2.Connection(ngh2.Role.SERVER, CONFIGURATION)
    for engine in made:
        engine.initiate_connection(SETTINGS)
        engine.set_local_window_size(WINDOW)
    return made


@settings(max_examples=deep(300), deadline=None)
@given(STEPS, ODD_STEPS, CUTS, FAULTS)
def test_both_engines_do_the_same(
    steps: list[tuple[Any, ...]],
    odd_steps: dict[int, tuple[Any, ...]],
    cuts: list[int],
    faults: dict[int, tuple[int, int]],
) -> None:
    """Frames of a client, cut and spoiled anywhere, and what a server does in between."""
    ours, theirs = engines()
    client = Client()
    pending = MAGIC + frame(SETTINGS_FRAME, 0, 0, b"") + frame(*ACKNOWLEDGEMENT)
    pending += b"".join([client.head(stream, 0, [0], 1, 0) for stream in (1, 3)])
    good = [*steps, ("data_to_send", None), ("frame", (PING, 0, 0, bytes(8)))]
    for number, good_step in enumerate(good):
        step = odd_steps.get(number, good_step)
        if step[0] in {"head", "frame"}:
            wire = client.head(*step[1:]) if step[0] == "head" else frame(*step[1])
            if number in faults:
                at, octet = faults[number][0] * len(wire) // 100, faults[number][1]
                wire = wire[:at] + bytes([octet]) + wire[at + 1 :]
            pending += wire
            cut = len(pending) * cuts[number % len(cuts)] // 100
            step, pending = ("receive_data", pending[:cut]), pending[cut:]
        assert act(ours, step) == act(theirs, step), step
        assert state(ours) == state(theirs), step
        ours.rest()  # changes nothing that can be seen


def test_an_engine_at_rest_gives_memory_back() -> None:
    """Each has sent a body of a whole frame. Without output, their frame buffers go back."""
    client = Client()
    window = frame(SETTINGS_FRAME, 0, 0, b"\0\4" + (2**20).to_bytes(4, "big"))
    request = client.head(1, END_STREAM, [0], 1, 0)
    made = [HTTP2Engine(CONFIGURATION) for _ in range(200)]
    for engine in made:
        engine.initiate_connection(SETTINGS)
        engine.receive_data(MAGIC + window + request)
        engine.events()
        engine.send_response(1, ANSWERS[0])
        engine.send_data(1, bytes(16_384), end_stream=True)
        assert not engine.rest()
        assert len(engine.data_to_send()) > 16_384
    before = resident_bytes()
    assert all(engine.rest() for engine in made)
    assert before - resident_bytes() > 200 * 12_288


@pytest.mark.parametrize(
    ("path", "fault"),
    [("/no/library.so", "no library of this process"), ("libm.so.6", "has no function nghttp2_")],
)
def test_a_library_without_the_functions_is_not_taken(path: str, fault: str) -> None:
    """The error says why, and the functions of before still serve."""
    with pytest.raises(LookupError, match=fault):
        nghttp2_library.load(path)
    ours, theirs = engines()
    assert act(ours, ("data_to_send", None)) == act(theirs, ("data_to_send", None))


def test_the_nghttp2_that_ngh2_bundles_serves() -> None:
    """A wheel of ngh2 exports all functions; a new version that does not is seen here."""
    assert http2_engine.library == f"ngh2 {ngh2.__version__}", http2_engine.faults
