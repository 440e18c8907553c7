"""Informational answers, answers without content, a tool's own bound: over both protocols."""

import ngh2
import pytest
from fake_host import FakeHost
from http2_pair import GET, POST, Pair

from crewgate import limits
from crewgate.server.http1 import HTTP1

H1_GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HINT = [(b"link", b"</style.css>; rel=preload")]


def _http1(wire: bytes) -> tuple[HTTP1, FakeHost]:
    host = FakeHost()
    protocol = HTTP1(host)
    protocol.receive(wire)
    return protocol, host


def test_early_hints_over_http1() -> None:
    """103 (RFC 8297) goes ahead of the answer, as often as it is given, and not after it."""
    protocol, host = _http1(H1_GET)
    (exchange,) = host.exchanges
    exchange.inform(103, HINT)
    exchange.inform(103, [])
    exchange.respond(200, [], b"x")
    exchange.inform(103, HINT)
    sent = protocol.bytes_to_send()
    assert sent.startswith(
        b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n"
    )
    assert sent.count(b"HTTP/1.1") == 3


def test_early_hints_over_http2() -> None:
    """The same, as a HEADERS frame that does not end the stream."""
    pair = Pair()
    pair.ask(GET)
    (exchange,) = pair.host.exchanges
    exchange.inform(103, HINT)
    exchange.respond(200, [], b"x")
    exchange.inform(103, HINT)
    pair.pump()
    (hint,) = pair.of(ngh2.InformationalResponseReceived)
    assert hint.headers == ((b":status", b"103"), *HINT)
    assert dict(pair.of(ngh2.ResponseReceived)[0].headers)[b":status"] == b"200"


def test_http1_0_hears_none() -> None:
    """HTTP/1.0 has no informational answers (RFC 9110 §15.2)."""
    protocol, host = _http1(H1_GET.replace(b"1.1", b"1.0"))
    host.exchanges[0].inform(103, HINT)
    assert protocol.bytes_to_send() == b""


@pytest.mark.parametrize("status", [100, 101])
def test_what_is_the_hop_s_own_is_not_relayed(status: int) -> None:
    """100 is said when the body is wanted; 101 would hand over the connection."""
    protocol, host = _http1(H1_GET)
    host.exchanges[0].inform(status, [])
    assert protocol.bytes_to_send() == b""
    pair = Pair()
    pair.ask(GET)
    pair.host.exchanges[0].inform(status, [])
    pair.pump()
    assert not pair.of(ngh2.InformationalResponseReceived)


def test_hints_do_not_pile_up() -> None:
    """A client that leaves a buffer of them unread gets no more: they are optional."""
    protocol, host = _http1(H1_GET)
    for _ in range(10_000):
        host.exchanges[0].inform(103, HINT)
    assert len(protocol.out) < limits.buffer_bytes_max + 100


def test_hints_to_a_client_that_has_gone() -> None:
    """They are lost like all else."""
    pair = Pair()
    stream = pair.ask(GET)
    pair.client.reset_stream(stream, 8)
    pair.pump()
    pair.host.exchanges[0].inform(103, HINT)
    pair.pump()
    assert not pair.of(ngh2.InformationalResponseReceived)


@pytest.mark.parametrize("status", [204, 304])
def test_no_length_where_there_is_no_content(status: int) -> None:
    """RFC 9110 §8.6: 204 has no Content-Length, and 304 would have another answer's."""
    protocol, host = _http1(H1_GET)
    host.exchanges[0].respond(status, [(b"a", b"b")])
    sent = protocol.bytes_to_send()
    assert sent.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-length" not in sent
    assert sent.endswith(b"\r\n\r\n")
    pair = Pair()
    pair.ask(GET)
    pair.host.exchanges[0].respond(status, [(b"a", b"b")])
    pair.pump()
    (answer,) = pair.of(ngh2.ResponseReceived)
    assert answer.end_stream
    assert b"content-length" not in dict(answer.headers)


def test_a_tool_s_own_bound_of_a_body() -> None:
    """Whoever takes the request may say how long its body may be; beyond, it is 413."""
    pair = Pair()
    for bound, status in ((100, b"413"), (3 * limits.request_body_bytes_max, None)):
        stream = pair.ask(POST, ended=False)
        pair.host.exchanges[-1].body_bytes_max = bound
        pair.client.send_data(stream, bytes(101), end_stream=True)
        pair.pump()
        answers = [e for e in pair.of(ngh2.ResponseReceived) if e.stream_id == stream]
        assert [dict(answer.headers)[b":status"] for answer in answers] == ([status] * bool(status))
    protocol, host = _http1(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    host.exchanges[0].body_bytes_max = 100
    protocol.receive(b"65\r\n" + bytes(101) + b"\r\n")
    assert protocol.bytes_to_send().startswith(b"HTTP/1.1 413 ")
    assert protocol.counters.bodies_large == 1
