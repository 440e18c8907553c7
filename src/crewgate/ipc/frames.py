"""Frames over a byte stream, without I/O: four bytes (big-endian) of length, then the body.

An empty body and one over the bound are protocol errors. So a peer can make this process hold at
most one frame and what arrived with it.
"""

from collections.abc import Iterator

from crewgate import limits
from crewgate.errors import ServiceConnectionError

PREFIX_BYTES = 4


def frame(body: bytes) -> bytes:
    """Return `body` with its length before it; raises ServiceConnectionError as `check_length`."""
    check_length(len(body))
    return len(body).to_bytes(PREFIX_BYTES, "big") + body


def check_length(length: int) -> None:
    """Raise ServiceConnectionError if a body of `length` bytes is empty or over the bound."""
    if not 0 < length <= limits.ipc_frame_bytes_max:
        raise ServiceConnectionError(
            f"a frame of {length} bytes; expected 1 to {limits.ipc_frame_bytes_max}: "
            "the other process is no Crewgate process of this version"
        )


class FrameDecoder:
    """Splits received bytes into bodies; after a ServiceConnectionError, feed it nothing more."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the bodies that are complete now, in order.

        Raises ServiceConnectionError for a bad length.
        """
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
