"""Answers over HTTP/2 that are none: whose call they end, and what it gives back."""

from collections.abc import Iterator

import pytest
from h2_upstream import Call, Line
from malformed_http2 import CONNECTION, END_HEADERS, OK, STREAM, answer, data, good

from crewgate import limits
from crewgate.core.delivery import DeliveryState

pytestmark = pytest.mark.usefixtures("each_http2_engine")


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def _say(line: Line, wire: bytes) -> None:
    """Have the server write this, and our side read all of it."""
    while wire:
        wire = wire[line.theirs.send(wire) :]
        line.turns.take()
    line.turns.take()


@pytest.mark.parametrize("name", STREAM)
def test_a_malformed_answer_ends_its_call_at_once_and_nothing_else(line: Line, name: str) -> None:
    """The server is there and is not blamed; a call beside it is answered, and the next one."""
    room = line.connection.free_streams
    call, beside = line.call(), line.call()
    line.exchange()
    _say(line, STREAM[name](1))
    assert call.error is not None
    # A call that the server says it has not looked at may be tried again; no other one.
    assert call.fate is (
        DeliveryState.UNSEEN if name == "reset as refused" else DeliveryState.ANSWERED
    )
    assert line.connection.free_streams == room - 1
    assert (beside.error, line.owner.ended_times) == (None, 0)
    _say(line, good(3, b"mine"))
    assert (beside.body, beside.carrier.answer.complete) == (b"mine", True)
    beside.carrier.release()
    after = line.call()
    line.exchange()
    _say(line, good(5, b"mine too"))
    assert after.body == b"mine too"


@pytest.mark.parametrize("name", CONNECTION)
def test_a_breach_of_the_connections_rules_ends_its_calls_and_blames_nobody(
    line: Line, name: str
) -> None:
    """Whose answer it was cannot be told: the pool repeats each that may be repeated alone."""
    calls = [line.call(), line.call()]
    line.exchange()
    _say(line, CONNECTION[name](1))
    for call in calls:
        assert call.error is not None
        assert call.fate in {DeliveryState.BREACHED, DeliveryState.ANSWERED}
    assert line.owner.ended_times == 1


def test_a_server_that_has_never_spoken_http2_is_blamed() -> None:
    """Before its settings have come it is none."""
    line = Line(greets=False)
    call = line.call()
    line.turns.take()
    _say(line, b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert call.fate is DeliveryState.LOST
    line.close()


def test_a_connection_with_many_malformed_answers_is_replaced(line: Line) -> None:
    """Before what was lost with them closes its window to others; a call under way ends well."""
    beside = line.call()
    for number in range(limits.upstream_malformed_max):
        assert line.connection.free_streams
        call = line.call()
        line.exchange()
        stream = 2 * number + 3
        head = answer(stream, OK, (b"content-length", b"16001"), flags=END_HEADERS)
        _say(line, head + data(stream, bytes(16_000)))
        assert call.error is not None
        call.carrier.release()
    assert (line.connection.free_streams, line.owner.ended_times) == (0, 0)
    assert line.connection.engine.local_window_size > limits.upstream_window_bytes
    _say(line, good(1, b"mine"))
    assert beside.body == b"mine"
    beside.carrier.release()
    assert line.owner.ended_times == 1


def test_the_last_call_of_a_leaving_connection_may_be_malformed(line: Line) -> None:
    """It ends with that call, and the place is given back at once."""
    call: Call = line.call()
    line.exchange()
    line.connection.close()
    _say(line, STREAM["CR LF in a value"](1))
    assert call.error is not None
    assert line.owner.ended_times == 1
