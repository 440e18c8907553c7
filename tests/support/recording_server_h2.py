"""A tool's server over HTTP/2 without TLS that keeps what it is sent, frame for frame.

Frames and header compression are read by hyperframe and hpack; what the fields mean is not asked.
"""

import socket
from dataclasses import dataclass, field

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from recording_server import Recorder, Seen

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Field = tuple[bytes, bytes]


@dataclass
class _Stream:
    blocks: list[list[Field]] = field(default_factory=list)  # the head, then the trailers
    body: bytes = b""


class H2Recorder(Recorder):
    """The same as `Recorder`, in the other protocol. `raw` is what HTTP/1.1 would write."""

    protocol = "h2"

    def talk(self, sock: socket.socket) -> None:
        """Serve one connection."""
        _Connection(sock, self.seen).run()


class _Connection:
    def __init__(self, sock: socket.socket, seen: list[Seen]) -> None:
        self._sock = sock
        self._seen = seen
        self._data = b""
        self._streams: dict[int, _Stream] = {}
        self._decoder = Decoder(max_header_list_size=2**20)
        self._encoder = Encoder()
        self._block = b""
        self._ends = False

    def run(self) -> None:
        """One frame after the other, until the end."""
        assert self._take(len(PREFACE)) == PREFACE
        self._send(SettingsFrame(0))
        while True:
            frame, length = Frame.parse_frame_header(memoryview(self._take(9)))
            frame.parse_body(memoryview(self._take(length)))
            self._frame(frame)

    def _frame(self, frame: Frame) -> None:
        number = frame.stream_id
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self._send(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self._send(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, HeadersFrame | ContinuationFrame):
            self._block += frame.data
            self._ends = self._ends or "END_STREAM" in frame.flags
            if "END_HEADERS" in frame.flags:
                stream = self._streams.setdefault(number, _Stream())
                stream.blocks.append(list(self._decoder.decode(self._block, raw=True)))
                ends, self._block, self._ends = self._ends, b"", False
                if ends:
                    self._answer(number)
        elif isinstance(frame, DataFrame):
            self._streams[number].body += frame.data
            if frame.data:
                for opened in (0, number):
                    self._send(WindowUpdateFrame(opened, window_increment=len(frame.data)))
            if "END_STREAM" in frame.flags:
                self._answer(number)

    def _answer(self, number: int) -> None:
        stream = self._streams.pop(number)
        head = [field for field in stream.blocks[0] if not field[0].startswith(b":")]
        trailers = [field for block in stream.blocks[1:] for field in block]
        pseudo = [field for field in stream.blocks[0] if field[0].startswith(b":")]
        known = dict(pseudo)
        assert len(known) == len(pseudo) == 4, pseudo
        assert known[b":scheme"] == b"http"
        fields = [(b"host", known[b":authority"]), *head]
        method, target = known[b":method"], known[b":path"]
        lines, rest = (
            b"".join([b"%b: %b\r\n" % one for one in some]) for some in (fields, trailers)
        )
        raw = b"%b %b HTTP/2\r\n%b\r\n%b%b" % (method, target, lines, stream.body, rest)
        self._seen.append(Seen(raw, method, target, b"HTTP/2", fields, stream.body, trailers))
        only = method == b"HEAD"
        answer = self._encoder.encode([(b":status", b"200"), (b"content-length", b"2")])
        flags = ["END_HEADERS", *["END_STREAM"] * only]
        self._send(HeadersFrame(number, answer, flags=flags))
        if not only:
            self._send(DataFrame(number, b"ok", flags=["END_STREAM"]))

    def _send(self, frame: Frame) -> None:
        self._sock.sendall(frame.serialize())

    def _take(self, size: int) -> bytes:
        while len(self._data) < size:
            piece = self._sock.recv(65_536)
            if not piece:
                raise EOFError
            self._data += piece
        found, self._data = self._data[:size], self._data[size:]
        return found
