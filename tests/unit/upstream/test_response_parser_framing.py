"""Where an answer begins and ends, and what of it could be taken for another one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate._datapath.response_parser import ResponseParser
from crewgate.errors import UpstreamError

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"


def _read(wire: bytes, *, step: int = 100_000, head_only: bool = False) -> ResponseParser:
    """What was read by the time all of it had come."""
    response = ResponseParser()
    response.reset(head_only=head_only)
    for at in range(0, len(wire), step):
        response.feed(wire[at : at + step])
    return response


@given(
    value=st.text("chunkedCHUNKED \t,;gzip", max_size=10).map(str.encode)
    | st.builds(
        lambda before, name, after: b"%b%b%b" % (before.encode(), name, after.encode()),
        st.text(" \t", max_size=2),
        st.sampled_from([b"chunked", b"Chunked", b"CHUNKED"]),
        st.text(" \t,", max_size=2),
    )
)
def test_a_body_is_unframed_or_refused(value: bytes) -> None:
    """Whatever the transfer coding's name: its chunks never go on as the body."""
    try:
        response = _read(OK + b"Transfer-Encoding: " + value + b"\r\n\r\n" + CHUNKS)
    except UpstreamError:
        assert value.strip(b" \t").lower() != b"chunked" or b"\t" in value
    else:
        assert (response.complete, response.take()) == (True, b"abc")
        assert value.strip(b" \t").lower() == b"chunked"


@pytest.mark.parametrize("value", [b"chunked\t", b"chunked \t", b"chunked,", b"chunked, ", b""])
def test_a_coding_that_the_parser_does_not_undo_is_refused(value: bytes) -> None:
    """Such as "chunked" with a tab behind it, which llhttp reads to the connection's end."""
    with pytest.raises(UpstreamError):
        _read(OK + b"Transfer-Encoding: " + value + b"\r\n\r\n" + CHUNKS)


def test_blanks_that_are_none_of_the_value_pass() -> None:
    """Those before it, and the spaces behind it (RFC 9110 §5.5)."""
    response = _read(OK + b"Transfer-Encoding: \t chunked  \r\n\r\n" + CHUNKS)
    assert (response.complete, response.reusable, response.take()) == (True, True, b"abc")


def test_chunks_of_http_1_0_end_their_connection() -> None:
    """Their framing is not to be trusted (RFC 9112 §6.1), whatever Connection says."""
    fields = b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = _read(b"HTTP/1.0 200 OK\r\n" + fields + CHUNKS)
    assert (response.complete, response.reusable, response.take()) == (True, False, b"abc")


@pytest.mark.parametrize(
    "start",
    [
        b"RTSP/1.0", b"RTSP/2.0", b"ICE/1.0", b"ICY", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0",
        b"HTTP/2", b"http/1.1", b"\r\nHTTP/1.1", b"\nHTTP/1.1", b"HTTPS/1.1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 3, 8, 100_000])
@pytest.mark.parametrize("before", [b"", HINT, HINT * 3], ids=["first", "second", "fourth"])
def test_only_http_1_is_http_1(start: bytes, step: int, before: bytes) -> None:
    """Other protocols that the parser takes are refused, behind early hints too."""
    with pytest.raises(UpstreamError):
        _read(before + start + b" 200 OK\r\nContent-Length: 0\r\n\r\n", step=step)


@pytest.mark.parametrize("step", [1, 3, 8, 9, 10, 11, 40, 100_000])
def test_an_answer_behind_hints_is_read_however_it_is_cut(step: int) -> None:
    """The look at an answer's start costs no byte of it."""
    wire = HINT + b"HTTP/1.1 100 Continue\r\n\r\n" + HINT + OK + b"Content-Length: 2\r\n\r\nok"
    response = _read(wire, step=step)
    assert (response.complete, response.reusable, response.take()) == (True, True, b"ok")
    assert response.take_informational() == [(103, [(b"link", b"a")])] * 2


@pytest.mark.parametrize("status", [b"204", b"304"])
@pytest.mark.parametrize("field", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_a_body_that_may_not_be_keeps_no_connection(status: bytes, field: bytes) -> None:
    """204 and 304 end with their head; a server that announces a body may send one."""
    response = _read(b"HTTP/1.1 " + status + b" X\r\n" + field + b"\r\n\r\n")
    assert (response.complete, response.bodyless, response.reusable) == (True, True, False)


@pytest.mark.parametrize("start", [b"HTTP/1.1 204 X\r\n", b"HTTP/1.1 304 X\r\n", OK])
def test_an_answer_that_is_over_with_its_head_says_so(start: bytes) -> None:
    """So the pool, which keeps the connection, waits for what may follow all the same."""
    response = _read(start + b"Content-Length: 0\r\n\r\n")
    assert (response.complete, response.bodyless, response.reusable) == (True, True, True)


@pytest.mark.parametrize(
    "framed", [b"Content-Length: 1\r\n\r\nx", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
def test_an_answer_whose_end_was_awaited_is_none_of_those(framed: bytes) -> None:
    """A body, or the last chunk of an empty one, has come behind the head."""
    response = _read(OK + framed)
    assert (response.complete, response.bodyless, response.reusable) == (True, False, True)


@pytest.mark.parametrize(
    "body",
    [
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\nX: y\r\n\r\n",
        b"Content-Length: 0\r\n\r\nz",
        b"Content-Length: 0\r\n\r\n" + OK + b"X: y\r\n\r\n",
        b"\r\nz",
    ],
)
@pytest.mark.parametrize("step", [1, 100_000])
def test_nothing_behind_the_head_belongs_to_the_answer_to_head(body: bytes, step: int) -> None:
    """Neither body nor trailers, in one read with it or later; and the connection is not kept."""
    response = _read(OK + body, step=step, head_only=True)
    assert (response.complete, response.reusable) == (True, False)
    assert (response.take(), response.trailers, response.status) == (b"", [], 200)


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nz\r\n",
        b"\r\nz",
    ],
)
def test_a_reset_brings_no_body(body: bytes) -> None:
    """205 has none (RFC 9110 §15.3.6): clients disagree on where one would end."""
    with pytest.raises(UpstreamError):
        _read(b"HTTP/1.1 205 Reset Content\r\n" + body)
    assert _read(b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n").complete


def test_a_byte_behind_an_answer_costs_the_connection() -> None:
    """Also one that the parser would wait for more of, or skip."""
    for surplus in (b"H", b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"):
        response = _read(OK + b"Content-Length: 1\r\n\r\nx")
        response.feed(surplus)
        assert (response.take(), response.complete, response.reusable) == (b"x", True, False)
