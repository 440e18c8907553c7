"""Clients that send whatever bytes a test wants, over TLS: HTTP/1.1 as bytes, HTTP/2 as frames.

They check nothing that they send, and read just enough of an answer to know its status.
"""

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

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
Answer = tuple[int, list[Field], bytes, list[Field]]  # status, fields, body, trailers
NOTHING = 0  # the connection or the stream ended without an answer
SILENCE = -1  # it did not even end
SECONDS = 10.0  # a hang, not a slow machine
FRAME = 16_384
STREAMS = 200  # numbers of streams, of which every second is ours: no window of ours is full before
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()


def _connect(port: int, context: ssl.SSLContext, seconds: float) -> ssl.SSLSocket:
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")


class Client:
    """Requests over one connection after the other: one is used again as long as it is sound.

    `is_fresh` says whether the last request was the first of its connection. Else the connection
    may have ended before the request came: if there is no answer then, send the request again.
    """

    def __init__(self, port: int, context: ssl.SSLContext, seconds: float = SECONDS) -> None:
        self._port, self.context, self._seconds = port, context, seconds
        self._sock: ssl.SSLSocket | None = None
        self.is_fresh = True

    def close(self) -> None:
        """End the connection; the next request opens another."""
        if self._sock is not None:
            self._sock.close()
        self._sock = None

    @contextmanager
    def _connected(self) -> Iterator[ssl.SSLSocket]:
        """The connection, which is not used again if this raises."""
        self.is_fresh = self._sock is None
        try:
            if self._sock is None:
                self._sock = _connect(self._port, self.context, self._seconds)
                self.begin()
            yield self._sock
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        """The connection is new."""


class Client1(Client):
    """Over HTTP/1.1."""

    def send(self, data: bytes, *, answers: int = 1) -> list[int]:
        """Send bytes; the statuses of as many answers as are awaited, or as came before the end."""
        head = data.startswith(b"HEAD ")
        received = b""
        try:
            with self._connected() as sock:
                sock.sendall(data)
                while True:
                    statuses, whole = _statuses(received, head=head)
                    if whole and len(statuses) >= answers:
                        ends = b"\r\nconnection: close" in received.lower()
                        if ends or len(statuses) > answers:
                            self.close()
                        return statuses
                    piece = sock.recv(65_536)
                    if not piece:
                        self.close()
                        return statuses or [NOTHING]
                    received += piece
        except TimeoutError:
            return _statuses(received, head=head)[0] or [SILENCE]
        except OSError:
            return _statuses(received, head=head)[0] or [NOTHING]


def http1(
    port: int,
    context: ssl.SSLContext,
    data: bytes,
    *,
    answers: int = 1,
    seconds: float = SECONDS,
) -> list[int]:
    """The same over a connection of its own."""
    with closing(Client1(port, context, seconds)) as client:
        return client.send(data, answers=answers)


def http1_bytes(port: int, context: ssl.SSLContext, data: bytes) -> bytes:
    """Send bytes; all that comes until the connection ends."""
    received = b""
    with _connect(port, context, SECONDS) as sock:
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


class Client2(Client):
    """Over HTTP/2, one stream after the other."""

    def begin(self) -> None:
        """What both sides know of a connection."""
        self._encoder, self._decoder = Encoder(), Decoder(max_header_list_size=2**20)
        self._stream = -1
        self._data = b""

    def send(
        self,
        fields: Sequence[Field],
        body: bytes | None = None,
        trailers: Sequence[Field] = (),
    ) -> Answer:
        """Send one request; its status, NOTHING or SILENCE, fields, body and trailers.

        A body of None is no body.
        """
        try:
            with self._connected() as sock:
                out = b"" if self._stream > 0 else HELLO
                self._stream += 2
                out += self._block(fields, end=body is None and not trailers)
                if body is not None:
                    flags = [] if trailers else ["END_STREAM"]
                    out += DataFrame(self._stream, body, flags=flags).serialize()
                if trailers:
                    out += self._block(trailers, end=True)
                sock.sendall(out)
                return self._answer(sock)
        except TimeoutError:
            return SILENCE, [], b"", []
        except OSError:
            return NOTHING, [], b"", []

    def _block(self, fields: Sequence[Field], *, end: bool) -> bytes:
        block, stream = self._encoder.encode(fields), self._stream
        pieces = [block[at : at + FRAME] for at in range(0, len(block), FRAME)] or [b""]
        frames: list[Frame] = [
            HeadersFrame(stream, pieces[0]),
            *(ContinuationFrame(stream, p) for p in pieces[1:]),
        ]
        frames[-1].flags.add("END_HEADERS")
        if end:
            frames[0].flags.add("END_STREAM")
        return b"".join([frame.serialize() for frame in frames])

    def _answer(self, sock: ssl.SSLSocket) -> Answer:
        """Its connection is used again if the stream ended in order, and few were before it."""
        body = b""
        heads: list[list[Field]] = []
        for frame in self._frames(sock):
            if isinstance(frame, HeadersFrame):
                block = self._decoder.decode(frame.data, raw=True)
                head = [(bytes(name), bytes(value)) for name, value in block]
                if not head[0][1].startswith(b"1") or head[0][0] != b":status":
                    heads.append(head)
            elif isinstance(frame, DataFrame):
                body += frame.data
            elif isinstance(frame, GoAwayFrame | RstStreamFrame):
                break
            if "END_STREAM" in frame.flags:
                if self._stream < STREAMS:
                    return _parts(heads, body)
                break
        self.close()
        return _parts(heads, body)

    def _frames(self, sock: ssl.SSLSocket) -> Iterator[Frame]:
        """Those that come, until the end."""
        while True:
            while len(self._data) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self._data[:9]))
                if len(self._data) < 9 + length:
                    break
                frame.parse_body(memoryview(self._data[9 : 9 + length]))
                self._data = self._data[9 + length :]
                if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                    sock.sendall(SettingsFrame(0, flags=["ACK"]).serialize())
                yield frame
            piece = sock.recv(65_536)
            if not piece:
                return
            self._data += piece


def http2(
    port: int,
    context: ssl.SSLContext,
    fields: Sequence[Field],
    body: bytes | None = None,
    trailers: Sequence[Field] = (),
) -> Answer:
    """The same over a connection of its own."""
    with closing(Client2(port, context)) as client:
        return client.send(fields, body, trailers)


def _parts(heads: list[list[Field]], body: bytes) -> Answer:
    if not heads:
        return NOTHING, [], body, []
    (_, status), *fields = heads[0]
    return int(status), fields, body, [field for block in heads[1:] for field in block]
