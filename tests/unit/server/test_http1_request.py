"""What is a request of HTTP/1.1 and how it is addressed: a strict reader's cases (RFC 9112)."""

import json

import pytest
from fake_host import FakeHost

from crewgate.server.http1 import HTTP1

HOST = b"Host: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def _ask(wire: bytes) -> tuple[bytes, FakeHost, HTTP1]:
    """(status of the first answer, host, protocol) after these bytes."""
    host = FakeHost()
    host.answer = lambda exchange: exchange.respond(200, [], b"fine")
    protocol = HTTP1(host)
    protocol.receive(wire)
    return protocol.bytes_to_send()[9:12], host, protocol


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b"GET https://a/x?y HTTP/1.1", b"/x?y"),
        (b"GET HTTPS://A/x HTTP/1.1", b"/x"),
        (b"GET https://a HTTP/1.1", b"/"),
        (b"GET https://a?y=/z HTTP/1.1", b"/?y=/z"),
        (b"OPTIONS https://a HTTP/1.1", b"*"),
        (b"OPTIONS https://a/ HTTP/1.1", b"/"),
        (b"OPTIONS * HTTP/1.1", b"*"),
        (b"GET /https://b/ HTTP/1.1", b"/https://b/"),
    ],
)
def test_target(line: bytes, target: bytes) -> None:
    """Absolute form is taken apart (§3.2.2); what is forwarded and judged is in origin form."""
    status, host, _ = _ask(line + b"\r\n" + HOST + b"\r\n")
    assert status == b"200"
    (exchange,) = host.exchanges
    assert exchange.request.target == target
    assert exchange.request.authority.lower() == b"a"


REFUSED = {
    "absolute without Host (§3.2)": (b"GET https://a/ HTTP/1.1\r\n\r\n", b"400"),
    "absolute of another scheme": (b"GET http://a/ HTTP/1.1\r\n" + HOST + b"\r\n", b"400"),
    "absolute with a user": (b"GET https://u@a/ HTTP/1.1\r\n" + HOST + b"\r\n", b"400"),
    "absolute of nobody": (b"GET https:///x HTTP/1.1\r\n" + HOST + b"\r\n", b"400"),
    "authority form": (b"GET a:443 HTTP/1.1\r\n" + HOST + b"\r\n", b"400"),
    "asterisk of a GET": (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", b"400"),
    "coding in HTTP/1.0 (§6.1)": (b"POST / HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n", b"400"),
    "length and coding in HTTP/1.0": (
        b"POST / HTTP/1.0\r\n" + HOST + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n",
        b"400",
    ),
    "coding with a vertical tab": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
        b"400",
    ),
    "identity coding": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity\r\n\r\n",
        b"501",
    ),
    "equal lengths": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"400",
    ),
    "list of lengths": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 1\r\n\r\nx", b"400"),
    "signed length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\nx", b"400"),
    "length over 64 bits": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 18446744073709551617\r\n\r\nx",
        b"400",
    ),
    "carriage return in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n", b"400"),
    "lines ended by carriage returns": (b"GET / HTTP/1.1\rHost: a\r\r", b"400"),
    "NUL in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\0\r\n\r\n", b"400"),
    "field without a name": (b"GET / HTTP/1.1\r\n" + HOST + b": b\r\n\r\n", b"400"),
    "space in a name": (b"GET / HTTP/1.1\r\n" + HOST + b"A B: c\r\n\r\n", b"400"),
    "space before the first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", b"400"),
    "HTTP/2.0 in words": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", b"505"),
    "connect": (b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n", b"501"),
    "trace": (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", b"501"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """It never becomes an exchange, its connection closes, and it is counted."""
    wire, expected = REFUSED[name]
    status, host, protocol = _ask(wire)
    assert status == expected
    assert not host.exchanges
    assert protocol.closing
    assert protocol.counters.requests_malformed == 1


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_why(name: str) -> None:
    """In a problem document, of which nothing is known to have an id; with a date, and the end."""
    host = FakeHost()
    protocol = HTTP1(host)
    protocol.receive(REFUSED[name][0])
    head, _, body = protocol.bytes_to_send().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert b"content-length: %d" % len(body) in lines
    assert {b"content-type: application/problem+json", b"connection: close"} <= {*lines}
    assert b"date: " + host.date() in lines
    document = json.loads(body)
    assert document["status"] == int(REFUSED[name][1])
    assert set(document) == {"type", "title", "status", "detail"}


UPGRADE = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("before", [b"", b"GET /first HTTP/1.1\r\n" + HOST + b"\r\n"])
def test_a_request_for_another_protocol_is_the_applications_to_refuse(before: bytes) -> None:
    """It is the last one, and what its client sends behind it is not HTTP."""
    host = FakeHost()
    protocol = HTTP1(host)
    protocol.receive(before + UPGRADE)
    for _ in range(3):
        protocol.receive(b"\x81\x85\0\0\0\0hello" + UPGRADE)
    if before:
        host.exchanges[0].respond(200, [], b"one")
        protocol.receive(UPGRADE)
    exchange = host.exchanges[-1]
    assert (exchange.upgrades, exchange.complete, exchange.request.path) == (True, True, b"/")
    assert len(host.exchanges) == 1 + bool(before)
    exchange.respond(501, [], b"no")
    sent = protocol.bytes_to_send()
    assert sent.endswith(b"connection: close\r\n\r\nno")
    assert sent.count(b"HTTP/1.1 ") == 1 + bool(before)
    assert protocol.closing
    assert protocol.counters.requests_malformed == 0


@pytest.mark.parametrize(
    "line",
    [
        b"GET / RTSP/1.0", b"GET / RTSP/1.1", b"GET / RTSP/2.0", b"GET  / RTSP/1.0",
        b"GET /   RTSP/1.1", b"DESCRIBE / RTSP/1.0", b"PLAY / RTSP/1.0", b"SOURCE / ICE/1.0",
        b"SOURCE / ICE/1.1", b"SOURCE  /  ICE/1.1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 5, 1000])
@pytest.mark.parametrize("before", [b"", b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n"])
def test_other_protocols_are_not_served(line: bytes, step: int, before: bytes) -> None:
    """The parser takes RTSP and ICE for HTTP, alone or in a pipeline, however they are cut."""
    wire, served = before + line + b"\r\n" + HOST + b"\r\n", bool(before)
    host = FakeHost()
    host.answer = lambda exchange: exchange.respond(200, [])  # type: ignore[assignment]
    protocol = HTTP1(host)
    for at in range(0, len(wire), step):
        protocol.receive(wire[at : at + step])
    assert len(host.exchanges) == served
    assert protocol.closing
    assert protocol.counters.requests_malformed == 1
    assert served or protocol.bytes_to_send()[9:12] == b"505"


@pytest.mark.parametrize("first", [b"1.0", b"1.1"])
def test_another_protocol_is_not_taken_for_the_request_before_it(first: bytes) -> None:
    """Whatever both ask for. If they come in one read, and one version, neither is served."""
    host = FakeHost()
    protocol = HTTP1(host)
    end = b"\r\n" + HOST + b"Connection: keep-alive\r\n\r\n"
    protocol.receive(b"GET / HTTP/" + first + end + b"GET / RTSP/1.1" + end)
    assert len(host.exchanges) == (first == b"1.0")
    assert protocol.counters.requests_malformed == 1


def test_http_is_served_and_no_read_is_kept() -> None:
    """Whatever its fields say of other protocols."""
    for line in (b"GET / HTTP/1.0", b"GET / HTTP/1.1"):
        status, host, protocol = _ask(line + b"\r\nX-A: RTSP/1.0\r\n" + HOST + b"\r\n")
        assert (status, len(host.exchanges)) == (b"200", 1)
        assert not protocol._head_reads


CHUNKS = {
    "space before a size": b" 1\r\nx\r\n0\r\n\r\n",
    "space after a size": b"1 \r\nx\r\n0\r\n\r\n",
    "prefix of a size": b"0x1\r\nx\r\n0\r\n\r\n",
    "line feeds alone": b"1\nx\n0\n\n",
    "line feed in an extension": b"1;a\nb\r\nx\r\n0\r\n\r\n",
    "more data than the size": b"1\r\nxx\r\n0\r\n\r\n",
    "size over 64 bits": b"10000000000000001\r\nx\r\n0\r\n\r\n",
    "length in the trailers": b"0\r\nContent-Length: 5\r\n\r\n",
    "trailer without a colon": b"0\r\nbad\r\n\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_chunks_that_two_parsers_read_differently(name: str) -> None:
    """The request is broken off, and what follows is never taken for a request (§7.1)."""
    host = FakeHost()
    protocol = HTTP1(host)
    protocol.receive(b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n")
    protocol.receive(CHUNKS[name] + b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n")
    assert protocol.bytes_to_send()[9:12] == b"400"
    assert len(host.exchanges) == 1
    assert host.exchanges[0].gone
    assert protocol.closing


def test_upgrade_without_connection_is_ignored() -> None:
    """`Upgrade` that Connection does not name is no wish (RFC 9110 §7.8): HTTP/1.1 goes on."""
    status, _, protocol = _ask(b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\n\r\n")
    assert status == b"200"
    assert not protocol.closing


@pytest.mark.parametrize("options", [b"x, close", b"keep-alive\r\nConnection: close", b"Close"])
def test_connection_close_is_found_in_any_list(options: bytes) -> None:
    """The answer is the last; a request that follows is nobody's (RFC 9112 §9.6)."""
    get = b"GET / HTTP/1.1\r\n" + HOST
    _, host, protocol = _ask(get + b"Connection: " + options + b"\r\n\r\n" + get + b"\r\n")
    assert len(host.exchanges) == 1
    assert protocol.closing
