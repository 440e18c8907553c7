"""Straight calls on an HTTP/1.1 connection: whole answers, and what an ordinary call takes over."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from h2_upstream import Call, Owner, Turns, connected

from crewgate._datapath.http1_connection import HTTP1Connection
from crewgate._datapath.in_flight import InFlightCall
from crewgate._datapath.plain_answer import PlainAnswer
from crewgate.core.delivery import DeliveryState
from crewgate.upstream.interfaces import RequestStream

REQUEST = b"GET / HTTP/1.1\r\nhost: tool\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Taker(Call):
    """The ordinary call that takes over: its request was sent before."""

    def __init__(self, stream: RequestStream) -> None:
        super().__init__()
        self._carrier = stream


class Straight(InFlightCall):
    """A straight call, which remembers its answer; `keeps` has an ordinary call take that."""

    def __init__(self, *, keeps: bool = True) -> None:
        self.keeps = keeps
        self.answers: list[tuple[int, bytes]] = []
        self.taker: Taker | None = None

    def answered(self, stream: HTTP1Connection, answer: PlainAnswer) -> None:  # type: ignore[override]
        self.answers.append((answer.status, answer.body))
        if self.keeps:
            stream.release()
        else:
            stream.continue_with(self.make_ordinary(stream))  # type: ignore[arg-type]

    def make_ordinary(self, stream: HTTP1Connection) -> Taker:  # type: ignore[override]
        self.taker = Taker(stream)  # type: ignore[arg-type]
        return self.taker


class Line:
    """A connection, and the server at its other end, which a test plays."""

    def __init__(self) -> None:
        self.turns, self.owner = Turns(), Owner()
        self.connection, self.theirs = connected(HTTP1Connection, self.turns, self.owner)

    def call(self, *, is_for_head: bool = False, keeps: bool = True) -> Straight:
        call = Straight(keeps=keeps)
        self.connection.begin_straight(call, REQUEST, len(REQUEST), is_for_head)
        return call

    def answer(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.theirs.sendall(piece)
            self.turns.take()

    @property
    def ends(self) -> tuple[int, int, int]:
        """How often the pool got the connection back at once, after a rest, and closed."""
        return self.owner.freed_times, self.owner.rested_times, self.owner.ended_times


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    with suppress(OSError):
        line.theirs.close()
    line.connection.abort()


@pytest.mark.parametrize(
    ("pieces", "answer", "ends"),
    [
        ([OK], (200, b"ok"), (1, 0, 0)),
        ([OK[:5], OK[5:-1], OK[-1:]], (200, b"ok"), (1, 0, 0)),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], (204, b""), (0, 1, 0)),
        ([CHUNKED + b"2\r\nok\r\n0\r\n\r\n"], (200, b"ok"), (1, 0, 0)),
        ([OK.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)], (200, b"ok"), (0, 0, 1)),
        ([OK.replace(b"\r\n", b"\r\nkeep-alive: timeout=1\r\n", 1)], (200, b"ok"), (0, 0, 1)),
    ],
)  # fmt: skip
def test_a_plain_answer_ends_a_straight_call(
    line: Line, pieces: list[bytes], answer: tuple[int, bytes], ends: tuple[int, int, int]
) -> None:
    """The request goes out at the end of the turn; the connection is used again as always."""
    call = line.call()
    assert not line.connection.touched
    line.turns.take()
    assert line.theirs.recv(1000) == REQUEST
    assert (line.connection.touched, line.connection.free_streams) == (True, 0)
    line.answer(*pieces)
    assert (call.answers, call.taker) == ([answer], None)
    assert (line.owner.left_times, line.ends) == (1, ends)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 100 Continue\r\n\r\n", OK],
        [b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\no", b"k"],
        [CHUNKED + b"2\r\nok\r\n", b"0\r\n\r\n"],
    ],
)
def test_an_ordinary_call_takes_an_unusual_answer(line: Line, pieces: list[bytes]) -> None:
    """It gets all bytes, and chunks that do not come with their head do not wait for the rest."""
    call = line.call()
    line.turns.take()
    line.answer(*pieces)
    assert call.taker is not None
    assert (call.answers, call.taker.body) == ([], b"ok")
    assert call.taker.carrier.answer.complete
    call.taker.carrier.release()
    assert (line.owner.left_times, line.ends) == (1, (1, 0, 0))


def test_an_ordinary_call_takes_an_answer_that_its_caller_hands_over(line: Line) -> None:
    """A straight call whose client cannot take the answer has it read from its first byte."""
    call = line.call(keeps=False)
    line.turns.take()
    line.answer(OK)
    assert call.taker is not None
    assert (call.answers, call.taker.body) == ([(200, b"ok")], b"ok")
    call.taker.carrier.release()
    assert line.ends == (1, 0, 0)


def test_a_slow_answer_reaches_its_client_at_the_next_sweep(line: Line) -> None:
    """The head and what has come of the body are not kept until the deadline."""
    call = line.call()
    line.turns.take()
    line.connection.sweep(line.owner.now)
    assert call.taker is None
    line.answer(OK[:-1])
    line.connection.sweep(line.owner.now)
    assert call.taker is not None
    assert call.taker.body == b"o"
    line.answer(OK[-1:])
    assert call.taker.body == b"ok"


def test_a_server_that_leaves_or_is_late_fails_the_ordinary_call(line: Line) -> None:
    """In mid-answer the client gets what has come; before it the pool decides about a retry."""
    first = line.call()
    line.turns.take()
    line.answer(OK)
    call = line.call()
    line.turns.take()
    line.connection.sweep(line.owner.now + line.owner.first_byte_seconds + 1)
    assert call.taker is not None
    assert (call.taker.fate, first.taker) == (DeliveryState.LOST, None)
    assert (line.owner.left_times, line.ends) == (1, (1, 0, 1))

    other = Line()
    call = other.call()
    other.turns.take()
    other.answer(OK[:-1])
    other.theirs.close()
    other.turns.take()
    assert call.taker is not None
    assert (call.taker.fate, call.taker.body) == (DeliveryState.ANSWERED, b"o")
    assert other.ends == (0, 0, 1)


def test_a_stale_connection_is_noticed_before_the_request_is_written(line: Line) -> None:
    """The close came in the turn that begins the call: nothing was sent, so the call goes on."""
    line.call()
    line.turns.take()
    line.answer(OK)
    call = line.call()
    line.theirs.close()
    line.turns.finish()
    assert call.taker is not None
    assert (call.taker.fate, line.connection.touched) == (DeliveryState.STALE, False)


def test_a_bad_answer_fails_the_ordinary_call_only(line: Line) -> None:
    """What is no HTTP never answers a straight call."""
    call = line.call()
    line.turns.take()
    line.answer(b"SSH-2.0-x\r\n")
    assert call.taker is not None
    assert (call.answers, call.taker.fate) == ([], DeliveryState.ANSWERED)
    assert line.ends == (0, 0, 1)
