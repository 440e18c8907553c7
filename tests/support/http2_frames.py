"""HTTP/2 frames as a hostile client writes them, and what it hears."""

from collections.abc import Iterable

import trio
from hpack import Encoder
from hyperframe.frame import Frame, HeadersFrame, SettingsFrame

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PREFACE = MAGIC + SettingsFrame(0).serialize()
ACKNOWLEDGED = PREFACE + SettingsFrame(0, flags=["ACK"]).serialize()
_FRAME_HEAD_BYTES = 9

Fields = list[tuple[bytes, bytes]]


def request(path: bytes = b"/", method: bytes = b"GET") -> Fields:
    """The pseudo fields of a request."""
    return [(b":method", method), (b":scheme", b"https"), (b":path", path), (b":authority", b"a")]


GET = request()
POST = request(method=b"POST")


def head(stream: int, fields: Fields, *flags: str, encoder: Encoder | None = None) -> bytes:
    """One HEADERS frame; a block of its own unless there is an encoder."""
    block = (encoder or Encoder()).encode(fields)
    return HeadersFrame(stream, block, flags=["END_HEADERS", *flags]).serialize()


def heads(streams: Iterable[int], fields: Fields, *flags: str) -> bytes:
    """HEADERS frames of one connection."""
    encoder = Encoder()
    return b"".join([head(stream, fields, *flags, encoder=encoder) for stream in streams])


def alike(count: int, fields: Fields, *flags: str) -> bytes:
    """`heads` of the first streams, quickly: from the second on all fields are in the table."""
    encoder = Encoder()
    first = head(1, fields, *flags, encoder=encoder)
    frame = bytearray(head(3, fields, *flags, encoder=encoder))
    wire = bytearray(first)
    for stream in numbers(count - 1, first=3):
        frame[5:_FRAME_HEAD_BYTES] = stream.to_bytes(4, "big")
        wire += frame
    return bytes(wire)


def numbers(count: int, first: int = 1) -> range:
    """So many streams of a client."""
    return range(first, first + 2 * count, 2)


class Frames:
    """The frames that come from a stream, one by one."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._data = b""

    async def next(self) -> Frame | None:
        """The next frame, None at the end."""
        if not await self._fill(_FRAME_HEAD_BYTES):
            return None
        frame, length = Frame.parse_frame_header(memoryview(self._data[:_FRAME_HEAD_BYTES]))
        if not await self._fill(_FRAME_HEAD_BYTES + length):
            return None
        frame.parse_body(memoryview(self._data[_FRAME_HEAD_BYTES : _FRAME_HEAD_BYTES + length]))
        self._data = self._data[_FRAME_HEAD_BYTES + length :]
        return frame

    async def until(self, kind: type[Frame], stream: int | None = None) -> Frame:
        """The next frame of a kind (and stream); a failed test if the connection ends before."""
        while frame := await self.next():
            if type(frame) is kind and stream in {None, frame.stream_id}:
                return frame
        raise AssertionError(f"the connection ended without a {kind.__name__}")

    async def rest(self) -> list[Frame]:
        """All frames to the end."""
        frames = []
        while frame := await self.next():
            frames.append(frame)
        return frames

    async def skip(self, expected: bytes) -> bool:
        """Skip what comes before the first frame; return False at the end."""
        if not await self._fill(len(expected)):
            return False
        assert self._data.startswith(expected)
        self._data = self._data[len(expected) :]
        return True

    async def _fill(self, count: int) -> bool:
        while len(self._data) < count:
            try:
                piece = await self._stream.receive_some()
            except trio.BrokenResourceError:
                return False
            if not piece:
                return False
            self._data += piece
        return True
