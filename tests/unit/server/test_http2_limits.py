"""Bounds of an HTTP/2 connection without a socket: what is counted, drained, held or choked."""

import ngh2
import pytest
from fake_host import FakeHost
from hpack import Encoder
from http2_pair import GET, POST, Pair
from hyperframe.frame import HeadersFrame, PriorityFrame, SettingsFrame

from crewgate import limits
from crewgate.server.http2 import HTTP2

pytestmark = pytest.mark.usefixtures("each_http2_engine")


def test_a_spent_connection_is_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its last request a client hears it, and what is under way ends whole."""
    monkeypatch.setattr(limits, "connection_requests_max", 3)
    pair = Pair()
    for _ in range(2):
        pair.ask(GET)
        pair.host.exchanges[-1].respond(200, [])
    pair.protocol.sweep(pair.host.clock)
    pair.pump()
    assert not pair.of(ngh2.GoAwayReceived)
    stream = pair.ask(GET)
    pair.protocol.sweep(pair.host.clock)
    pair.protocol.sweep(pair.host.clock + limits.drain_notice_seconds)
    pair.pump()
    assert pair.of(ngh2.GoAwayReceived)[0].error_code == ngh2.ErrorCode.NO_ERROR
    assert not pair.protocol.closing
    pair.host.exchanges[-1].respond(200, [], b"whole")
    pair.pump()
    pair.protocol.sweep(pair.host.clock + limits.drain_notice_seconds + limits.sweep_seconds)
    pair.pump()
    assert [(e.stream_id, e.data) for e in pair.of(ngh2.DataReceived)] == [(stream, b"whole")]
    assert pair.protocol.closing
    assert pair.protocol.counters.connections_spent == 1


@pytest.mark.parametrize("way", ["up", "down"])
def test_bytes_of_a_connection_are_counted_both_ways(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection is spent by what it sent and by what it got."""
    monkeypatch.setattr(limits, "connection_bytes_max", 50_000)
    pair = Pair()
    stream = pair.ask(POST, ended=False)
    if way == "up":
        pair.client.send_data(stream, bytes(50_000), end_stream=True)
        pair.pump()
    pair.host.exchanges[0].respond(200, [], b"" if way == "up" else bytes(50_000))
    pair.pump()
    pair.protocol.sweep(pair.host.clock)
    assert pair.protocol.counters.connections_spent == 1


def test_too_many_fields_cost_the_request_alone() -> None:
    """431 on its stream; others of the connection go on."""
    pair = Pair()
    other = pair.ask(GET)
    pair.ask([*GET, *[(b"a%d" % n, b"b") for n in range(limits.head_fields_max + 1)]])
    assert dict(pair.of(ngh2.ResponseReceived)[0].headers)[b":status"] == b"431"
    assert pair.protocol.counters.heads_large == 1
    pair.host.exchanges[0].respond(200, [])
    pair.pump()
    assert pair.of(ngh2.ResponseReceived)[1].stream_id == other
    assert len(pair.host.exchanges) == 1


def test_bad_tokens_drain_their_connection() -> None:
    """As many as one may show are answered; then it is told to go, and nothing is cut."""
    pair = Pair()
    for _ in range(limits.bad_tokens_max):
        assert not pair.protocol.closing
        pair.ask(GET)
        pair.protocol.distrust(hold=False)
        pair.host.exchanges[-1].respond(401, [])
        pair.pump()
    assert len(pair.of(ngh2.ResponseReceived)) == limits.bad_tokens_max
    assert pair.of(ngh2.GoAwayReceived)
    pair.protocol.sweep(pair.host.clock + limits.sweep_seconds)
    pair.pump()
    assert pair.protocol.closing
    counters = pair.protocol.counters
    assert (counters.bad_tokens, counters.bad_tokens_drained) == (limits.bad_tokens_max, 1)


def test_a_held_connection_is_read_again_after_a_sweep() -> None:
    """It still writes: the answer that it was held for goes out."""
    pair = Pair()
    pair.ask(GET)
    pair.protocol.distrust(hold=True)
    pair.host.exchanges[0].respond(401, [])
    assert pair.protocol.paused
    pair.pump()
    assert pair.of(ngh2.ResponseReceived)
    assert pair.protocol.paused
    resumed = pair.host.resumed
    pair.protocol.sweep(pair.host.clock)
    assert not pair.protocol.paused
    assert pair.host.resumed == resumed + 1
    assert pair.protocol.counters.bad_tokens_held == 1


def test_who_reads_nothing_and_sends_on_is_not_read() -> None:
    """Streams over the bound make resets of ours; no more than a bound of them waits unread."""
    encoder = Encoder()
    heads = [
        HeadersFrame(n, encoder.encode(GET), flags=["END_HEADERS", "END_STREAM"]).serialize()
        for n in range(1, 60_001, 2)
    ]
    # A client that never acknowledges our settings: what is over the bound is no violation yet.
    wire = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize() + b"".join(heads)
    host = FakeHost()
    protocol = HTTP2(host)
    read = 0
    while not protocol.paused:
        protocol.receive(wire[read : read + 16_384])
        read += 16_384
    assert limits.control_bytes_max < read <= limits.control_bytes_max + 16_384 < len(wire)
    assert protocol.counters.connections_choked == 1
    assert not host.resumed
    protocol.bytes_to_send()
    assert not protocol.paused
    assert host.resumed == 1


def test_heads_that_wait_for_answers_do_not_choke() -> None:
    """A page of calls with long heads, none answered yet, leaves the connection readable."""
    pair = Pair()
    for number in range(limits.streams_max):
        pair.client.send_request([*GET, (b"x-%d" % number, b"y" * 2000)], end_stream=True)
    wire = pair.client.data_to_send()
    assert len(wire) > 2 * limits.control_bytes_max
    for start in range(0, len(wire), 16_384):
        pair.protocol.receive(wire[start : start + 16_384])
        assert not pair.protocol.has_output
        assert not pair.protocol.paused
    assert len(pair.host.exchanges) == limits.streams_max


def test_payload_does_not_choke() -> None:
    """A body may fill its windows while nothing is sent."""
    pair = Pair()
    streams = [pair.ask(POST, ended=False) for _ in range(4)]
    for stream in streams:
        pair.client.send_data(stream, bytes(limits.stream_window_bytes))
    pair.protocol.receive(pair.client.data_to_send())
    assert not pair.protocol.paused
    assert sum(exchange.buffered for exchange in pair.host.exchanges) == 4 * 65_536


def test_a_retired_connection_becomes_a_drained_one() -> None:
    """A listener that ends does not wait for the notice that it began with."""
    pair = Pair()
    pair.protocol.drain(urgent=False)
    pair.pump()
    assert [event.last_stream_id for event in pair.of(ngh2.GoAwayReceived)] == [2**31 - 1]
    assert not pair.protocol.closing
    pair.protocol.drain(urgent=True)
    pair.pump()
    assert pair.protocol.closing


def test_a_head_that_comes_in_drops_is_cut() -> None:
    """A frame that is never whole is read for as long as a head of HTTP/1.1 would be."""
    pair = Pair()
    head = HeadersFrame(1, Encoder().encode(GET), flags=["END_HEADERS", "END_STREAM"]).serialize()
    for number, octet in enumerate(head[:-1]):
        pair.host.clock += limits.head_seconds_max / 10
        pair.protocol.receive(bytes([octet]))
        pair.pump()
        assert pair.protocol.closing == (number > 10)
        if pair.protocol.closing:
            break
    assert pair.of(ngh2.GoAwayReceived)
    assert pair.protocol.counters.heads_slow == 1


def test_frames_that_are_dropped_are_no_drops() -> None:
    """A connection that sends PRIORITY now and then, and whole requests, is let be."""
    pair = Pair()
    priority = PriorityFrame(1, depends_on=0, stream_weight=1, exclusive=False).serialize()
    for _ in range(5):
        pair.protocol.receive(priority)
        pair.host.clock += 3 * limits.head_seconds_max
        pair.ask(GET)
        pair.host.exchanges[-1].respond(200, [])
        pair.pump()
    assert not pair.protocol.closing
    assert pair.protocol.counters.heads_slow == 0
