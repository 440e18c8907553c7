"""Length-prefixed frames over a byte stream, sans I/O: a bound first, a body second.

Knows neither sockets nor what a body means. Four bytes (big-endian) give the length of the body;
an empty body and one over the bound are protocol errors, so a peer can make us hold at most one
frame and what arrived with it.
"""

from collections.abc import Iterator

from crewgate import limits
from crewgate.errors import LinkError

PREFIX_BYTES = 4


def frame(body: bytes) -> bytes:
    """`body` with its length before it; LinkError if it is empty or over the bound."""
    check_length(len(body))
    return len(body).to_bytes(PREFIX_BYTES, "big") + body


def check_length(length: int) -> None:
    """LinkError unless a body may be `length` bytes long."""
    if not 0 < length <= limits.link_frame_bytes_max:
        raise LinkError(
            f"a frame of {length} bytes; expected 1 to {limits.link_frame_bytes_max}: "
            "the peer is not a Crewgate process of this version"
        )


class FrameDecoder:
    """Cuts what was received into bodies; after a LinkError it must not be fed again."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __repr__(self) -> str:
        return f"<FrameDecoder {len(self._buffer)} bytes waiting>"

    @property
    def waiting_bytes(self) -> int:
        """Bytes of a frame that has not arrived in full; not 0 at the end means a torn frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that are complete now, in order; LinkError on a length out of bounds."""
        self._buffer += data
        while (body := self._next()) is not None:
            yield body

    def _next(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < PREFIX_BYTES:
            return None
        length = int.from_bytes(buffer[:PREFIX_BYTES], "big")
        check_length(length)
        end = PREFIX_BYTES + length
        if len(buffer) < end:
            return None
        body = bytes(buffer[PREFIX_BYTES:end])
        del buffer[:end]
        return body
