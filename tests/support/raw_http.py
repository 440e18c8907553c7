"""Clients that send whatever bytes a test wants, over TLS: HTTP/1.1 as bytes, HTTP/2 as frames.

They check nothing that they send, and read just enough of an answer to know its status.
"""

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

Field = tuple[bytes, bytes]
NOTHING = 0  # the connection or the stream ended without an answer
SILENCE = -1  # it did not even end
SECONDS = 10.0  # a hang, not a slow machine
FRAME = 16_384


@contextmanager
def _connected(
    port: int, context: ssl.SSLContext, seconds: float = SECONDS
) -> Iterator[ssl.SSLSocket]:
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
            yield secure


def http1(
    port: int,
    context: ssl.SSLContext,
    data: bytes,
    *,
    answers: int = 1,
    seconds: float = SECONDS,
) -> list[int]:
    """Send bytes; the statuses of as many answers as are awaited, or as came before the end."""
    head = data.startswith(b"HEAD ")
    with _connected(port, context, seconds) as sock:
        received = b""
        try:
            sock.sendall(data)
            while True:
                statuses, whole = _statuses(received, head=head)
                if whole and len(statuses) >= answers:
                    return statuses
                piece = sock.recv(65_536)
                if not piece:
                    return statuses or [NOTHING]
                received += piece
        except TimeoutError:
            return _statuses(received, head=head)[0] or [SILENCE]
        except OSError:
            return _statuses(received, head=head)[0] or [NOTHING]


def http1_bytes(port: int, context: ssl.SSLContext, data: bytes) -> bytes:
    """Send bytes; all that comes until the connection ends."""
    received = b""
    with _connected(port, context) as sock:
        try:
            sock.sendall(data)
            while piece := sock.recv(65_536):
                received += piece
        except OSError:
            return received
    return received


def _statuses(data: bytes, *, head: bool) -> tuple[list[int], bool]:
    """Statuses of final answers, and whether the last is whole. All have a Content-Length.

    `head`: what was asked for has no content.
    """
    statuses: list[int] = []
    while data:
        lines, end, data = data.partition(b"\r\n\r\n")
        if not end:
            return statuses, False
        line, *others = lines.split(b"\r\n")
        status = int(line.split(b" ")[1])
        if status < 200:
            continue
        fields = {name.lower(): value for name, _, value in (one.partition(b":") for one in others)}
        length = 0 if head else int(fields.get(b"content-length", b"0"))
        statuses.append(status)
        if len(data) < length:
            return statuses, False
        data = data[length:]
    return statuses, True


def http2(
    port: int,
    context: ssl.SSLContext,
    fields: Sequence[Field],
    body: bytes | None = None,
    trailers: Sequence[Field] = (),
) -> int:
    """Send one request; its status, NOTHING or SILENCE. A body of None is no body."""
    return http2_answer(port, context, fields, body, trailers)[0]


def http2_answer(
    port: int,
    context: ssl.SSLContext,
    fields: Sequence[Field],
    body: bytes | None = None,
    trailers: Sequence[Field] = (),
) -> tuple[int, list[Field], bytes, list[Field]]:
    """Send one request; its status as `http2` has it, fields, body and trailers."""
    encoder = Encoder()
    out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
    out += _block(encoder.encode(fields), end=body is None and not trailers)
    if body is not None:
        flags = [] if trailers else ["END_STREAM"]
        out += DataFrame(1, body, flags=flags).serialize()
    if trailers:
        out += _block(encoder.encode(trailers), end=True)
    with _connected(port, context) as sock:
        try:
            sock.sendall(out)
            return _answer(sock)
        except TimeoutError:
            return SILENCE, [], b"", []
        except OSError:
            return NOTHING, [], b"", []


def _block(block: bytes, *, end: bool) -> bytes:
    pieces = [block[at : at + FRAME] for at in range(0, len(block), FRAME)] or [b""]
    frames: list[Frame] = [
        HeadersFrame(1, pieces[0]),
        *(ContinuationFrame(1, p) for p in pieces[1:]),
    ]
    frames[-1].flags.add("END_HEADERS")
    if end:
        frames[0].flags.add("END_STREAM")
    return b"".join([frame.serialize() for frame in frames])


def _answer(sock: ssl.SSLSocket) -> tuple[int, list[Field], bytes, list[Field]]:
    decoder = Decoder(max_header_list_size=2**20)
    data, body = b"", b""
    heads: list[list[Field]] = []
    while True:
        while len(data) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(data[:9]))
            if len(data) < 9 + length:
                break
            frame.parse_body(memoryview(data[9 : 9 + length]))
            data = data[9 + length :]
            if isinstance(frame, HeadersFrame):
                block = [(bytes(k), bytes(v)) for k, v in decoder.decode(frame.data, raw=True)]
                if not block[0][1].startswith(b"1") or block[0][0] != b":status":
                    heads.append(block)
            elif isinstance(frame, DataFrame):
                body += frame.data
            if isinstance(frame, GoAwayFrame | RstStreamFrame) or "END_STREAM" in frame.flags:
                return _parts(heads, body)
        piece = sock.recv(65_536)
        if not piece:
            return _parts(heads, body)
        data += piece


def _parts(heads: list[list[Field]], body: bytes) -> tuple[int, list[Field], bytes, list[Field]]:
    if not heads:
        return NOTHING, [], body, []
    (_, status), *fields = heads[0]
    return int(status), fields, body, [field for block in heads[1:] for field in block]
