"""Server-sent events (HTML standard, §9.2): splits a stream into events and reads their data."""

import re
from collections.abc import Iterator, Mapping

from crewgate import limits

# Data that ends so ends an event: the gateway may then add one of its own.
ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")
_EDGE = 3  # bytes: the longest blank line (CR LF CR LF) without its last byte


def is_stream(fields: Mapping[bytes, bytes]) -> bool:
    """Return whether a response with these fields is an uncompressed stream of events."""
    kind = fields.get(b"content-type", b"").lower()
    return kind.startswith(b"text/event-stream") and b"content-encoding" not in fields


class EventSplitter:
    """Splits a stream into events, each with the blank line that ends it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of the event that is not whole yet
        self._size = 0
        self._edge = b""  # its last bytes, in which a blank line may have begun

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the events that are whole now; one above the size limit is yielded in pieces."""
        size_before, edge = self._size, self._edge
        self._parts.append(data)
        self._size += len(data)
        self._edge = (edge + data)[-_EDGE:]
        if _END.search(edge + data):
            rest, at = self.tail(), 0
            for match in _END.finditer(rest, max(0, size_before - _EDGE)):
                yield rest[at : match.end()]
                at = match.end()
            rest = rest[at:]
            self._parts, self._size, self._edge = [rest], len(rest), rest[-_EDGE:]
        if self._size > limits.event_bytes_max:
            yield self.tail()

    def tail(self) -> bytes:
        """Return the rest of a stream that has ended."""
        rest = b"".join(self._parts)
        self._parts, self._size, self._edge = [], 0, b""
        return rest


def data_of(event: bytes) -> bytes:
    """Return the `data` lines of an event, joined."""
    lines = [
        line[5:].removeprefix(b" ") for line in _LINE.split(event) if line.startswith(b"data:")
    ]
    return b"\n".join(lines)
