"""The reader of plain answers beside llhttp: it takes fewer answers, and each in the same way."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from search_depth import deep

from crewgate import limits
from crewgate._datapath.plain_answer import PlainAnswer
from crewgate._datapath.response_parser import ResponseParser
from crewgate.errors import UpstreamError

OK = b"HTTP/1.1 200 OK\r\n"
NAMES = (
    b"Content-Length|Transfer-Encoding|Connection|X-A|Keep-Alive|Date|Trailer|"
    b"Content-Type|Proxy-Connection|Upgrade|x_a!|Bad name|"
).split(b"|")
VALUES = (
    b"|0|5|05|+5|5 |5\t|5, 5|chunked|Chunked|gzip, chunked|close|keep-alive|"
    b"Keep-Alive, x|timeout=5, max=9|h2c|text/event-stream|a\xe9b| padded \t|a\x00b|"
    b"a\rb|99999999999999999999"
).split(b"|")
LINES = (
    b"HTTP/1.1 200 OK|HTTP/1.1 204 No Content|HTTP/1.1 304 Not Modified|HTTP/1.1 404 |"
    b"HTTP/1.1 205 Reset Content|HTTP/1.1 100 Continue|HTTP/1.1 101 Switching Protocols|"
    b"HTTP/1.0 200 OK|HTTP/1.1 200|HTTP/1.1  200 OK|HTTP/1.1 999 Odd|HTTP/1.1 20 OK|"
    b"http/1.1 200 OK|RTSP/1.0 200 OK|HTTP/1.1 200 O\x7fK"
).split(b"|")
BODIES = (
    b"|hello|hello!|5\r\nhello\r\n0\r\n\r\n|5;x=y\r\nhello\r\n0\r\n\r\n|"
    b"5\r\nhello\r\n2\r\nab\r\n0\r\n\r\n|5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n|"
    b"05\r\nhello\r\n000\r\n\r\n|5\nhello\n0\n\n|0\r\n\r\n|"
    b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n|5 \r\nhello\r\n0\r\n\r\n"
).split(b"|")
ENDS = st.sampled_from([b"\r\n"] * 20 + [b"\n", b"\r", b"\r\r\n", b"\r\n "])
FRAMINGS = [(b"Content-Length: 5\r\n", b"hello"), (b"Content-Length: 0\r\n", b""),
            (b"Transfer-Encoding: chunked\r\n", BODIES[3])]  # fmt: skip


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """Bytes that are often an answer, and often nearly one."""
    framing, body = draw(st.sampled_from([*FRAMINGS, (b"", b"")]))
    fields = [
        name + draw(st.sampled_from([b": ", b":", b" :", b":\t"])) + value + draw(ENDS)
        for name, value in draw(
            st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=3)
        )
    ]
    fields.insert(draw(st.integers(0, len(fields))), framing)
    line = draw(st.sampled_from(LINES[:1] * 8 + LINES)) + draw(ENDS)
    wire = line + b"".join(fields) + draw(ENDS)
    wire += draw(st.sampled_from([body] * 8 + BODIES))
    if draw(st.integers(0, 4)) == 0:  # damage a byte
        at = draw(st.integers(0, len(wire)))
        wire = (
            wire[:at]
            + draw(st.sampled_from([b"", b"\r", b"\n", b" ", b"\x00", b":", b"9"]))
            + wire[at + 1 :]
        )
    return wire


def _pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    return [wire[begin:end] for begin, end in pairwise(places)]


@settings(max_examples=deep(400))
@given(wires(), st.lists(st.integers(0, 400), max_size=6), st.booleans())
@example(OK + b"Content-Length: 5\t\r\n\r\nhello", [], False)
@example(OK + b"Content-Length: 2\r\n\r\nok", list(range(60)), False)
def test_a_plain_answer_is_read_as_llhttp_reads_it(
    wire: bytes, cuts: list[int], is_for_head: bool
) -> None:
    """Status, fields, body, end and reuse are the same; nothing is plain that llhttp refuses."""
    plain, parser = PlainAnswer(), ResponseParser()
    plain.reset(head_only=is_for_head)
    parser.reset(head_only=is_for_head)
    body, is_refused, is_whole = b"", False, False
    for piece in _pieces(wire, cuts):
        is_plain = plain.feed(piece)
        if is_plain is None:
            return
        is_whole = is_plain
        try:
            parser.feed(piece)
        except UpstreamError:  # the other one may look at a line later, when it is whole
            is_refused = True
            break
        body += parser.take()
        assert parser.complete == is_whole
    assert not (is_refused and is_whole)
    if is_whole:
        assert (parser.status, parser.headers) == (plain.status, plain.headers)
        assert (body, parser.trailers, parser.informed) == (plain.body, [], False)
        assert parser.reusable != plain.closes


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_answer_is_plain_however_it_is_cut(framing: tuple[bytes, bytes]) -> None:
    """A usual answer takes the short way, byte by byte too."""
    fields, body = framing
    wire = OK + b"X-A:  b \r\n" + fields + b"Keep-Alive: max=9, timeout=7\r\n\r\n" + body
    plain = PlainAnswer()
    for step in (1, 7, len(wire)):
        plain.reset(head_only=False)
        results = [plain.feed(wire[at : at + step]) for at in range(0, len(wire), step)]
        assert results == [False] * (len(results) - 1) + [True]
        assert (plain.status, plain.headers[0]) == (200, (b"x-a", b"b"))
        assert plain.body == (b"hello" if body else b"")
        assert (plain.closes, plain.keep_seconds) == (False, 7)


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        OK + b"\r\n",  # ends with its connection
        OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        OK + b"Keep-Alive: max=9\r\nKeep-Alive: timeout=7\r\nContent-Length: 2\r\n\r\nok",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 2\r\nContent-Type: Text/Event-Stream;a=b\r\n\r\nok",
        OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
        OK + b"Content-Length: %d\r\n\r\n" % (limits.straight_answer_bytes_max + 1),
        OK + b"A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
        OK + b"A: b\r\n" * 65,
        OK + b"A: " + bytes(16_384).replace(b"\0", b"x"),
    ],
)
def test_an_unusual_answer_is_left_to_the_parser(wire: bytes) -> None:
    """It is not plain as soon as that shows."""
    assert PlainAnswer().feed(wire) is None


def test_a_body_up_to_the_bound_is_plain() -> None:
    """As one piece, and as chunks."""
    body = b"x" * limits.straight_answer_bytes_max
    plain = PlainAnswer()
    assert plain.feed(OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    assert plain.body == body
    plain.reset(head_only=False)
    chunk = b"%x\r\n%b\r\n" % (len(body) // 2, body[: len(body) // 2])
    assert plain.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n" + 2 * chunk + b"0\r\n\r\n")
    assert plain.body == body
