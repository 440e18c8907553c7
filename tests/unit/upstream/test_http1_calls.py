"""Calls on a kept HTTP/1.1 connection to a tool's server: what is sent when, and what is seen."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from h2_upstream import GET, POST, Call, Owner, Turns, connected

from crewgate import limits
from crewgate._datapath.http1_connection import HTTP1Connection
from crewgate.core.delivery import DeliveryState
from crewgate.errors import UpstreamTimeoutError
from crewgate.upstream.interfaces import RequestHead

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Line:
    """A connection, and the server at its other end, which a test plays."""

    def __init__(self) -> None:
        self.turns, self.owner = Turns(), Owner()
        self.connection, self.theirs = connected(HTTP1Connection, self.turns, self.owner)

    def call(self, call: Call) -> Call:
        self.connection.carry(call)  # type: ignore[arg-type]
        return call

    def heard(self) -> bytes:
        """What has reached the server since it was last asked."""
        data = b""
        with suppress(BlockingIOError):
            while piece := self.theirs.recv(2**20):
                data += piece
        return data

    def answer(self, data: bytes = OK) -> None:
        self.theirs.sendall(data)
        self.turns.take()

    def fill(self) -> None:
        """Leave no room in the kernel, as a server does that does not read."""
        with suppress(BlockingIOError):
            while True:
                self.connection.transport.sock.send(bytes(4096))

    def refuse(self) -> None:
        """Make room in the kernel, for a server that reads no more."""
        self.heard()
        self.theirs.shutdown(socket.SHUT_RD)
        self.turns.take()

    def finish(self) -> None:
        """One whole call."""
        call = self.call(Call())
        self.turns.take()
        self.answer()
        call.carrier.release()
        self.heard()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.connection.abort()
    line.theirs.close()


def test_head_and_body_of_a_turn_go_out_at_its_end_in_one_piece(line: Line) -> None:
    """Until then the kernel has none of it: the call is not touched."""
    call = line.call(Call(POST, is_open=True))
    call.carrier.send_body(b"otter")
    call.carrier.end_body(())
    assert line.heard() == b""
    assert not call.carrier.touched
    line.turns.take()
    assert line.theirs.recv(2**20).endswith(b"\r\n\r\n5\r\notter\r\n0\r\n\r\n")
    assert call.carrier.touched


def test_a_call_taken_back_within_its_turn_is_not_sent_and_costs_no_connection(line: Line) -> None:
    """A client that resets what it has just asked moves neither the tool nor its connections."""
    line.finish()
    call = line.call(Call())
    call.carrier.release()
    assert not call.carrier.touched
    other = line.call(Call())
    line.turns.take()
    assert line.heard().count(b"GET / HTTP/1.1") == 1
    assert other.carrier.touched
    line.answer()
    assert other.body == b"ok"
    assert line.owner.ended_times == 0


def test_a_body_that_was_begun_and_taken_back_within_its_turn_leaves_nothing_behind(
    line: Line,
) -> None:
    """Neither bytes nor the debt of a body: the next call on the connection is whole."""
    call = line.call(Call(POST, is_open=True))
    call.carrier.send_body(bytes(limits.buffer_bytes_max))
    call.carrier.release()
    other = line.call(Call())
    line.turns.take()
    assert line.heard().startswith(b"GET ")
    line.answer()
    assert other.body == b"ok"
    other.carrier.release()
    assert line.owner.ended_times == 0


def test_a_connection_that_has_carried_none_stays_fresh_when_a_call_is_taken_back(
    line: Line,
) -> None:
    """A first call's failure is the server's, not that of a kept connection."""
    line.call(Call()).carrier.release()
    call = line.call(Call())
    line.turns.take()
    line.theirs.close()
    line.turns.take()
    assert call.fate is DeliveryState.LOST


def test_a_server_that_leaves_before_the_turn_ends_has_seen_nothing(line: Line) -> None:
    """What was said is dropped with the connection, and may be said to another."""
    line.finish()
    line.theirs.close()
    call = line.call(Call())
    line.turns.take()
    assert call.fate is DeliveryState.STALE


def test_what_a_server_says_before_it_is_asked_answers_nobody(line: Line) -> None:
    """It came after the last call, and is read before a byte of the next one has gone out."""
    line.finish()
    line.theirs.sendall(OK)
    call = line.call(Call())
    line.turns.take()
    assert (call.fate, call.body) == (DeliveryState.STALE, b"")
    assert line.owner.ended_times == 1


def test_a_socket_that_breaks_as_it_is_written_tells_by_being_read(line: Line) -> None:
    """Nothing was taken by the kernel; the call hears of it in the next turn, and may go again."""
    call = line.call(Call(POST, is_open=True))
    line.turns.take()
    line.theirs.close()
    call.carrier.send_body(b"otter")
    line.turns.finish()  # EPIPE
    assert call.error is None
    line.turns.take()
    assert call.error is not None
    assert line.owner.ended_times == 1


def test_a_body_over_the_bound_waits_for_the_turns_end(line: Line) -> None:
    """`send_body` says when it is enough; what the kernel takes at the turn's end makes room."""
    told = []
    call = Call(POST, is_open=True)
    call.writable = lambda: told.append(len(line.heard()))  # type: ignore[method-assign]
    line.call(call)
    assert call.carrier.send_body(b"x")
    line.turns.take()
    assert not told  # nobody was told that it was enough
    assert not call.carrier.send_body(bytes(limits.buffer_bytes_max))
    for _ in range(1000):
        line.turns.take()
        line.heard()
        if told:
            break
    assert told
    assert call.carrier.send_body(b"x")


def test_an_unread_kernel_keeps_the_bound_shut(line: Line) -> None:
    """What waits in the wire counts as what waits for the turn's end does."""
    call = line.call(Call(POST, is_open=True))
    while call.carrier.send_body(bytes(4096)):
        line.turns.take()
    line.turns.take()
    assert not call.carrier.send_body(b"x")
    call.carrier.release()
    assert line.owner.ended_times == 1


def test_a_call_that_waits_for_room_in_the_kernel_takes_its_connection_with_it(line: Line) -> None:
    """None of it was sent, but all of it would be: the next call would get its answer."""
    line.finish()
    line.fill()
    call = line.call(Call())
    line.turns.take()
    assert not call.carrier.touched
    call.carrier.release()
    assert (line.owner.freed_times, line.owner.ended_times) == (1, 1)


def test_a_call_that_the_kernel_has_refused_takes_its_connection_with_it(line: Line) -> None:
    """The wire has dropped what it could not write: none is sent, and none waits."""
    line.fill()
    call = line.call(Call())
    line.turns.take()
    line.refuse()
    assert not call.carrier.touched
    call.carrier.release()
    assert (line.owner.freed_times, line.owner.ended_times) == (0, 1)


def test_a_body_of_which_the_wire_has_dropped_the_rest_is_not_sent(line: Line) -> None:
    """An answer that came before the end does not make the connection fit for another call."""
    call = line.call(Call(RequestHead(b"POST", b"/", 2**20), is_open=True))
    call.carrier.send_body(bytes(2**20))
    call.carrier.end_body(())
    line.turns.take()
    line.answer()
    assert call.body == b"ok"
    line.refuse()
    call.carrier.release()
    assert (line.owner.freed_times, line.owner.ended_times) == (0, 1)


def test_what_came_before_a_connection_broke_waits_for_a_caller_that_waits(line: Line) -> None:
    """A server that leaves has nobody take more than he wants, and loses none of it."""
    call = line.call(Call(reads=False))
    line.turns.take()
    line.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
    assert call.told == 1
    line.theirs.sendall(b"otter")
    line.theirs.close()  # hangs up
    for _ in range(3):
        line.turns.take()
    assert (call.told, call.error) == (1, None)
    call.reads = True
    call.carrier.resume()
    line.turns.take()
    assert call.body == b"otter"
    assert call.error is None
    line.turns.take()
    assert call.error is not None
    assert line.owner.ended_times == 1


@pytest.mark.parametrize("is_full", [False, True])
def test_a_client_that_owes_a_body_is_not_blamed_on_the_server(
    line: Line, *, is_full: bool
) -> None:
    """Nor is a server that reads no more of it spared."""
    call = line.call(Call(POST, is_open=True))
    call.carrier.send_body(bytes(2**20 if is_full else 1))
    line.turns.take()
    assert call.carrier.touched
    line.connection.sweep(line.owner.now + line.owner.idle_seconds + 1)
    assert call.fate is (DeliveryState.LOST if is_full else DeliveryState.ANSWERED)
    assert isinstance(call.error, UpstreamTimeoutError)


def test_get_is_sent_again_only_after_it_was_sent(line: Line) -> None:
    """The turn's end is where a kept connection's silent end shows: by then it was touched."""
    line.finish()
    call = line.call(Call(GET))
    line.turns.take()
    line.theirs.close()
    line.turns.take()
    assert call.fate is DeliveryState.MET_ITS_END


def test_an_early_answer_leaves_no_rest_of_a_body_to_be_sent(line: Line) -> None:
    """What was still to go out in this turn is lost; the next request must not fill its place."""
    line.finish()
    call = line.call(Call(RequestHead(b"POST", b"/", 10), is_open=True))
    line.turns.take()

    def progressed() -> None:
        call.body = call.carrier.answer.take()
        call.carrier.release()  # before the turn ends, and writes

    call.progressed = progressed  # type: ignore[method-assign]
    line.theirs.sendall(OK)
    call.carrier.send_body(bytes(10))
    call.carrier.end_body(())
    line.turns.take()
    assert call.body == b"ok"
    assert (line.owner.freed_times, line.owner.ended_times) == (1, 1)


def test_what_comes_before_a_request_is_written_is_nobodys_answer(line: Line) -> None:
    """It reaches the kernel within the turn that begins the call: the call goes elsewhere."""
    line.finish()
    call = line.call(Call(GET))
    line.theirs.sendall(OK)
    line.turns.finish()  # the turn's end: the poller has not seen it
    assert (call.fate, call.body, call.carrier.touched) == (DeliveryState.STALE, b"", False)
    assert line.owner.ended_times == 1


def test_an_answer_to_half_a_head_is_nobodys(line: Line) -> None:
    """The server cannot know what is asked; it is there all the same, and is not blamed."""
    line.finish()
    call = line.call(Call(RequestHead(b"GET", b"/", 0, b"x-a: %b\r\n" % bytes(2**20))))
    line.turns.take()
    assert call.carrier.touched
    line.theirs.sendall(OK)
    line.turns.take()
    assert (call.fate, call.body) == (DeliveryState.ANSWERED, b"")
    assert line.owner.ended_times == 1


@pytest.mark.parametrize(
    ("answer", "rests"),
    [
        (b"204 No Content\r\n\r\n", True),
        (b"304 Not Modified\r\n\r\n", True),
        (b"200 OK\r\ncontent-length: 0\r\n\r\n", True),
        (b"205 Reset Content\r\ncontent-length: 0\r\n\r\n", True),
        (b"200 OK\r\ncontent-length: 2\r\n\r\nok", False),
        (b"200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", False),
    ],
)
def test_a_connection_rests_after_an_answer_that_was_over_with_its_head(
    line: Line, answer: bytes, *, rests: bool
) -> None:
    """A server that sends a body all the same does so behind it, and is seen to."""
    call = line.call(Call())
    line.turns.take()
    line.answer(b"HTTP/1.1 " + answer)
    call.carrier.release()
    assert (line.owner.rested_times, line.owner.freed_times) == (rests, not rests)
    line.answer(b"surplus")
    assert line.owner.ended_times == 1


@pytest.mark.parametrize("head", [b"204 X", b"304 X"])
@pytest.mark.parametrize("field", [b"content-length: 7", b"transfer-encoding: chunked"])
def test_a_body_that_is_announced_where_none_may_be_ends_the_connection(
    line: Line, head: bytes, field: bytes
) -> None:
    """It may come at any time, and would answer the next call."""
    call = line.call(Call())
    line.turns.take()
    line.answer(b"HTTP/1.1 %b\r\n%b\r\n\r\n" % (head, field))
    assert call.carrier.answer.complete
    call.carrier.release()
    assert (line.owner.ended_times, line.owner.rested_times) == (1, 0)
