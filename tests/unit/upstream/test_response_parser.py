"""The reader of answers, fed by hand."""

import pytest

from crewgate import limits
from crewgate._datapath.response_parser import ResponseParser
from crewgate.errors import UpstreamError

OK = b"HTTP/1.1 200 OK\r\n"


def _read(*pieces: bytes, head_only: bool = False) -> ResponseParser:
    response = ResponseParser()
    response.reset(head_only=head_only)
    for piece in pieces:
        response.feed(piece)
    return response


def test_length() -> None:
    """A body of a declared length ends with its last byte, and the connection may go on."""
    response = _read(OK + b"Content-Length: 3\r\nX-A: b\r\n\r\nab")
    assert (response.status, response.complete, response.take()) == (200, False, b"ab")
    response.feed(b"c")
    assert (response.complete, response.reusable, response.take()) == (True, True, b"c")
    assert (b"x-a", b"b") in response.headers


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_chunks_and_trailers(step: int) -> None:
    """Chunked bodies and their trailers come through whatever the reads are."""
    wire = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n"
    response = _read(*[wire[i : i + step] for i in range(0, len(wire), step)])
    assert response.complete
    assert response.reusable
    assert response.take() == b"abcde"
    assert response.trailers == [(b"t", b"x")]


def test_informational_answers_are_dropped() -> None:
    """100 and 103 are not the answer."""
    response = _read(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
        + OK
        + b"Content-Length: 0\r\n\r\n"
    )
    assert response.complete
    assert response.headers == [(b"content-length", b"0")]


def test_body_until_the_end() -> None:
    """Without a length the end of the connection is the end of the body."""
    response = _read(OK + b"\r\nabc")
    assert not response.complete
    response.feed_end()
    assert (response.complete, response.reusable, response.take()) == (True, False, b"abc")


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"HTTP/1.1 200",
        OK + b"Content-Length: 3\r\n\r\nab",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_cut_answer(wire: bytes) -> None:
    """An answer that the end of the connection cuts is an error, not a shorter answer."""
    response = _read(wire)
    with pytest.raises(UpstreamError):
        response.feed_end()


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n", b""]
)
def test_head_only(fields: bytes) -> None:
    """The answer to HEAD has no body, whatever its fields say; the next answer has one."""
    response = _read(OK + fields + b"\r\n", head_only=True)
    assert response.complete
    response.reset(head_only=False)
    response.feed(OK + b"Content-Length: 1\r\n\r\nz")
    assert response.take() == b"z"


@pytest.mark.parametrize("status", [b"204", b"304"])
def test_bodyless_status(status: bytes) -> None:
    """204 and 304 have no body; the connection may go on."""
    response = _read(b"HTTP/1.1 " + status + b" x\r\n\r\n")
    assert response.complete
    assert response.reusable


@pytest.mark.parametrize(
    "wire",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"A: " + bytes([1]) + b"\r\n\r\n",
        OK + b"A: " + b"b" * limits.upstream_head_bytes_max,
        OK + b"".join([b"A%d: b\r\n" % i for i in range(500)]) + b"\r\n",
    ],
)
def test_refused(wire: bytes) -> None:
    """What is not HTTP/1.1, or could be framed in two ways, is an error."""
    with pytest.raises(UpstreamError):
        _read(wire)


@pytest.mark.parametrize(
    "wire",
    [
        OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: 0\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    ],
)
def test_not_reusable(wire: bytes) -> None:
    """A connection that was closed, is of HTTP/1.0, or says more than was asked is not kept."""
    response = _read(wire)
    assert response.complete
    assert not response.reusable


@pytest.mark.parametrize("start", [b"0\r\nX: ", b"1;"], ids=["trailers", "chunk extension"])
def test_what_follows_a_body_is_bounded(start: bytes) -> None:
    """Trailers and chunk extensions are no way round the bound of a head."""
    response = _read(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" + start)
    for _ in range(limits.upstream_head_bytes_max // 1000):
        response.feed(b"a" * 1000)
    with pytest.raises(UpstreamError):
        response.feed(b"a" * 1000)


def test_a_coding_in_capitals() -> None:
    """Names of transfer codings are case-insensitive (RFC 9112 section 7)."""
    response = _read(OK + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert (response.complete, response.take()) == (True, b"ok")
