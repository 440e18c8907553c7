"""Bounds of an HTTP/1.1 connection without a socket: what is counted, drained, held or refused."""

import pytest
from fake_host import FakeHost

from crewgate import limits
from crewgate.server.exchange import Exchange
from crewgate.server.http1 import HTTP1

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def _answer(exchange: Exchange) -> None:
    exchange.respond(200, [], b"fine")


def _begin(*, answering: bool = True) -> tuple[HTTP1, FakeHost]:
    host = FakeHost()
    if answering:
        host.answer = _answer
    return HTTP1(host), host


def _sent(protocol: HTTP1) -> bytes:
    data = b""
    while piece := protocol.bytes_to_send():
        data += piece
    return data


def test_a_spent_connection_is_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next answer says that it is the last, and is whole."""
    monkeypatch.setattr(limits, "connection_requests_max", 2)
    protocol, host = _begin()
    protocol.receive(GET)
    protocol.sweep(host.clock)
    assert b"connection: close" not in _sent(protocol)
    host.answer = lambda _: None
    protocol.receive(GET)
    protocol.sweep(host.clock)
    assert not protocol.closing
    host.exchanges[-1].respond(200, [], b"")
    protocol.receive(GET)
    host.exchanges[-1].respond(200, [], b"last")
    answer = _sent(protocol)
    assert b"connection: close" in answer
    assert answer.endswith(b"last")
    assert protocol.closing
    assert protocol.counters.connections_spent == 1


@pytest.mark.parametrize("way", ["up", "down"])
def test_bytes_of_a_connection_are_counted_both_ways(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection is spent by what it sent and by what it got."""
    monkeypatch.setattr(limits, "connection_bytes_max", 50_000)
    protocol, host = _begin(answering=False)
    protocol.receive(POST % 50_000 + bytes(50_000) if way == "up" else GET)
    host.exchanges[0].respond(200, [], b"" if way == "up" else bytes(50_000))
    _sent(protocol)
    protocol.sweep(host.clock)
    assert protocol.counters.connections_spent == 1
    assert not protocol.closing  # a request may be on its way
    protocol.receive(GET)
    host.exchanges[1].respond(200, [])
    assert protocol.closing


@pytest.mark.parametrize(
    ("wire", "counter"),
    [
        (GET[:-2] + b"A: b\r\n" * 101 + b"\r\n", "heads_large"),
        (GET[:-2] + b"A: " + b"b" * limits.head_bytes_max, "heads_large"),
        (POST % 10**12, "bodies_large"),
        (b"\x00", "requests_malformed"),
    ],
)
def test_what_is_refused_is_counted_once(wire: bytes, counter: str) -> None:
    """One answer and one count, of its kind."""
    protocol, _ = _begin()
    protocol.receive(wire)
    assert _sent(protocol).count(b"HTTP/1.1 ") == 1
    counts = protocol.counters.counts
    assert {name: count for name, count in counts.items() if count} == {counter: 1}


def test_a_long_pipeline_is_counted() -> None:
    """It is closed after the answer under way."""
    protocol, _ = _begin(answering=False)
    protocol.receive(GET * (limits.pipelined_requests_max + 2))
    assert protocol.counters.pipelines_long == 1


def test_slowness_is_counted_by_its_kind() -> None:
    """Head, body, rest of a refused body, answer that is not read."""
    late = 1000.0 + limits.idle_seconds_max
    protocol, _ = _begin()
    protocol.receive(GET[:9])
    protocol.sweep(late)
    assert protocol.counters.heads_slow == 1
    protocol, host = _begin(answering=False)
    protocol.receive(POST % 5)
    host.exchanges[0].want_body()
    protocol.sweep(late)
    assert protocol.counters.bodies_slow == 1
    protocol, _ = _begin()
    protocol.receive(POST % 5)
    assert not protocol.sweep(late)
    assert protocol.counters.bodies_unwanted == 1
    protocol, host = _begin(answering=False)
    protocol.receive(GET)
    host.exchanges[0].start(200, [])
    assert not host.exchanges[0].push(bytes(2 * limits.buffer_bytes_max))
    protocol.sweep(late)
    assert protocol.counters.answers_unread == 1
    assert protocol.closing


def test_small_chunks_pass() -> None:
    """A body of chunks of one byte is as good as any."""
    protocol, host = _begin(answering=False)
    protocol.receive(CHUNKED + b"1\r\nx\r\n" * limits.head_bytes_max)
    protocol.receive(b"0\r\n\r\n")
    assert host.exchanges[0].complete
    assert host.exchanges[0].bytes_in == limits.head_bytes_max


@pytest.mark.parametrize("step", [16_384, 100])
def test_chunk_extensions_cost_no_more_than_a_head(step: int) -> None:
    """Extensions on every chunk end the connection, although each is short (CVE-2023-39326)."""
    protocol, _ = _begin(answering=False)
    wire = CHUNKED + (b"1;" + b"e" * 100 + b"\r\nx\r\n") * 10_000
    read = 0
    while not protocol.closing:
        protocol.receive(wire[read : read + step])
        read += step
    assert read <= 3 * limits.head_bytes_max
    assert _sent(protocol).startswith(b"HTTP/1.1 400 ")
    assert protocol.counters.requests_malformed == 1


def test_bad_tokens_drain_their_connection() -> None:
    """As many as one may show are answered; the last answer says that it is the last."""
    protocol, host = _begin()

    def refuse(exchange: Exchange) -> None:
        protocol.distrust(hold=False)
        exchange.respond(401, [])

    host.answer = refuse
    protocol.receive(GET * (limits.bad_tokens_max + 5))
    answers = _sent(protocol)
    assert answers.count(b"HTTP/1.1 401 ") == limits.bad_tokens_max
    assert answers.count(b"connection: close") == 1
    assert protocol.closing
    assert protocol.counters.bad_tokens_drained == 1


def test_a_held_connection_is_read_again_after_a_sweep() -> None:
    """Its answer goes out meanwhile."""
    protocol, host = _begin()

    def refuse(exchange: Exchange) -> None:
        protocol.distrust(hold=True)
        exchange.respond(401, [])

    host.answer = refuse
    protocol.receive(GET)
    assert _sent(protocol).startswith(b"HTTP/1.1 401 ")
    assert protocol.paused
    protocol.sweep(host.clock)
    assert not protocol.paused
    assert host.resumed
    assert protocol.counters.bad_tokens_held == 1


def test_a_retired_connection_ends_with_its_next_answer() -> None:
    """Nothing is closed under a request that is on its way."""
    protocol, _ = _begin()
    protocol.drain(urgent=False)
    assert not protocol.closing
    protocol.receive(GET)
    assert b"connection: close" in _sent(protocol)
    assert protocol.closing
