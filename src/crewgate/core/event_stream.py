"""Server-sent events (HTML standard, §9.2): splits a stream into events and reads their fields.

The reader loses no byte: the `raw` parts of its events, joined, are the stream.
"""

import re
from collections.abc import Mapping

import msgspec

from crewgate import limits

# Data that ends so ends an event: the gateway may then add one of its own.
ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")

# The end of a line, and then an empty line. CR LF is one line end.
_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_IDLE = re.compile(rb"(?:(?::[^\r\n]*)?[\r\n])+")  # comments and empty lines
_EDGE = 3  # bytes: the longest end (CR LF CR LF) without its last byte
_BOM = b"\xef\xbb\xbf"  # a client drops it if the stream begins with it
_KEPT_FIELDS = (b"event", b"retry", b"")  # b"": a comment


class Event(msgspec.Struct, frozen=True, gc=False):
    """A part of a stream: an event, or what stands between events.

    Attributes:
        raw: The bytes of the part.
        kind: The type of the event; "message" if the event does not state one.
        id: The value of the field `id`; None if there is none.
        data: The data lines, joined by LF. None if there are none: a client then gets no event.
        is_whole: False if the event exceeds a limit. It then comes in parts without fields.
    """

    raw: bytes
    kind: str = "message"
    id: bytes | None = None
    data: bytes | None = None
    is_whole: bool = True

    def written_anew(self) -> bytes:
        """Return the bytes of an event with this id and data, and the other fields of `raw`.

        Fields that the standard does not define are left out.
        """
        lines = [
            line for line in _lines(self.raw) if line and line.partition(b":")[0] in _KEPT_FIELDS
        ]
        if self.id is not None:
            lines.append(b"id: " + self.id)
        if self.data is not None:
            lines += [b"data: " + line for line in _lines(self.data)]
        return b"".join(line + b"\n" for line in [*lines, b""])


class EventReader:
    """Splits one stream into events.

    Comments and empty lines between events are not held back.
    """

    def __init__(self, event_bytes_max: int) -> None:
        self._bytes_max = event_bytes_max
        self._rest = bytearray()  # the event that is not complete yet
        self._size = 0
        self._edge = b""  # its last bytes, in which its end may have begun
        self._is_cut = False  # it is too large: its first part is already out
        self._has_begun = False  # a byte order mark may still come

    @property
    def held_bytes(self) -> int:
        """The size of what has arrived of the next event."""
        return self._size

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that are complete now, and what stands between them."""
        if self._has_begun:
            return self._feed(data) if data else []
        data = self._take() + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._keep(data)
            return []
        self._has_begun = True
        if data.startswith(_BOM):
            return [Event(_BOM), *self.feed(data.removeprefix(_BOM))]
        return self._feed(data)

    def end(self) -> list[Event]:
        """Return the rest of a stream that has ended, as if it were a complete event."""
        return [self._event(self._take())] if self._size else []

    def _feed(self, data: bytes) -> list[Event]:
        if not self._size and data.endswith(b"\n\n") and b"\r" not in data:
            *whole, rest = data.split(b"\n\n")
            if not rest:  # the usual case
                return [self._event(each + b"\n\n") for each in whole]
        events = []
        size_before, edge = self._size, self._edge
        self._rest += data  # a list of very small parts would take many times their size
        self._size += len(data)
        self._edge = (edge + data)[-_EDGE:]
        if _END.search(edge + data):
            rest, at = self._take(), 0
            for match in _END.finditer(rest, max(0, size_before - _EDGE)):
                events.append(self._event(rest[at : match.end()]))
                self._is_cut = False
                at = match.end()
            self._keep(rest[at:])
        if b"\n" in data or b"\r" in data:
            events += self._idle()
        if self._size > self._bytes_max:
            self._is_cut = True
            rest = self._take()
            events.append(self._event(rest[:-_EDGE]))
            self._keep(rest[-_EDGE:])
        return events

    def _idle(self) -> list[Event]:
        """Return the comments and empty lines that stand before the next event."""
        if self._is_cut or not self._rest or self._rest[0] not in b":\r\n":
            return []
        rest = self._take()
        idle = _IDLE.match(rest)
        at = 0 if idle is None else idle.end()
        self._keep(rest[at:])
        return [Event(rest[:at])] if at else []

    def _take(self) -> bytes:
        rest = bytes(self._rest)
        self._keep(b"")
        return rest

    def _keep(self, rest: bytes) -> None:
        self._rest = bytearray(rest)
        self._size, self._edge = len(rest), rest[-_EDGE:]

    def _event(self, raw: bytes) -> Event:
        if (
            self._is_cut
            or len(raw) > self._bytes_max
            or raw.count(b"\n") + raw.count(b"\r") > limits.event_lines_max
        ):
            return Event(raw, is_whole=False)
        return _read(raw)


def is_stream(fields: Mapping[bytes, bytes]) -> bool:
    """Return whether a response with these fields is an uncompressed stream of events."""
    kind = fields.get(b"content-type", b"").lower()
    return kind.startswith(b"text/event-stream") and b"content-encoding" not in fields


def last_data(stream: bytes, event_bytes_max: int) -> bytes:
    """Return the data of the last event of a whole stream that has any; empty if none has."""
    reader = EventReader(event_bytes_max)
    events = [*reader.feed(stream), *reader.end()]
    return next((each.data for each in reversed(events) if each.data), b"")


def _read(raw: bytes) -> Event:
    kind, event_id = b"", None
    data: list[bytes] = []
    for line in _lines(raw):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
        elif name == b"id" and b"\0" not in value:
            event_id = value
    return Event(
        raw,
        kind.decode(errors="replace") or "message",
        event_id,
        b"\n".join(data) if data else None,
    )


def _lines(text: bytes) -> list[bytes]:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
