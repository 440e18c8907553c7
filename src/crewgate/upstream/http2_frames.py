"""Where the server of an HTTP/2 connection is in its frames (RFC 9113 §4.1), and for how long.

A header block is one HEADERS and its CONTINUATIONs, and nothing may come between them (§6.10). So
a server that leaves a block, or a frame, without its end keeps every stream of the connection from
an answer. The engine does not say so: it waits.
"""

_HEAD_BYTES = 9
_HEADERS, _PUSH_PROMISE, _CONTINUATION = 1, 5, 9
_END_HEADERS = 4


class FrameTracker:
    """Follows the bytes of one connection. `stream` is that of the frame that was begun last."""

    __slots__ = ("_begun", "_head", "_is_late", "_is_open", "_left", "_seen", "_since", "stream")

    def __init__(self) -> None:
        self.stream = 0
        self._begun = 0  # frames; a header block counts as one
        self._head = b""  # of a frame, as far as it has come
        self._left = 0  # bytes of the frame's payload that are still to come
        self._is_open = False  # a header block has not come to its end
        self._seen = -1  # what was begun last, at the last look that found it unfinished
        self._since = 0.0
        self._is_late = False

    def __repr__(self) -> str:
        return f"<FrameTracker: {self._begun} begun, {'whole' if self.is_whole else 'unfinished'}>"

    @property
    def is_whole(self) -> bool:
        """Whether all that was begun has come to its end."""
        return not (self._left or self._head or self._is_open)

    @property
    def is_late(self) -> bool:
        """Whether two looks have found the same frame, and it is unfinished still."""
        return self._is_late and self._seen == self._begun and not self.is_whole

    def feed(self, data: bytes) -> None:
        """Follow what has come."""
        at, size = 0, len(data)
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                continue
            head = self._head + data[at : at + _HEAD_BYTES - len(self._head)]
            at += len(head) - len(self._head)
            if len(head) < _HEAD_BYTES:
                self._head = head
                return
            self._begin(head)

    def seconds(self, now: float) -> float:
        """For how long looks like this one have found the same frame unfinished; 0 if none is."""
        if self.is_whole:
            self._seen, self._is_late = -1, False
            return 0.0
        self._is_late = self._seen == self._begun
        if not self._is_late:
            self._seen, self._since = self._begun, now
        return now - self._since

    def _begin(self, head: bytes) -> None:
        self._head = b""
        self._left = int.from_bytes(head[:3])
        self._begun += not self._is_open
        self.stream = int.from_bytes(head[5:]) & 0x7FFF_FFFF
        if head[3] in {_HEADERS, _PUSH_PROMISE, _CONTINUATION}:
            self._is_open = not head[4] & _END_HEADERS
