"""Server-sent events (the HTML standard, §9.2), as far as reading and ending a stream takes."""

import re
from collections.abc import Iterator, Mapping

from crewgate import limits

ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")  # of an event: the next one may be ours

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")
_EDGE = 3  # bytes of a blank line without its last


def is_stream(fields: Mapping[bytes, bytes]) -> bool:
    """Return whether an answer with these fields streams events that can be read in passing."""
    kind = fields.get(b"content-type", b"").lower()
    return kind.startswith(b"text/event-stream") and b"content-encoding" not in fields


class EventSplitter:
    """Cuts a stream into events, each with the blank line that ends it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of an event that is not whole yet
        self._size = 0
        self._edge = b""  # the last of them, in which a blank line may have begun

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The events that are whole now; one that is over its bound comes in pieces."""
        begun, edge = self._size, self._edge
        self._parts.append(data)
        self._size += len(data)
        self._edge = (edge + data)[-_EDGE:]
        if _END.search(edge + data):
            rest, at = self.tail(), 0
            for match in _END.finditer(rest, max(0, begun - _EDGE)):
                yield rest[at : match.end()]
                at = match.end()
            rest = rest[at:]
            self._parts, self._size, self._edge = [rest], len(rest), rest[-_EDGE:]
        if self._size > limits.event_bytes_max:
            yield self.tail()

    def tail(self) -> bytes:
        """What is left of a stream that has ended."""
        rest = b"".join(self._parts)
        self._parts, self._size, self._edge = [], 0, b""
        return rest


def data_of(event: bytes) -> bytes:
    """What an event carries: its `data` lines."""
    lines = [
        line[5:].removeprefix(b" ") for line in _LINE.split(event) if line.startswith(b"data:")
    ]
    return b"\n".join(lines)
