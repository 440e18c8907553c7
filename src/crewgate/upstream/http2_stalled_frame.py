"""Detects a server that does not finish an HTTP/2 frame or header block (RFC 9113 §4.1).

A header block is one HEADERS frame and its CONTINUATION frames, and nothing may come between them
(§6.10). So a server that leaves a frame or a block unfinished holds up every stream of the
connection. The ngh2 engine reports no error: it waits.
"""

_HEAD_BYTES = 9
_HEADERS, _PUSH_PROMISE, _CONTINUATION = 1, 5, 9
_END_HEADERS = 4


class StalledFrameDetector:
    """Follows the received bytes of one connection; `stream` is that of the last frame begun."""

    def __init__(self) -> None:
        self.stream = 0
        self._begun = 0  # how many frames have begun; a header block counts as one
        self._head = b""  # the part of a frame's head that has arrived
        self._left = 0  # bytes of the frame's payload that are still to arrive
        self._is_open = False  # the end of a header block is still to arrive
        self._last_seen = -1  # the value of `_begun` when `seconds` last found a frame unfinished
        self._since = 0.0
        self._is_late = False

    @property
    def is_whole(self) -> bool:
        """Whether every frame and header block that has begun is complete."""
        return not (self._left or self._head or self._is_open)

    @property
    def is_late(self) -> bool:
        """Whether two calls of `seconds` found the same frame unfinished, and it still is."""
        return self._is_late and self._last_seen == self._begun and not self.is_whole

    def feed(self, data: bytes) -> None:
        """Follow bytes that have arrived."""
        position, size = 0, len(data)
        while position < size:
            if self._left:
                step = min(self._left, size - position)
                self._left -= step
                position += step
                continue
            head = self._head + data[position : position + _HEAD_BYTES - len(self._head)]
            position += len(head) - len(self._head)
            if len(head) < _HEAD_BYTES:
                self._head = head
                return
            self._begin(head)

    def seconds(self, now: float) -> float:
        """Return for how long this method has found the same frame unfinished; 0 if none is."""
        if self.is_whole:
            self._last_seen, self._is_late = -1, False
            return 0.0
        self._is_late = self._last_seen == self._begun
        if not self._is_late:
            self._last_seen, self._since = self._begun, now
        return now - self._since

    def _begin(self, head: bytes) -> None:
        self._head = b""
        self._left = int.from_bytes(head[:3])
        self._begun += not self._is_open
        self.stream = int.from_bytes(head[5:]) & 0x7FFF_FFFF
        if head[3] in {_HEADERS, _PUSH_PROMISE, _CONTINUATION}:
            self._is_open = not head[4] & _END_HEADERS
