"""Which kept connection carries which call, and until when it is kept; no test waits for that."""

from collections.abc import Iterator

import pytest
from h2_upstream import GET, POST, Call, Owner, Turns, connected

from crewgate import limits
from crewgate._datapath.http1_connection import HTTP1Connection

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-a: b\r\n\r\n"
SAFE = limits.upstream_safe_rest_seconds
KEPT = 50.0  # longer than SAFE, shorter than `keep_seconds`


class Line:
    """A connection that may be kept for a minute, and the server at its other end."""

    def __init__(self) -> None:
        self.turns, self.owner = Turns(), Owner()
        self.owner.keep_seconds = 60.0
        self.connection, self.theirs = connected(HTTP1Connection, self.turns, self.owner)

    def finish(self, answer: bytes = OK) -> None:
        """One whole call that may be repeated."""
        call = Call(GET)
        self.connection.carry(call)  # type: ignore[arg-type]
        self.turns.take()
        self.theirs.sendall(answer)
        self.turns.take()
        call.carrier.release()

    def rests(self, seconds: float) -> None:
        """Have the connection be unused for so long."""
        self.connection.idle_since -= seconds

    @property
    def carries(self) -> tuple[bool, bool]:
        """Whether it may carry a call that may be repeated, and one that may not."""
        calls = Call(GET), Call(POST, is_open=True)
        return tuple(self.connection.is_usable(call) for call in calls)  # type: ignore[return-value,arg-type]


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.connection.abort()
    line.theirs.close()


def test_only_what_may_be_repeated_uses_a_connection_after_a_pause(line: Line) -> None:
    """Its server may be closing it; and nothing uses it if the pool repeats no call."""
    assert line.carries == (True, True)
    line.finish()
    line.rests(SAFE / 2)
    assert line.carries == (True, True)
    line.rests(SAFE)
    assert line.carries == (True, False)
    line.owner.retries = False
    assert line.carries == (False, False)


def test_a_server_that_kept_a_connection_for_long_keeps_it_as_long_again(line: Line) -> None:
    """That it answered after the pause is the proof."""
    line.finish()
    line.rests(KEPT)
    line.finish()
    line.rests(KEPT - 1)
    assert line.carries == (True, True)
    line.rests(2)
    assert line.carries == (True, False)


def test_a_server_that_says_how_long_it_keeps_a_connection_is_believed(line: Line) -> None:
    """The connection is closed a second earlier, and used by all calls until then."""
    line.finish(OK.replace(b"x-a: b", b"Keep-Alive: timeout=20, max=100"))
    line.rests(18)
    assert line.carries == (True, True)
    line.connection.sweep(line.owner.now + 18)
    assert line.owner.ended_times == 0
    line.connection.sweep(line.owner.now + 19.1)
    assert line.owner.ended_times == 1


def test_a_connection_is_kept_for_as_long_as_is_configured(line: Line) -> None:
    """One that has carried no call is closed early: its end would count against the server."""
    other = Line()
    other.connection.sweep(other.owner.now + SAFE + 0.1)
    assert other.owner.ended_times == 1
    other.theirs.close()
    line.finish()
    line.connection.sweep(line.owner.now + line.owner.keep_seconds - 1)
    assert line.owner.ended_times == 0
    line.connection.sweep(line.owner.now + line.owner.keep_seconds + 0.1)
    assert line.owner.ended_times == 1


def test_a_close_is_seen_before_a_call_that_may_not_be_repeated(line: Line) -> None:
    """The socket itself is looked at, since the poller would report the close a turn later."""
    line.finish()
    line.theirs.close()
    assert line.carries == (True, False)
