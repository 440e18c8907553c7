"""The native engine of a client of HTTP/2 does what ngh2's does: events, bytes, exceptions."""

from typing import Any

import ngh2
import pytest
from hpack import Encoder
from http2_engines import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS_FRAME,
    WINDOW_UPDATE,
    frame,
    numbers,
    outcome,
    values,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from search_depth import deep

from crewgate._datapath import http2_engine
from crewgate._datapath.http2_client_engine import HTTP2ClientEngine

# Small limits, so that examples reach them. A rate of 0 keeps the clock out of the result.
CONFIGURATION = ngh2.Configuration(
    auto_window_update=False,
    peer_max_concurrent_streams=2,
    max_outbound_ack=3,
    max_continuations=2,
    max_send_header_block_length=3_000,
    glitch_rate_limit=(6, 0),
    max_inbound_header_list_size=1_000,
    max_inbound_header_count=6,
)
SETTINGS = {ngh2.Setting.INITIAL_WINDOW_SIZE: 200, ngh2.Setting.NO_RFC7540_PRIORITIES: 1}
ACKNOWLEDGEMENT = (SETTINGS_FRAME, 1, 0, b"")
WITHOUT_PUSH = {**SETTINGS, ngh2.Setting.ENABLE_PUSH: 0}
REST = [(b":scheme", b"https"), (b":path", b"/a"), (b":authority", b"a")]
REQUESTS = [
    [(b":method", b"POST"), *REST],
    [(b":method", b"POST"), *REST, ngh2.NeverIndexedHeader(b"x", b"y"), (b"content-length", b"3")],
    [(b":method", b"HEAD"), *REST],
    [(b":method", b"GET"), *REST, (b"x", b"y" * 4_000)],  # too large to be sent
]
HEADS = [
    [(b":status", b"200")],
    [(b":status", b"200"), (b"content-length", b"60")],
    [(b":status", b"103"), (b"link", b"</a>")],
    [(b"x-end", b"1")],
    [(b":status", b"204"), (b"x-long", b"y" * 400)],
    [(b":status", b"101")],
    [(b":status", b"2 0")],
    [(b":status", b"200"), (b"X-Capital", b"1")],
    [(b":status", b"200"), (b"connection", b"close")],
    [(b":status", b"200"), *[(b"x", b"y")] * 6],
    [(b":method", b"GET"), *REST],
    [],
]
STREAMS = st.sampled_from([1, 1, 3, 3, 5])
ANSWERED = st.sampled_from([1, 1, 3])  # streams whose head has come
REQUESTING = st.tuples(st.just("send_request"), st.sampled_from([0, 0, 1, 2, 3]), st.booleans())
# Of streams that may be open, a head or the trailers.
ANSWERS = st.one_of(
    st.tuples(
        st.just("head"),
        st.just(HEADERS),
        st.just(5),
        st.sampled_from([0, 1, 2, 2, 4]),
        st.sampled_from([1, 1, 2]),  # frames
        st.sampled_from([0, 0, END_STREAM]),
    ),
    st.tuples(
        st.just("head"),
        st.just(HEADERS),
        ANSWERED,
        st.sampled_from([3, 3, 3, 0]),
        st.just(1),
        st.sampled_from([END_STREAM, END_STREAM, 0]),
    ),
)
FRAMES = st.tuples(
    st.just("frame"),
    st.one_of(
        st.tuples(
            st.just(DATA),
            st.sampled_from([0, 0, 0, END_STREAM, PADDED]),
            ANSWERED,
            st.sampled_from([0, 1, 60, 140, 199]).map(lambda size: b"\1" * size),
        ),
        st.tuples(st.just(RST_STREAM), st.just(0), ANSWERED, numbers(4)),
        st.tuples(st.just(WINDOW_UPDATE), st.just(0), ANSWERED, numbers(4)),
        st.tuples(st.just(PING), st.sampled_from([0, 1]), st.just(0), st.just(b"12345678")),
    ),
)
# What a server sends at its end, or never.
ODD_FRAMES = st.one_of(
    st.tuples(
        st.just("head"),
        st.sampled_from([HEADERS, PUSH_PROMISE, PUSH_PROMISE]),
        st.sampled_from([1, 1, 3, 5, 7, 2, 2, 4, 0]),
        st.integers(0, len(HEADS) - 1),
        st.integers(1, 4),
        st.sampled_from([0, END_STREAM]),
    ),
    st.tuples(
        st.just("frame"),
        st.one_of(
            st.tuples(
                st.just(SETTINGS_FRAME),
                st.sampled_from([0, 0, 1]),
                st.just(0),
                st.lists(
                    st.tuples(st.sampled_from([1, 3, 4, 5, 9, 99]), numbers(4)), max_size=3
                ).map(lambda given: b"".join(name.to_bytes(2) + value for name, value in given)),
            ),
            st.tuples(
                st.just(GOAWAY),
                st.just(0),
                st.just(0),
                st.sampled_from([0, 1, 3, 2**31 - 1]).map(
                    lambda last: last.to_bytes(4) + b"\0\0\0\2why"
                ),
            ),
            st.tuples(
                st.sampled_from([*range(11), 12, 16, 119]),
                st.sampled_from([0, END_HEADERS]),
                st.sampled_from([0, 1, 2, 3, 7]),
                st.sampled_from([b"", b"\0\0\0\1", b"\0\0\0\1u=1", b"\0\0\0\1\0\0\0\1"]),
            ),
        ),
    ),
    st.just(("terminate_connection",)),
)
ASKING = st.one_of(
    st.tuples(
        st.just("send_data"), STREAMS, st.sampled_from([0, 1, 20_000, 90_000]), st.booleans()
    ),
    st.tuples(st.just("end_stream"), STREAMS),
    st.tuples(st.just("send_trailers"), STREAMS, st.booleans()),
    st.tuples(st.just("reset_stream"), STREAMS, st.sampled_from([0, 8])),
    st.tuples(st.just("acknowledge_received_data"), st.sampled_from([1, 60, 200]), STREAMS),
)
WRITES = st.tuples(st.just("data_to_send"), st.sampled_from([None, 65_536, 65_536, 10, 0]))
STEPS = st.lists(
    st.one_of(REQUESTING, ANSWERS, FRAMES, FRAMES, ASKING, WRITES), min_size=8, max_size=30
)
ODD_STEPS = st.dictionaries(st.integers(0, 30), ODD_FRAMES, max_size=2)
CUTS = st.lists(st.sampled_from([100, 100, 100, 50, 90, 0]), min_size=1, max_size=5)
FAULTS = st.dictionaries(
    st.integers(0, 40), st.tuples(st.integers(0, 99), st.integers(0, 255)), max_size=1
)


class Server:
    """Writes heads, whose HPACK tables go on from head to head."""

    def __init__(self) -> None:
        self._encoder = Encoder()

    def head(self, kind: int, stream: int, fields: int, frames: int, flags: int) -> bytes:
        """One head in so many frames; a promise is of stream 2."""
        block = self._encoder.encode(HEADS[fields])
        size = len(block) // frames + 1
        pieces = [block[at : at + size] for at in range(0, len(block), size)] or [b""]
        promised = b"\0\0\0\2" if kind == PUSH_PROMISE else b""
        wire = b""
        for number, piece in enumerate(pieces, 1):
            ends = END_HEADERS if number == len(pieces) else 0
            if number == 1:
                wire += frame(kind, flags | ends, stream, promised + piece)
            else:
                wire += frame(CONTINUATION, ends, stream, piece)
        return wire


def act(engine: Any, step: tuple[Any, ...]) -> object:
    """Take one step; return what came of it."""
    ends = {}
    match step:
        case "send_request", request, is_last:
            ends, step = {"end_stream": is_last}, (step[0], REQUESTS[request])
        case "send_data", stream, size, is_last:
            ends, step = {"end_stream": is_last}, (step[0], stream, b"d" * size)
        case "send_trailers", stream, is_empty:
            step = (step[0], stream, [] if is_empty else [(b"x", b"y")])
    return outcome(lambda: getattr(engine, step[0])(*step[1:], **ends))


def state(engine: Any) -> list[object]:
    """What can be asked of an engine; ours makes no event for what it ignores."""
    ignored = ngh2.AltSvcReceived | ngh2.OriginReceived
    return [
        outcome(lambda: engine.want_read),
        outcome(lambda: engine.want_write),
        outcome(lambda: engine.can_send_request),
        outcome(lambda: engine.remote_settings),
        outcome(lambda: engine.local_window_size),
        [engine.queued_body_size(stream) for stream in (1, 3, 5)],
        [values(event) for event in engine.events() if not isinstance(event, ignored)],
    ]


def engines(*, has_push: bool) -> tuple[Any, Any]:
    """Ours, and ngh2's. Their streams end in the order of a hash, whose seed is the same here."""
    assert http2_engine.library is not None, http2_engine.faults
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngh2._core, "urandom", bytes)
        patch.setattr("crewgate._datapath.http2_callbacks.urandom", bytes)
        made = HTTP2ClientEngine(CONFIGURATION), ngh2.Connection(ngh2.Role.CLIENT, CONFIGURATION)
    for engine in made:
        engine.initiate_connection(SETTINGS if has_push else WITHOUT_PUSH)
        engine.set_local_window_size(70_000)
    return made


@settings(max_examples=deep(300), deadline=None)
@given(STEPS, ODD_STEPS, CUTS, FAULTS, st.booleans())
def test_both_engines_do_the_same(
    steps: list[tuple[Any, ...]],
    odd_steps: dict[int, tuple[Any, ...]],
    cuts: list[int],
    faults: dict[int, tuple[int, int]],
    has_push: bool,
) -> None:
    """Frames of a server, cut and spoiled anywhere, and what a client does in between."""
    ours, theirs = engines(has_push=has_push)
    server = Server()
    pending = frame(SETTINGS_FRAME, 0, 0, b"")
    begin: list[tuple[Any, ...]] = [
        ("send_request", 0, is_last) for is_last in (False, True, False)
    ]
    begin += [("data_to_send", None), ("frame", ACKNOWLEDGEMENT), ("data_to_send", None)]
    begin += [("head", HEADERS, stream, 0, 1, 0) for stream in (1, 3)]
    for number, good_step in enumerate([*begin, *steps, ("data_to_send", None)], -len(begin)):
        step = odd_steps.get(number, good_step)
        if step[0] in {"head", "frame"}:
            wire = server.head(*step[1:]) if step[0] == "head" else frame(*step[1])
            if number in faults:
                at, octet = faults[number][0] * len(wire) // 100, faults[number][1]
                wire = wire[:at] + bytes([octet]) + wire[at + 1 :]
            pending += wire
            cut = len(pending) * cuts[number % len(cuts)] // 100
            step, pending = ("receive_data", pending[:cut]), pending[cut:]
        assert act(ours, step) == act(theirs, step), step
        assert state(ours) == state(theirs), step


def test_a_stream_that_the_server_pushes() -> None:
    """Its request, its answer and its end are the same events, and its bytes are acknowledged."""
    ours, theirs = engines(has_push=True)
    server = Server()
    wire = frame(SETTINGS_FRAME, 0, 0, b"")
    wire += server.head(PUSH_PROMISE, 1, 10, 1, 0) + server.head(HEADERS, 2, 0, 1, 0)
    wire += frame(DATA, END_STREAM, 2, b"ab") + server.head(HEADERS, 1, 0, 1, 0)
    heard: list[Any] = []
    for step in (
        ("send_request", 0, False),
        ("data_to_send", None),
        ("receive_data", wire),
        ("acknowledge_received_data", 2, 2),
        ("send_data", 1, 5, True),
        ("data_to_send", None),
        ("receive_data", frame(DATA, END_STREAM, 1, b"c")),
    ):
        assert act(ours, step) == act(theirs, step), step
        found = state(ours)
        assert found == state(theirs), step
        if step[0] == "receive_data":
            heard.append(found[-1])
    assert (ngh2.DataReceived, 2, b"ab", True) in heard[0]
