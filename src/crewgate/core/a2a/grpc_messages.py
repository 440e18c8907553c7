"""Splits the body of a gRPC call into its messages ("gRPC over HTTP/2", "Requests")."""

from crewgate.core.a2a.errors import INVALID_REQUEST, A2AError, ErrorType

_HEAD_BYTES = 5  # a flag for compression, and the length


class MessageReader:
    """Reads the messages of one body. No message may be compressed, so the gateway asks for none.

    `malformed` is the type of the error of a body that is none.
    """

    def __init__(self, bytes_max: int, malformed: ErrorType) -> None:
        self._bytes_max = bytes_max
        self._malformed = malformed
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete now.

        Raises:
            A2AError: A message is compressed, or has more than `bytes_max` bytes.
        """
        self._buffer += data
        found, at = [], 0
        while len(self._buffer) - at >= _HEAD_BYTES:
            flag = self._buffer[at]
            size = int.from_bytes(self._buffer[at + 1 : at + _HEAD_BYTES], "big")
            if flag or size > self._bytes_max:
                why = "it is compressed" if flag else f"it has more than {self._bytes_max} bytes"
                raise A2AError(self._malformed, f"a message of gRPC: {why}")
            end = at + _HEAD_BYTES + size
            if len(self._buffer) < end:
                break
            found.append(bytes(self._buffer[at + _HEAD_BYTES : end]))
            at = end
        del self._buffer[:at]
        return found

    @property
    def held_bytes(self) -> int:
        """How many bytes of an incomplete message have arrived."""
        return len(self._buffer)


def single(body: bytes, bytes_max: int) -> bytes:
    """Return the one message of a request.

    Raises:
        A2AError: The body is not exactly one message.
    """
    reader = MessageReader(bytes_max, INVALID_REQUEST)
    found = reader.feed(body)
    if len(found) != 1 or reader.held_bytes:
        raise A2AError(INVALID_REQUEST, "the body is not one message of gRPC")
    return found[0]


def framed(message: bytes) -> bytes:
    """Return the bytes of a message on the wire."""
    return b"\0" + len(message).to_bytes(4, "big") + message
