"""Makes calls of the bytes of a fuzzer: the frames of each request, and the answer of the tool.

Bytes that are zero make the usual call. So most calls are such that compiled code carries them, and
each byte that a fuzzer changes makes one part of a call unusual.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from fuzz_replay import Input
from hpack import Encoder
from http2_engines import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PING,
    RST_STREAM,
    WINDOW_UPDATE,
    frame,
)
from http2_frames import Fields
from random_calls import TOKEN

CALLS_MAX = 4
BODY_BYTES_MAX = 24_000
PIECES_MAX = 4
UNKNOWN_KIND = 0xFA
TEXT = object()  # stands for a text that the input itself has

LINES = (
    *((b"GET", b"/summary"), (b"POST", b"/search"), (b"PUT", b"/notes"), (b"DELETE", b"/notes")),
    *((b"POST", b"/small"), (b"HEAD", b"/summary"), (b"GET", b"/pages/a"), (b"GET", b"/%73ummary")),
    *((b"OPTIONS", b"/search"), (b"POST", b"/v1/embeddings"), (b"GET", b"/none"), (b"PUT", b"*")),
)
QUERIES = (b"", b"?", b"?a=%20b&c", b"?t=" + TOKEN, b"?access_token=1", b"?a\x7f", b"#", TEXT)
AUTHORITIES = (b"gateway.example:8443", b"GATEWAY.example", b"a.example", None, TEXT)
SCHEMES = (b"https", b"http", TEXT)
BEARER = (b"authorization", b"Bearer " + TOKEN)
CREDENTIALS: tuple[tuple[tuple[bytes, bytes], ...], ...] = (
    (BEARER,),
    ((b"authorization", b"bearer  " + TOKEN),),
    (BEARER, BEARER),
    (BEARER, (b"x-copy", b"a " + TOKEN)),
    ((b"x-api-key", TOKEN),),
    ((b"authorization", b"Basic YTpi"),),
    (),
)
NAMES = (
    *(b"accept", b"cookie", b"content-type", b"x-a", b"via", b"range", b"traceparent", b"x_y"),
    *(b"content-length", b"te", b"host", b"connection", b"expect", b"x-crewgate-crew", b"trailer"),
    *(b"x-forwarded-for", b"forwarded", b"priority", b"tracestate", b"X-Capital", b"", TEXT),
)
VALUES = (
    *(b"a", b"", b"text/plain", b"trailers", b"0", b"5", b"100-continue", b"close", b"\xe4\xff"),
    *(b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01", b"a=1,b=2", b"y" * 3000, b" a ", b"a\nb"),
    *(b"gateway.example", TEXT),
)
STATUSES = (200, 204, 304, 201, 205, 404, 429, 500, 503, 599, 103, 99, 600)
ANSWER_NAMES = (
    *(b"Content-Type", b"Set-Cookie", b"ETag", b"X-A", b"Date", b"Via", b"Keep-Alive", b"Upgrade"),
    *(b"Trailer", b"X-Crewgate-Crew", b"x-crewgate-credits-left", b"Proxy-Authenticate", b"X_Y"),
    *(b"Content-Length", b"Transfer-Encoding", b"Connection", b" folded", b"bad name", TEXT),
)


class FuzzedBody(NamedTuple):
    """The frames of a request; a `Framing` (two_ways.py)."""

    blocks: Sequence[int]  # where a header block is cut
    paddings: Sequence[int]  # of the head, then of each piece
    between: Sequence[int]  # what stands before each frame
    pieces: Sequence[bytes]
    ends_with: int  # 0: the last frame of these; 1: an empty one; 2: trailers
    resets: bool
    cuts: Sequence[int]
    together: bool

    def wire(self, number: int, fields: Fields) -> bytes:
        """All frames of the request, on a stream."""
        kinds = [HEADERS, *[DATA for _ in self.pieces]]
        payloads = [Encoder().encode(fields), *self.pieces]
        if self.ends_with == 1:
            kinds, payloads = [*kinds, DATA], [*payloads, b""]
        elif self.ends_with == 2:
            kinds, payloads = [*kinds, HEADERS], [*payloads, Encoder().encode([(b"x-sum", b"1")])]
        wire = b""
        for at, (kind, payload) in enumerate(zip(kinds, payloads, strict=True)):
            ends = END_STREAM if at == len(kinds) - 1 else 0
            padding = self.paddings[at % len(self.paddings)]
            wire += _other_frame(self.between[at % len(self.between)], number)
            wire += _framed(kind, ends, number, payload, padding, () if at else self.blocks)
        return wire + (frame(RST_STREAM, 0, number, bytes(4)) if self.resets else b"")


class FuzzedCall(NamedTuple):
    """A request, with `TOKEN` for the token, and the pieces of the answer.

    With `stays`, the tool's server keeps the connection after the answer.
    """

    fields: Fields
    body: FuzzedBody
    answer: list[bytes]
    stays: bool


def calls(data: bytes) -> list[FuzzedCall]:
    """Return the calls that an input makes, one after the other."""
    given = Input(data)
    found = []
    while given.data and len(found) < CALLS_MAX:
        found.append(_call(given))
    return found


def _pick(given: Input, choices: Sequence[object]) -> bytes:
    found = choices[given.take(1) % len(choices)]
    return given.text() if found is TEXT else found  # type: ignore[return-value]


def _pairs(given: Input, names: Sequence[object]) -> Fields:
    return [(_pick(given, names), _pick(given, VALUES)) for _ in range(given.take(1) % 8)]


def _call(given: Input) -> FuzzedCall:
    parts = given.take(1)  # which parts of the call the input says more about
    method, path = LINES[given.take(1) % len(LINES)] if parts & 1 else LINES[0]
    path += _pick(given, QUERIES) if parts & 2 else b""
    authority = _pick(given, AUTHORITIES) if parts & 4 else AUTHORITIES[0]
    scheme = _pick(given, SCHEMES) if parts & 4 else SCHEMES[0]
    more = [*CREDENTIALS[given.take(1) % len(CREDENTIALS)]] if parts & 8 else [BEARER]
    more += _pairs(given, NAMES) if parts & 16 else []
    fields = [(b":method", method), (b":scheme", scheme), (b":path", path)]
    fields += [(b":authority", authority)] if isinstance(authority, bytes) else []
    turn = given.take(1) % (len(more) or 1) if parts & 16 else 0
    body = _body(given, parts & 32, parts & 64)
    answer, stays = _answer(given) if parts & 128 else (_usual_answer(), True)
    return FuzzedCall([*fields, *more[turn:], *more[:turn]], body, answer, stays)


def _body(given: Input, is_framed: int, has_body: int) -> FuzzedBody:
    """A body, and how it is framed. Only a request in one piece is reset: all is one turn then."""
    pieces: list[bytes] = []
    ends_with = given.take(1) % 3 if has_body else 0
    for _ in range(1 + given.take(1) % PIECES_MAX if has_body else 0):
        size = given.take(2) % (BODY_BYTES_MAX // PIECES_MAX)
        pieces.append(bytes([97 + size % 26]) * size)
    if not is_framed:
        return FuzzedBody((), (0,), (0,), pieces, ends_with, False, (), False)
    blocks = [given.take(1) for _ in range(given.take(1) % 3)]
    paddings = [given.take(1) % 32 for _ in range(1 + given.take(1) % 3)]
    between = [given.take(1) for _ in range(1 + given.take(1) % 3)]
    how = given.take(1)
    resets, together = how % 4 == 1, how & 8 > 0
    cuts = [] if resets else [given.take(2) for _ in range(given.take(1) % 4)]
    return FuzzedBody(blocks, paddings, between, pieces, ends_with, resets, cuts, together)


def _usual_answer() -> list[bytes]:
    return [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]


def _answer(given: Input) -> tuple[list[bytes], bool]:
    """An answer, and whether the server keeps the connection: only after one with a good length."""
    kind = given.take(1) % 8
    status = STATUSES[given.take(1) % len(STATUSES)]
    body = bytes([65 + kind]) * (given.take(2) % 3000)
    lines = [name + b": " + value + b"\r\n" for name, value in _pairs(given, ANSWER_NAMES)]
    if kind < 4:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    elif kind < 6:
        size = 1 + given.take(1)
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        body = b"".join([b"%x\r\n%b\r\n" % (len(each), each) for each in chunks]) + b"0\r\n\r\n"
        lines.append(b"Transfer-Encoding: chunked\r\n")
    whole = b"HTTP/1.1 %d Reason\r\n%b\r\n%b" % (status, b"".join(lines), body)
    whole = given.text() if kind == 7 else whole
    cuts = sorted({given.take(2) % (len(whole) or 1) for _ in range(given.take(1) % 4)})
    bounds = [0, *cuts, len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(bounds) if a < b]
    return pieces, False


def _other_frame(kind: int, number: int) -> bytes:
    """A frame that belongs to no request, or none."""
    others = {
        1: frame(PING, 1, 0, b"12345678"),
        2: frame(UNKNOWN_KIND, 0, number, b"unknown"),
        3: frame(WINDOW_UPDATE, 0, 0, (1).to_bytes(4)),
        4: frame(PING, 0, 0, b"12345678"),
    }
    return others.get(kind % 16, b"")


def _framed(
    kind: int, flags: int, number: int, payload: bytes, padding: int, cuts: Sequence[int]
) -> bytes:
    """A frame; a header block that is cut goes on in frames of CONTINUATION."""
    bounds = [0, *sorted({cut % len(payload) for cut in cuts} - {0} if payload else ())]
    pieces = [payload[a:b] for a, b in zip(bounds, [*bounds[1:], len(payload)], strict=True)]
    first = bytes([padding]) + pieces[0] + bytes(padding) if padding else pieces[0]
    flags |= PADDED if padding else 0
    whole = END_HEADERS if kind == HEADERS and len(pieces) == 1 else 0
    wire = frame(kind, flags | whole, number, first)
    for at, piece in enumerate(pieces[1:], 2):
        wire += frame(CONTINUATION, END_HEADERS if at == len(pieces) else 0, number, piece)
    return wire
