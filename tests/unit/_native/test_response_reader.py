"""The compiled reader of answers: what it is called back with, and what it refuses of that."""

import gc
import weakref

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate._datapath.response_parser import ResponseParser
from crewgate._native.response_reader import ResponseReader
from crewgate.errors import UpstreamError

NAMES = st.text("aAzZ-09", min_size=1, max_size=12).map(str.encode)
VALUES = st.text("aZ,\t ", max_size=12).map(str.encode)
PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=4)


class Parser:
    """Says what a test has it say, as a parser would."""

    status = 200

    def __init__(self, reader: ResponseReader) -> None:
        self.reader = reader

    def feed_data(self, data: bytes) -> None:
        raise ValueError("no answer")

    def get_status_code(self) -> int:
        return self.status

    def should_keep_alive(self) -> bool:
        return True


def _reader() -> ResponseReader:
    return ResponseReader(Parser, [ValueError])


@given(fields=st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_names_are_lower_and_values_have_no_blanks_behind(
    fields: list[tuple[bytes, bytes]],
) -> None:
    """As Python's own methods would have it, whatever the case and the blanks."""
    reader = _reader()
    reader.on_message_begin()
    for name, value in fields:
        reader.on_header(name, value)
    assert reader.headers == [(name.lower(), value.rstrip(b" \t")) for name, value in fields]


@given(pieces=PIECES, informed=st.integers(0, 3), step=st.integers(1, 200))
def test_a_chunked_answer_comes_through_however_it_is_cut(
    pieces: list[bytes], informed: int, step: int
) -> None:
    """Early hints before it, and all of its body, whatever the reads are."""
    wire = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * informed
    wire += b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire += b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]) + b"0\r\n\r\n"
    response, body = ResponseParser(), b""
    for at in range(0, len(wire), step):
        response.feed(wire[at : at + step])
        body += response.take()
    assert (response.complete, response.reusable, body) == (True, True, b"".join(pieces))
    assert response.take_informational() == [(103, [(b"link", b"x")])] * informed
    assert not response.informed


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ([], True),
        ([(b"Content-Length", b"0")], True),
        ([(b"Content-Length", b"5")], False),
        ([(b"Transfer-Encoding", b"chunked")], False),
    ],
)
def test_a_head_alone_keeps_no_connection_that_may_bring_a_body(
    fields: list[tuple[bytes, bytes]], *, kept: bool
) -> None:
    """The answer to HEAD is over with its head; the body of a wrong server answers nobody."""
    reader = _reader()
    reader.reset(head_only=True)
    reader.on_message_begin()
    for name, value in fields:
        reader.on_header(name, value)
    reader.on_headers_complete()
    assert (reader.complete, reader.reusable) == (True, kept)


def test_the_parsers_own_errors_are_the_servers_and_no_others() -> None:
    """What it raises is an answer that is none; what it does not own is ours."""
    with pytest.raises(UpstreamError):
        _reader().feed(b"H")
    with pytest.raises(ValueError, match="no answer"):
        ResponseReader(Parser, [KeyError]).feed(b"H")


def test_bytes_behind_a_whole_answer_cost_the_connection_alone() -> None:
    """The answer stands; nothing else is taken from that connection."""
    reader = _reader()
    reader.on_message_begin()
    reader.on_header(b"content-length", b"0")
    reader.on_headers_complete()
    reader.on_message_complete()
    reader.feed(b"x")
    assert (reader.complete, reader.reusable) == (True, False)
    with pytest.raises(UpstreamError):
        reader.on_message_begin()
    with pytest.raises(UpstreamError):
        reader.on_body(b"x")


def test_fields_and_hints_are_bounded() -> None:
    """Each by its own limit: fields end the answer, hints are dropped."""
    reader = _reader()
    reader.on_message_begin()
    for _ in range(limits.upstream_fields_max):
        reader.on_header(b"a", b"b")
    with pytest.raises(UpstreamError):
        reader.on_header(b"a", b"b")
    hinted = ResponseParser()
    for _ in range(limits.upstream_informational_max + 3):
        hinted.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert len(hinted.take_informational()) == limits.upstream_informational_max


@pytest.mark.parametrize("what", [None, "text", bytearray(b"x"), 7])
def test_only_bytes_are_taken(what: object) -> None:
    """Everything else is a mistake of ours, told as one."""
    reader = _reader()
    for take in (reader.feed, reader.on_body):
        with pytest.raises(TypeError):
            take(what)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        reader.on_header(b"a", what)  # type: ignore[arg-type]


def test_a_reader_that_is_dropped_goes_with_its_parser() -> None:
    """They hold each other: the collector must be able to see that."""
    parsers: list[weakref.ref[Parser]] = []

    def make(reader: ResponseReader) -> Parser:
        parser = Parser(reader)
        parsers.append(weakref.ref(parser))
        return parser

    ResponseReader(make, [httptools.HttpParserError])
    gc.collect()
    assert parsers[0]() is None
