"""HTTP/2 without a socket, against ngh2 as a client: windows, resets, drains, what is left over."""

import json

import ngh2
import pytest
import trio
from http2_pair import GET, HEAD, POST, Pair

from crewgate import limits
from crewgate.errors import PeerError

pytestmark = pytest.mark.usefixtures("each_http2_engine")


async def test_window_opens_when_the_body_is_read() -> None:
    """No more than the stream's window arrives before the application has taken it."""
    pair = Pair()
    stream = pair.ask(POST, ended=False)
    pair.client.send_data(stream, bytes(3 * limits.stream_window_bytes), end_stream=True)
    pair.pump()
    exchange = pair.host.exchanges[0]
    assert exchange.buffered == limits.stream_window_bytes
    total = 0
    while data := await exchange.read():
        total += len(data)
        pair.pump()
    assert total == 3 * limits.stream_window_bytes


def test_more_is_expected_behind_a_body_and_behind_nothing_else() -> None:
    """Who sends frames in bulk is written to after each read: that is how floods are counted."""
    pair = Pair()
    stream = pair.ask(POST, ended=False)
    pair.client.send_data(stream, bytes(16_000))
    assert pair.protocol.receive(pair.client.data_to_send())
    for _ in range(900):
        pair.client.ping(bytes(8))
    assert not pair.protocol.receive(pair.client.data_to_send())
    for _ in range(100):
        pair.client.send_request(GET, end_stream=True)
    assert not pair.protocol.receive(pair.client.data_to_send())


def test_windows_of_lost_and_refused_bodies_come_back() -> None:
    """The connection's window is given back after bodies that nobody read."""
    pair = Pair()
    whole = pair.client.remote_window_size
    for _ in range(300):
        stream = pair.ask(POST, ended=False)
        pair.client.send_data(stream, bytes(60_000))
        pair.pump()
        pair.client.reset_stream(stream, 8)
        pair.pump()
        stream = pair.ask(POST, ended=False)
        pair.host.exchanges[-1].respond(403, [])
        pair.client.send_data(stream, bytes(60_000), end_stream=True)
        pair.pump()
    # nghttp2 gives it back when half of it has been taken.
    assert pair.client.remote_window_size > whole // 2 - 2 * limits.stream_window_bytes
    assert not pair.protocol.exchanges


async def test_send_waits_for_the_window() -> None:
    """`send` returns when less than a buffer is queued, and raises when the stream is reset."""
    pair = Pair()
    stream = pair.ask(GET)
    exchange = pair.host.exchanges[0]
    exchange.start(200, [])
    done = []

    async def work() -> None:
        await exchange.send(bytes(2 * limits.buffer_bytes_max))
        done.append("sent")
        with pytest.raises(PeerError):
            await exchange.send(bytes(2 * limits.stream_window_bytes + limits.buffer_bytes_max))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        assert not done
        pair.pump()
        await trio.testing.wait_all_tasks_blocked()
        assert done
        pair.client.reset_stream(stream, 8)
        pair.pump()


async def test_reset_cancels_the_work() -> None:
    """RST_STREAM of the client cancels that stream's scope and no other."""
    pair = Pair()
    first, second = pair.ask(GET), pair.ask(GET)
    scopes = [exchange.scope for exchange in pair.host.exchanges]
    pair.client.reset_stream(first, 8)
    pair.pump()
    assert [scope.cancel_called for scope in scopes] == [True, False]
    pair.host.exchanges[1].respond(200, [], b"x")
    pair.pump()
    assert [event.stream_id for event in pair.of(ngh2.DataReceived)] == [second]


def test_writing_after_the_end_is_harmless() -> None:
    """Whatever is written to a stream that is over does nothing, or says so."""
    pair = Pair()
    stream = pair.ask(GET)
    exchange = pair.host.exchanges[0]
    pair.client.reset_stream(stream, 8)
    pair.pump()
    exchange.respond(200, [], b"x")
    exchange.finish(b"x")
    exchange.reset(8)
    with pytest.raises(PeerError):
        exchange.start(200, [])


def test_trailers_both_ways() -> None:
    """Trailers of the request are kept for the application; its own follow the answer."""
    pair = Pair()
    stream = pair.ask(POST, ended=False)
    pair.client.send_data(stream, b"abc")
    pair.client.send_trailers(stream, [(b"x-t", b"1")])
    pair.pump()
    exchange = pair.host.exchanges[0]
    assert exchange.complete
    assert list(exchange.trailers) == [(b"x-t", b"1")]
    exchange.start(200, [])
    exchange.finish(b"end", [(b"x-u", b"2")])
    pair.pump()
    assert pair.of(ngh2.TrailersReceived)[0].headers == ((b"x-u", b"2"),)


async def test_continue() -> None:
    """100 (Continue) is sent when the body is wanted."""
    pair = Pair()
    pair.ask([*POST, (b"expect", b"100-continue")], ended=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.host.exchanges[0].read)
        await trio.testing.wait_all_tasks_blocked()
        pair.pump()
        assert pair.of(ngh2.InformationalResponseReceived)
        nursery.cancel_scope.cancel()


def test_drain_of_an_idle_connection() -> None:
    """An idle connection says goodbye and closes."""
    pair = Pair()
    pair.protocol.drain(urgent=True)
    pair.pump()
    assert pair.of(ngh2.GoAwayReceived)
    assert pair.protocol.closing


def test_drain_of_a_busy_connection() -> None:
    """A busy one is told after a while, then told which stream is the last; streams still end."""
    pair = Pair()
    stream = pair.ask(GET)
    pair.protocol.drain(urgent=True)
    pair.pump()
    pair.protocol.sweep(pair.host.clock + limits.drain_notice_seconds - 1)
    pair.pump()
    assert not pair.of(ngh2.GoAwayReceived)
    pair.protocol.sweep(pair.host.clock + limits.drain_notice_seconds)
    pair.pump()
    assert pair.of(ngh2.GoAwayReceived)[0].last_stream_id == 2**31 - 1
    pair.protocol.sweep(pair.host.clock + limits.drain_notice_seconds + 1)
    pair.pump()
    assert pair.of(ngh2.GoAwayReceived)[1].last_stream_id == stream
    assert not pair.protocol.closing
    pair.host.exchanges[0].respond(200, [], b"whole")
    pair.pump()
    assert pair.of(ngh2.DataReceived)[0].data == b"whole"
    assert pair.protocol.closing


def test_slow_stream_is_reset_and_idle_connection_ends() -> None:
    """An answer that nobody takes is given up in time; so is a connection without streams."""
    pair = Pair()
    stream = pair.ask(GET)
    pair.host.exchanges[0].respond(200, [], bytes(limits.stream_window_bytes * 2))
    assert pair.protocol.sweep(pair.host.clock + limits.send_wait_seconds_max - 1)
    pair.protocol.sweep(pair.host.clock + limits.send_wait_seconds_max + 1)
    pair.protocol.sweep(pair.host.clock + limits.send_wait_seconds_max + 1)  # before it is sent
    pair.pump()
    assert [event.stream_id for event in pair.of(ngh2.StreamReset)] == [stream]
    later = pair.host.clock = pair.host.clock + limits.send_wait_seconds_max + 2
    assert pair.protocol.sweep(later)
    assert pair.protocol.counters.answers_unread == 1
    later = pair.host.clock = later + limits.idle_seconds_max + 1
    pair.protocol.sweep(later)
    pair.pump()
    assert [event.last_stream_id for event in pair.of(ngh2.GoAwayReceived)] == [2**31 - 1]
    assert not pair.protocol.closing  # a request may be on its way
    pair.protocol.sweep(later + limits.sweep_seconds)
    pair.pump()
    assert pair.protocol.closing
    assert pair.protocol.counters.connections_idle == 1


@pytest.mark.parametrize("others", [0, 1])
def test_a_refused_stream_that_does_not_end_is_reset(others: int) -> None:
    """A client may not send a body for ever, although few bytes of it come."""
    pair = Pair()
    for _ in range(others):
        pair.ask(GET)
    many = [(b"x-%d" % n, b"") for n in range(limits.head_fields_max + 1)]
    stream = pair.ask([*POST, *many], ended=False)
    pair.ask([*GET, *many])  # ends with its response
    assert len(pair.host.exchanges) == others
    began = pair.host.clock
    for seconds in (-1, 1):
        pair.client.send_data(stream, b"x")
        pair.pump()
        assert not pair.of(ngh2.StreamReset)
        pair.host.clock = began + limits.send_wait_seconds_max + seconds
        assert pair.protocol.sweep(pair.host.clock)
    pair.pump()
    assert [event.stream_id for event in pair.of(ngh2.StreamReset)] == [stream]
    assert pair.protocol.counters.answers_unread == 1


def test_a_request_that_crosses_the_notice_is_served() -> None:
    """What a client sent before it heard that the connection ends is answered."""
    pair = Pair()
    pair.host.clock += limits.idle_seconds_max + 1
    crossing = pair.client.send_request(GET, end_stream=True)
    on_its_way = pair.client.data_to_send()
    pair.protocol.sweep(pair.host.clock)
    pair.pump()
    assert [event.last_stream_id for event in pair.of(ngh2.GoAwayReceived)] == [2**31 - 1]
    pair.protocol.receive(on_its_way)
    pair.protocol.sweep(pair.host.clock + limits.sweep_seconds)
    pair.pump()
    assert not pair.protocol.closing
    pair.host.exchanges[0].respond(200, [], b"served")
    pair.pump()
    assert [event.stream_id for event in pair.of(ngh2.DataReceived)] == [crossing]
    assert pair.protocol.closing


def test_a_client_that_ignores_the_goodbye_is_cut() -> None:
    """An idle connection whose goodbye nobody reads is over a notice later."""
    pair = Pair()
    over = pair.host.clock + limits.idle_seconds_max + 1
    assert pair.protocol.sweep(over)
    assert not pair.protocol.sweep(over + limits.drain_notice_seconds)


async def test_body_over_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A streamed body that grows over the bound is answered 413, and its reader cancelled."""
    monkeypatch.setattr(limits, "request_body_bytes_max", 1000)
    pair = Pair()
    stream = pair.ask(POST, ended=False)
    scope = pair.host.exchanges[0].scope
    pair.client.send_data(stream, bytes(2000))
    pair.pump()
    assert dict(pair.of(ngh2.ResponseReceived)[0].headers)[b":status"] == b"413"
    assert scope.cancel_called


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"TRACE"])
def test_a_refusal_of_the_servers_own_says_why(method: bytes, *, ended: bool) -> None:
    """In a problem document; the stream ends, and the connection goes on."""
    pair = Pair()
    head = [(b":method", method), *HEAD, (b"host", b"b" if method != b"TRACE" else b"a")]
    stream = pair.ask(head, ended=ended)
    (answer,) = pair.of(ngh2.ResponseReceived)
    status = 501 if method == b"TRACE" else 400
    fields = dict(answer.headers)
    assert fields[b":status"] == b"%d" % status
    assert fields[b"content-type"] == b"application/problem+json"
    body = b"".join([event.data for event in pair.of(ngh2.DataReceived)])
    if method == b"HEAD":
        assert body == b""
    else:
        assert json.loads(body)["status"] == status
        assert fields[b"content-length"] == b"%d" % len(body)
    pair.ask(GET)
    assert [exchange.request.stream for exchange in pair.host.exchanges] == [stream + 2]


def test_a_call_of_grpc_that_is_malformed_ends_in_its_own_way() -> None:
    """In the head, with a status that is no OK."""
    pair = Pair()
    pair.ask([*POST, (b"content-type", b"application/grpc"), (b"host", b"b")])
    (answer,) = pair.of(ngh2.ResponseReceived)
    fields = dict(answer.headers)
    assert (fields[b":status"], fields[b"grpc-status"]) == (b"200", b"3")
    assert not pair.of(ngh2.DataReceived)
    assert answer.end_stream
