"""What is a request of HTTP/2 and what is malformed: a strict reader's cases (RFC 9113 §8)."""

import pytest
from fake_host import FakeHost
from hpack import Encoder
from http2_frames import ACKNOWLEDGED, GET, POST, Fields, head
from hyperframe.frame import DataFrame, HeadersFrame

from crewgate.server.http2 import HTTP2

pytestmark = pytest.mark.usefixtures("each_http2_engine")


def _ask(wire: bytes) -> tuple[FakeHost, HTTP2]:
    host = FakeHost()
    host.answer = lambda exchange: exchange.complete and exchange.respond(200, [], b"fine")
    protocol = HTTP2(host)
    protocol.receive(ACKNOWLEDGED + wire)
    while protocol.bytes_to_send():
        pass
    return host, protocol


def _with(name: bytes, value: bytes, fields: Fields = GET) -> Fields:
    return [(n, value if n == name else v) for n, v in fields]


def _without(name: bytes) -> Fields:
    return [(n, v) for n, v in GET if n != name]


MALFORMED = {
    "no method": _without(b":method"),
    "no scheme": _without(b":scheme"),
    "no path": _without(b":path"),
    "no authority and no host": _without(b":authority"),
    "two methods": [(b":method", b"GET"), *GET],
    "two authorities": [(b":authority", b"a"), *GET],
    "pseudo field after a field": [*GET[:3], (b"a", b"b"), GET[3]],
    "pseudo field of an answer": [*GET, (b":status", b"200")],
    "unknown pseudo field": [*GET, (b":x", b"y")],
    "extended connect": [*_with(b":method", b"CONNECT"), (b":protocol", b"websocket")],
    "empty path": _with(b":path", b""),
    "path without a slash": _with(b":path", b"a"),
    "asterisk of a GET": _with(b":path", b"*"),
    "absolute path": _with(b":path", b"https://a/"),
    "fragment": _with(b":path", b"/a#b"),
    "space in the path": _with(b":path", b"/a b"),
    "another scheme": _with(b":scheme", b"http"),
    "authority with a user": _with(b":authority", b"u@a"),
    "authority with a path": _with(b":authority", b"a/b"),
    "empty authority": _with(b":authority", b""),
    "host that differs": [*GET, (b"host", b"b")],
    "two hosts": [*GET, (b"host", b"a"), (b"host", b"a")],
    "name in capitals": [*GET, (b"X-A", b"b")],
    "name with a space": [*GET, (b"x a", b"b")],
    "empty name": [*GET, (b"", b"b")],
    "connection": [*GET, (b"connection", b"close")],
    "keep-alive": [*GET, (b"keep-alive", b"x")],
    "proxy-connection": [*GET, (b"proxy-connection", b"x")],
    "transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "upgrade": [*GET, (b"upgrade", b"h2c")],
    "te that is not trailers": [*GET, (b"te", b"gzip")],
    "line feed in a value": [*GET, (b"a", b"b\nc")],
    "carriage return in a value": [*GET, (b"a", b"b\rc")],
    "NUL in a value": [*GET, (b"a", b"b\0")],
    "space before a value": [*GET, (b"a", b" b")],
    "two lengths": [*GET, (b"content-length", b"0"), (b"content-length", b"0")],
    "length that is no number": [*GET, (b"content-length", b"+1")],
    "length without a body": [*GET, (b"content-length", b"1")],
    "trace": _with(b":method", b"TRACE"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str) -> None:
    """It never becomes an exchange, its stream alone ends, and it is counted."""
    second = head(3, GET, "END_STREAM")
    host, protocol = _ask(head(1, MALFORMED[name], "END_STREAM") + second)
    assert [exchange.request.stream for exchange in host.exchanges] == [3]
    assert protocol.counters.requests_malformed == 1
    assert not protocol.closing


GOOD = {
    "te of trailers": [*GET, (b"te", b"trailers")],
    "host that agrees": [*GET, (b"host", b"A")],
    "host alone": [*_without(b":authority"), (b"host", b"a")],
    "asterisk of OPTIONS": _with(b":path", b"*", _with(b":method", b"OPTIONS")),
    "method of its own": _with(b":method", b"QUERY"),
    "octets beyond ASCII in a value": [*GET, (b"a", b"\xc3\xa4")],
    "empty value": [*GET, (b"a", b"")],
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    """It is asked as it stands, and its authority is known."""
    host, _ = _ask(head(1, GOOD[name], "END_STREAM"))
    (exchange,) = host.exchanges
    assert exchange.request.authority.lower() == b"a"
    assert b"host" not in dict(exchange.request.headers)


BROKEN_BODIES = {
    "longer than declared": DataFrame(1, b"123456", flags=["END_STREAM"]).serialize(),
    "shorter than declared": DataFrame(1, b"1234", flags=["END_STREAM"]).serialize(),
    "pseudo field in the trailers": DataFrame(1, b"12345").serialize()
    + head(1, [(b":path", b"/")], "END_STREAM"),
    "hop-by-hop field in the trailers": DataFrame(1, b"12345").serialize()
    + head(1, [(b"connection", b"x")], "END_STREAM"),
    "trailers that do not end": DataFrame(1, b"12345").serialize() + head(1, [(b"a", b"b")]),
}


@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_body_that_breaks_the_rules(name: str) -> None:
    """Whoever works on the request is told, and the request is never complete."""
    fields = [*POST, (b"content-length", b"5")]
    host, protocol = _ask(head(1, fields) + BROKEN_BODIES[name])
    (exchange,) = host.exchanges
    assert exchange.gone
    assert not exchange.complete
    assert protocol.counters.requests_malformed == 1


def test_priority_fields_are_ignored() -> None:
    """Priorities of RFC 7540 in a head change nothing (RFC 9113 §5.3.2)."""
    frame = HeadersFrame(1, Encoder().encode(GET), flags=["END_HEADERS", "END_STREAM", "PRIORITY"])
    frame.depends_on, frame.stream_weight, frame.exclusive = 5, 200, True
    host, protocol = _ask(frame.serialize())
    assert len(host.exchanges) == 1
    assert not protocol.closing
