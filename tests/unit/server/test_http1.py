"""HTTP/1.1 without a socket: pipelines, back-pressure, framing of answers, slowness."""

import pytest
import trio
from fake_host import FakeHost

from crewgate import limits
from crewgate.errors import PeerError
from crewgate.server.http1 import HTTP1

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"


def _sent(protocol: HTTP1) -> bytes:
    data = b""
    while piece := protocol.bytes_to_send():
        data += piece
    return data


def _begin(*pieces: bytes) -> tuple[HTTP1, FakeHost]:
    host = FakeHost()
    protocol = HTTP1(host)
    for piece in pieces:
        protocol.receive(piece)
    return protocol, host


def test_pipeline_is_answered_in_order() -> None:
    """The second request waits for the first one's answer, and nothing is read meanwhile."""
    protocol, host = _begin(GET.replace(b"/ ", b"/1 ") + GET.replace(b"/ ", b"/2 "))
    assert [exchange.request.path for exchange in host.exchanges] == [b"/1"]
    assert protocol.paused
    host.exchanges[0].respond(200, [], b"one")
    assert [exchange.request.path for exchange in host.exchanges] == [b"/1", b"/2"]
    assert not protocol.paused
    host.exchanges[1].respond(200, [], b"two")
    answers = _sent(protocol)
    assert answers.index(b"one") < answers.index(b"two")
    assert not protocol.closing


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_any_cut_of_the_bytes_is_the_same_request(step: int) -> None:
    """Head, body, chunks and trailers may come in pieces of any size."""
    wire = (
        b"POST /x?y HTTP/1.1\r\nHost: a\r\nX-E:\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
    )
    _, host = _begin(*[wire[i : i + step] for i in range(0, len(wire), step)])
    (exchange,) = host.exchanges
    assert exchange.request.target == b"/x?y"
    assert (b"x-e", b"") in exchange.request.headers
    assert exchange.complete
    assert exchange.take() == b"abcde"
    assert list(exchange.trailers) == [(b"x-t", b"1")]


def test_blanks_round_a_value_are_not_of_it() -> None:
    """What HTTP/1.1 allows about a value, HTTP/2 does not: it goes no further."""
    _, host = _begin(
        b"POST / HTTP/1.1\r\nHost: a\t\r\nX-A: \t b c \t\r\nX-B: \t\r\n"
        b"Transfer-Encoding: chunked \r\n\r\n0\r\nX-T:1 \r\n\r\n"
    )
    (exchange,) = host.exchanges
    assert exchange.request.authority == b"a"
    assert exchange.request.headers[:2] == [(b"x-a", b"b c"), (b"x-b", b"")]
    assert list(exchange.trailers) == [(b"x-t", b"1")]


def test_unread_body_pauses_the_connection() -> None:
    """No more than a buffer of a body is read before the application has taken it."""
    size = limits.buffer_bytes_max
    protocol, host = _begin(POST.replace(b"5", b"%d" % (2 * size)), bytes(size))
    assert protocol.paused
    assert len(host.exchanges[0].take()) == size
    assert not protocol.paused


def test_more_is_expected_behind_a_body_that_is_not_whole() -> None:
    """And behind nothing else: a pipeline is answered before more of it is read."""
    protocol, _ = _begin()
    assert not protocol.receive(GET * 20)
    assert protocol.receive(POST + b"123")
    assert not protocol.receive(b"45")


async def test_continue_is_sent_when_the_body_is_wanted() -> None:
    """100 (Continue) goes out when the body is read, and not when the answer comes first."""
    expecting = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    protocol, host = _begin(expecting)
    assert _sent(protocol) == b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.exchanges[0].read)
        await trio.testing.wait_all_tasks_blocked()
        assert _sent(protocol) == b"HTTP/1.1 100 Continue\r\n\r\n"
        protocol.receive(b"12345")
    protocol, host = _begin(expecting)
    host.exchanges[0].respond(403, [])
    answer = _sent(protocol)
    assert b"100 Continue" not in answer
    assert b"connection: close" in answer
    assert protocol.closing


@pytest.mark.parametrize(
    ("te", "end"),
    [
        (b"", b"0\r\n\r\n"),
        (b"TE: gzip\r\n", b"0\r\n\r\n"),
        (b"TE: gzip, Trailers\r\n", b"0\r\nx-sum: 3\r\n\r\n"),
    ],
)
def test_trailers_are_for_clients_that_take_them(te: bytes, end: bytes) -> None:
    """RFC 9110 §6.5.1: there are clients that fail on trailers they did not ask for."""
    protocol, host = _begin(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % te)
    host.exchanges[0].start(200, [])
    host.exchanges[0].finish(b"abc", [(b"x-sum", b"3")])
    assert _sent(protocol).endswith(b"\r\n\r\n3\r\nabc\r\n" + end)


def test_rest_of_a_refused_body_is_discarded() -> None:
    """The connection goes on after a body that nobody wanted, unless it is too long."""
    protocol, host = _begin(POST)
    host.exchanges[0].respond(403, [])
    assert not protocol.closing
    protocol.receive(b"12345" + GET)
    assert len(host.exchanges) == 2
    protocol, host = _begin(POST.replace(b"5", b"%d" % (2 * limits.discard_bytes_max)))
    host.exchanges[0].respond(403, [])
    piece = bytes(limits.receive_bytes)
    for _ in range(limits.discard_bytes_max // len(piece) + 1):
        protocol.receive(piece)
    assert protocol.closing


@pytest.mark.parametrize(
    ("request_", "status", "headers", "body", "ends"),
    [
        (GET, 200, [(b"content-length", b"3")], b"abc", b"\r\n\r\nabc"),
        (GET, 200, [], b"abc", b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        (GET, 204, [], b"", b"\r\n\r\n"),
        (GET, 304, [(b"content-length", b"3")], b"", b"\r\n\r\n"),
        (GET.replace(b"GET", b"HEAD"), 200, [(b"content-length", b"3")], b"abc", b"\r\n\r\n"),
        (GET.replace(b"GET", b"HEAD"), 200, [], b"", b"\r\n\r\n"),
        (GET.replace(b"1.1", b"1.0"), 200, [], b"abc", b"\r\n\r\nabc"),
    ],
)
def test_framing(
    request_: bytes, status: int, headers: list[tuple[bytes, bytes]], body: bytes, ends: bytes
) -> None:
    """RFC 9112, section 6.3: an answer's end is told by its length, by chunks, or by the close."""
    protocol, host = _begin(request_)
    exchange = host.exchanges[0]
    exchange.start(status, headers)
    exchange.finish(body)
    answer = _sent(protocol)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.endswith(ends)
    assert protocol.closing == (b"1.0" in request_)


@pytest.mark.parametrize("body", [b"", b"ab"])
def test_answer_that_is_too_short_closes(body: bytes) -> None:
    """Fewer bytes than Content-Length said: the connection closes, so that nobody waits."""
    protocol, host = _begin(GET)
    host.exchanges[0].start(200, [(b"content-length", b"3")])
    host.exchanges[0].finish(body)
    assert protocol.closing


def test_answer_that_is_too_long_is_cut() -> None:
    """More bytes than Content-Length said never become the next answer's head."""
    protocol, host = _begin(GET)
    host.exchanges[0].start(200, [(b"content-length", b"3")])
    host.exchanges[0].finish(b"abcHTTP/1.1 200 OK")
    assert _sent(protocol).endswith(b"\r\n\r\nabc")


def test_slow_head_is_answered_408() -> None:
    """A head that dribbles is given up after its time; an idle connection after its own."""
    protocol, host = _begin(GET[:10])
    assert protocol.sweep(host.clock + limits.head_seconds_max - 1)
    assert not protocol.closing
    assert protocol.sweep(host.clock + limits.head_seconds_max + 1)
    assert protocol.closing
    assert _sent(protocol).startswith(b"HTTP/1.1 408 ")
    protocol, host = _begin()
    assert protocol.sweep(host.clock + limits.idle_seconds_max - 1)
    assert not protocol.closing
    protocol.sweep(host.clock + limits.idle_seconds_max + 1)
    assert protocol.closing
    assert protocol.counters.connections_idle == 1


async def test_slow_body_is_answered_408() -> None:
    """A client that owes its body, while it is waited for, is given up; its work is cancelled."""
    protocol, host = _begin(POST)
    exchange = host.exchanges[0]
    async with trio.open_nursery() as nursery:

        async def work() -> None:
            with exchange.scope:
                await exchange.read()

        nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        protocol.sweep(host.clock + limits.body_wait_seconds_max - 1)
        assert not protocol.closing
        protocol.sweep(host.clock + limits.body_wait_seconds_max + 1)
        assert protocol.closing
    assert _sent(protocol).startswith(b"HTTP/1.1 408 ")


def test_broken_request_waits_for_the_answer_before_it() -> None:
    """Noise after a whole request costs its sender the connection, not the answer."""
    protocol, host = _begin(GET + b"\x00\x01\x02")
    assert not protocol.closing
    host.exchanges[0].respond(200, [], b"fine")
    assert _sent(protocol).endswith(b"fine")
    assert protocol.closing


def test_drain() -> None:
    """A drain closes an idle connection now, and a busy one after its answer, which says so."""
    protocol, _ = _begin()
    protocol.drain(urgent=True)
    assert protocol.closing
    protocol, host = _begin(GET)
    protocol.drain(urgent=True)
    assert not protocol.closing
    host.exchanges[0].respond(200, [])
    assert b"connection: close" in _sent(protocol)
    assert protocol.closing


async def test_send_waits_for_the_reader() -> None:
    """`send` returns when less than a buffer is unsent, and raises when the client has gone."""
    protocol, host = _begin(GET)
    exchange = host.exchanges[0]
    exchange.start(200, [])
    done = []

    async def work() -> None:
        await exchange.send(bytes(2 * limits.buffer_bytes_max))
        done.append("sent")
        with pytest.raises(PeerError):
            await exchange.send(bytes(2 * limits.buffer_bytes_max))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        assert not done
        _sent(protocol)
        await trio.testing.wait_all_tasks_blocked()
        assert done
        protocol.lose()


def test_a_deep_pipeline_of_refusals_costs_no_stack_and_no_memory() -> None:
    """A stranger's pipeline is answered in order, and no further than he reads the answers."""
    protocol, host = _begin()
    host.answer = lambda exchange: exchange.respond(401, [], bytes(limits.buffer_bytes_max // 100))
    count = limits.pipelined_requests_max
    protocol.receive(GET * count)
    assert protocol.paused
    assert len(protocol.out) < 2 * limits.buffer_bytes_max
    assert len(host.exchanges) < count
    assert _sent(protocol).count(b"HTTP/1.1 401") == count
    assert len(host.exchanges) == count
    assert not protocol.paused
    assert not protocol.closing


def test_a_pipeline_has_a_bound() -> None:
    """More requests at once than may wait end the connection after the answer under way."""
    protocol, host = _begin(GET * (limits.pipelined_requests_max + 1))
    host.exchanges[0].respond(401, [])
    assert len(host.exchanges) == 1
    assert protocol.closing


@pytest.mark.parametrize("start", [b"0\r\nX-T: ", b"1;"], ids=["trailers", "chunk extension"])
@pytest.mark.parametrize("refused", [True, False])
def test_what_follows_a_body_is_bounded(start: bytes, *, refused: bool) -> None:
    """Trailers and chunk extensions are no way round the bound of a head, answered or not."""
    protocol, host = _begin(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" + start
    )
    if refused:
        host.exchanges[0].respond(401, [])
    pieces = 0
    while not protocol.closing:
        protocol.receive(b"a" * 4096)
        pieces += 1
    assert pieces <= limits.head_bytes_max // 4096 + 1
    assert host.exchanges[0].done
