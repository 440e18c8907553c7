"""Calls on an HTTP/2 connection to a tool's server: what was seen, what is held, who has room."""

from collections.abc import Iterator

import ngh2
import pytest
from h2_upstream import POST, WIDE, Line

from crewgate import limits
from crewgate.core.delivery import DeliveryState
from crewgate.errors import UpstreamTimeoutError

OK = [(b":status", b"200")]

pytestmark = pytest.mark.usefixtures("each_http2_engine")


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line(WIDE)
    yield line
    line.close()


def test_a_call_whose_head_waited_for_the_kernel_is_touched_once_it_went(line: Line) -> None:
    """A head that was queued behind a full socket counts as sent when the kernel takes it."""
    line.server.set_local_window_size(2**30)
    line.exchange()
    upload = line.call(POST, is_open=True)
    while not line.connection.transport.queued:  # until the kernel is full
        upload.carrier.send_body(bytes(8192))
        line.turns.take()
    call = line.call()
    line.turns.take()
    assert not call.carrier.touched
    line.serve()
    line.turns.take()
    line.serve()
    heads = [event for event in line.heard if isinstance(event, ngh2.RequestReceived)]
    assert len(heads) == 2
    assert call.carrier.touched


def test_a_call_that_was_given_up_before_its_turn_ended_is_not_sent(line: Line) -> None:
    """Between the verdict and the flush nothing is touched, and nothing goes out afterwards."""
    call = line.call()
    assert not call.carrier.touched
    call.carrier.release()
    line.exchange()
    assert not [event for event in line.heard if isinstance(event, ngh2.RequestReceived)]
    assert not call.carrier.touched


def test_a_caller_that_waits_is_told_nothing_and_the_window_stays_shut(line: Line) -> None:
    """A server that goes on is held back by the stream's window; all comes once it is wanted."""
    call = line.call(reads=False)
    line.exchange()
    size = 2 * limits.upstream_window_bytes
    line.server.send_response(1, OK)
    line.server.send_data(1, bytes(size), end_stream=True)
    line.exchange()
    assert call.told == 1
    assert line.server.queued_body_size(1) >= size - limits.upstream_window_bytes
    call.reads = True
    call.carrier.resume()
    call.progressed()
    line.exchange()
    assert len(call.body) == size
    assert call.carrier.answer.complete


def test_a_whole_answer_outlives_its_connection(line: Line) -> None:
    """A caller that waits has all of an answer that came before the server closed."""
    call = line.call(reads=False)
    line.exchange()
    line.server.send_response(1, OK)
    line.server.send_data(1, b"x", end_stream=False)
    line.exchange()
    line.server.send_data(1, b"whole", end_stream=True)
    line.exchange()
    line.theirs.close()
    line.turns.take()
    assert call.error is None
    call.reads = True
    call.carrier.resume()
    call.progressed()
    assert call.body == b"xwhole"
    call.carrier.release()
    assert line.owner.left_times == 1


@pytest.mark.parametrize("way", ["refused", "gone away"])
def test_who_has_answered_has_looked(line: Line, way: str) -> None:
    """A server that answers, and then says that it has not looked, is not believed."""
    call = line.call()
    line.exchange()
    line.server.send_response(1, OK)
    line.server.send_data(1, b"half")
    line.exchange()
    if way == "refused":
        line.server.reset_stream(1, ngh2.ErrorCode.REFUSED_STREAM)
    else:
        line.server.send_goaway(last_stream_id=0)
    line.exchange()
    line.theirs.close()
    line.turns.take()
    assert call.body == b"half"
    assert call.carrier.touched
    assert call.fate is DeliveryState.ANSWERED


def test_who_has_informed_has_looked(line: Line) -> None:
    """An early hint is a look as well."""
    call = line.call()
    line.exchange()
    line.server.send_informational_response(1, [(b":status", b"103")])
    line.exchange()
    line.server.reset_stream(1, ngh2.ErrorCode.REFUSED_STREAM)
    line.exchange()
    assert call.carrier.touched
    assert call.fate is DeliveryState.ANSWERED


def test_room_that_a_server_grants_later_is_offered() -> None:
    """A server that allows one stream at first and more later is given more."""
    line = Line({ngh2.Setting.MAX_CONCURRENT_STREAMS: 1})
    first = line.call()
    line.exchange()
    assert line.connection.free_streams == 0
    line.server.update_settings({ngh2.Setting.MAX_CONCURRENT_STREAMS: 100})
    line.exchange()
    assert line.owner.freed_times == 1
    line.server.send_response(1, OK, end_stream=True)
    line.exchange()
    first.carrier.release()
    assert line.owner.freed_times == 1
    line.close()


def test_room_comes_back_where_the_server_allows_fewer() -> None:
    """Streams beyond what a server allows by now end, and then there is room again, told once."""
    line = Line({ngh2.Setting.MAX_CONCURRENT_STREAMS: 3})
    calls = [line.call() for _ in range(3)]
    line.exchange()
    line.server.update_settings({ngh2.Setting.MAX_CONCURRENT_STREAMS: 2})
    line.exchange()
    for call in calls:
        call.carrier.release()
    assert line.owner.freed_times == 1
    line.close()


def test_a_server_that_speaks_nonsense_and_stays_fails_its_calls(line: Line) -> None:
    """Calls on a connection that is over do not wait until their time is."""
    call = line.call()
    line.exchange()
    line.theirs.send(b"\0\0\1\0\0\0\0\0\0x")  # DATA of no stream
    line.turns.take()
    assert call.fate is DeliveryState.BREACHED


def test_a_connection_that_takes_no_more_ends_with_its_last_call(line: Line) -> None:
    """Also where that call fails: nobody waits for the sweeper to have the room that it takes."""
    call = line.call()
    line.exchange()
    line.server.send_goaway(last_stream_id=1)
    line.exchange()
    assert not line.owner.ended_times
    line.server.reset_stream(1, ngh2.ErrorCode.INTERNAL_ERROR)
    line.exchange()
    assert call.fate is DeliveryState.ANSWERED
    assert line.owner.ended_times == 1


def test_what_a_leaving_server_did_not_look_at_is_not_charged(line: Line) -> None:
    """A call above the last one that GOAWAY names was not seen; one below goes on."""
    first, second = line.call(), line.call()
    line.exchange()
    assert second.carrier.touched
    line.server.send_goaway(last_stream_id=1)
    line.exchange()
    assert second.fate is DeliveryState.UNSEEN
    assert not second.carrier.touched
    line.server.send_response(1, OK, end_stream=True)
    line.exchange()
    assert first.carrier.answer.complete


def test_a_caller_that_fails_by_our_own_error_keeps_no_other_from_hearing(line: Line) -> None:
    """Each call on a connection that ends is told."""
    calls = [line.call() for _ in range(3)]
    line.exchange()

    def fail(error: Exception) -> None:
        raise RuntimeError("failed") from error

    calls[1].failed = fail  # type: ignore[method-assign]
    line.connection.abort()
    assert [call.error is None for call in calls] == [False, True, False]


@pytest.mark.parametrize("is_full", [False, True])
def test_a_client_that_owes_a_body_is_not_blamed_on_the_server(
    line: Line, *, is_full: bool
) -> None:
    """Nor is a server that reads no more of it spared."""
    call = line.call(POST, is_open=True)
    if is_full:
        line.server.update_settings({ngh2.Setting.INITIAL_WINDOW_SIZE: 0})
        line.exchange()
    call.carrier.send_body(bytes(9))
    line.exchange()
    assert call.carrier.touched
    line.connection.sweep(line.owner.now + line.owner.idle_seconds + 1)
    assert call.fate is (DeliveryState.LOST if is_full else DeliveryState.ANSWERED)
    assert isinstance(call.error, UpstreamTimeoutError)
    assert line.owner.ended_times == 0


def test_a_call_that_the_engine_refuses_goes_elsewhere(line: Line) -> None:
    """Nobody waits for what was never sent, and the connection takes no other call."""
    beside = line.call()
    line.exchange()
    line.connection.engine.terminate_connection()
    call = line.call()
    assert (call.fate, line.connection.free_streams) == (DeliveryState.UNSEEN, 0)
    assert (beside.error, line.owner.ended_times) == (None, 0)
    beside.carrier.release()
    assert line.owner.ended_times == 1
