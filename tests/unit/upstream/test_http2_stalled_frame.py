"""A server that leaves a frame, or a header block, unfinished: who waits for it, how long."""

from collections.abc import Iterator

import pytest
from h2_upstream import Call, Line
from malformed_http2 import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    OK,
    PUSH,
    answer,
    block,
    data,
    frame,
    good,
)

from crewgate import limits
from crewgate._datapath.http2_stalled_frame import StalledFrameDetector
from crewgate.core.delivery import DeliveryState

BLOCK = block([OK])
OPEN = frame(HEADERS, END_STREAM, 1, BLOCK)  # no END_HEADERS, and no CONTINUATION
BODY = answer(1, OK, flags=END_HEADERS) + data(1, bytes(100))
UNFINISHED = {
    "no continuation": OPEN,
    "no end of a continuation": OPEN + frame(CONTINUATION, 0, 1, block([(b"x", b"y")])),
    "half a head of a frame": OPEN[:5],
    "half a body": BODY[:-50],
}
PART = limits.upstream_frame_seconds_max / 2


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    line.owner.first_byte_seconds = line.owner.idle_seconds = 1000.0
    yield line
    line.close()


def _say(line: Line, wire: bytes) -> None:
    line.theirs.sendall(wire)
    line.turns.take()


def _calls(line: Line) -> list[Call]:
    calls = [line.call(), line.call()]
    line.exchange()
    return calls


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_frame_without_end_ends_its_connection_in_time(line: Line, name: str) -> None:
    """All wait for it; the calls beside it may be tried again, and its own is not."""
    call, beside = _calls(line)
    _say(line, UNFINISHED[name])
    for part in range(3):
        line.connection.sweep(part * PART)
        assert (call.error, beside.error) == (None, None)
    line.connection.sweep(4 * PART)
    assert line.owner.ended_times == 1
    assert beside.fate is DeliveryState.BREACHED
    assert call.fate is (
        DeliveryState.BREACHED if name == "half a head of a frame" else DeliveryState.ANSWERED
    )


def test_no_call_is_begun_where_others_wait_for_a_frame(line: Line) -> None:
    """From the second look on; once the frame has its end, calls are taken again."""
    call, _ = _calls(line)
    _say(line, OPEN)
    line.connection.sweep(0.0)
    assert line.connection.is_usable(call)
    line.connection.sweep(1.0)
    assert not line.connection.is_usable(call)
    _say(line, frame(CONTINUATION, END_HEADERS, 1))
    assert call.carrier.answer.complete
    assert line.connection.is_usable(call)


def test_a_gateway_that_is_behind_itself_breaks_nothing_off(line: Line) -> None:
    """What it has yet to read may be the end."""
    call, _ = _calls(line)
    _say(line, OPEN)
    line.connection.sweep(0.0)
    line.theirs.sendall(frame(CONTINUATION, END_HEADERS, 1))
    line.connection.sweep(10 * PART)
    assert call.error is None
    line.turns.take()
    assert call.carrier.answer.complete


def test_frames_one_after_the_other_are_none_that_takes_long(line: Line) -> None:
    """Each look meets another one in its midst."""
    call, _ = _calls(line)
    whole = answer(1, OK, flags=END_HEADERS) + data(1, bytes(10), ends=False)
    _say(line, whole)
    piece = data(1, bytes(10), ends=False)
    _say(line, piece[:12])
    for number in range(10):
        line.connection.sweep(number * PART)
        _say(line, piece[12:] + piece[:12])
    assert len(call.body) > 10
    assert line.owner.ended_times == 0


@pytest.mark.parametrize("step", [1, 2, 7, 9, 10, 1000])
def test_frames_are_followed_however_they_are_cut(step: int) -> None:
    """It is whole where a frame ends outside of a block, and only there."""
    pieces = [
        good(1, b"otter"),
        frame(HEADERS, 0, 3, BLOCK),
        frame(CONTINUATION, 0, 3),
        frame(CONTINUATION, END_HEADERS, 3, BLOCK),
        frame(PUSH, END_HEADERS, 5, bytes(7)),
        data(7, b""),
    ]
    frames, wholes, come = StalledFrameDetector(), set(), 0
    wire = b"".join(pieces)
    for at in range(0, len(wire), step):
        frames.feed(wire[at : at + step])
        come = min(at + step, len(wire))
        if frames.is_whole:
            wholes.add(come)
    if step == 1:
        first = len(pieces[0])
        head = len(answer(1, OK, (b"content-length", b"5")))
        block_ends = first + sum(map(len, pieces[1:4]))
        assert wholes == {head, first, block_ends, block_ends + len(pieces[4]), len(wire)}
    assert len(wire) in wholes
    assert frames.stream == 7
