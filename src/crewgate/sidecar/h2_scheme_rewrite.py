"""Rewrites the scheme of HTTP/2 requests from `http` to `https`, in place.

A client that uses HTTP/2 with prior knowledge (RFC 9113, section 3.3) sends :scheme http. The
sidecar forwards over TLS, where the gateway would refuse that. In HPACK's static table (RFC 7541,
appendix A) the two fields are neighbors, so one byte changes. This reads only frame heads and field
boundaries; it passes on what it cannot parse, for the gateway to refuse.
"""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = 9  # RFC 9113 §4.1: length, type, flags, stream
_HEADERS, _CONTINUATION = 0x1, 0x9
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
_PRIORITY_BYTES = 5
_HTTP, _HTTPS = 0x86, 0x87  # RFC 7541 §6.1: indexed fields 6 and 7 of the static table


class SchemeRewriter:
    """The rewriter of one connection; gets the client's bytes in order."""

    def __init__(self) -> None:
        self._fields = _Fields()
        self._head = bytearray()  # head of the next frame
        self._skip = len(PREFACE)  # bytes to pass on unread
        self._block = 0  # bytes of the field block after those
        self._tail = 0  # bytes of padding after the field block
        self._pad_is_due = False  # the next byte is a padded frame's Pad Length

    def translate(self, data: bytes) -> bytes:
        """Return as many bytes, with :scheme https in place of :scheme http."""
        changed = bytearray(data)
        at = 0
        while at < len(changed):
            if self._pad_is_due:
                self._pad(changed[at])
                at += 1
            elif self._skip:
                step = min(self._skip, len(changed) - at)
                self._skip -= step
                at += step
            elif self._block:
                step = min(self._block, len(changed) - at)
                self._fields.translate(changed, at, at + step)
                self._block -= step
                at += step
            elif self._tail:
                self._skip, self._tail = self._tail, 0
            else:
                self._head.append(changed[at])
                at += 1
                if len(self._head) == _HEAD:
                    self._begin()
        return bytes(changed)

    def _begin(self) -> None:
        length = int.from_bytes(self._head[:3])
        kind, flags = self._head[3], self._head[4]
        self._head.clear()
        if kind == _HEADERS:
            self._fields = _Fields()
            self._pad_is_due = bool(flags & _PADDED) and length > 0
            rest = length - self._pad_is_due
            self._skip = min(_PRIORITY_BYTES if flags & _PRIORITY else 0, rest)
            self._block = rest - self._skip
        elif kind == _CONTINUATION:
            self._block = length
        else:
            self._skip = length

    def _pad(self, padding: int) -> None:
        self._pad_is_due = False
        self._tail = min(padding, self._block)
        self._block -= self._tail


class _Fields:
    """A parser of one field block, which may come in pieces; finds where each field begins."""

    def __init__(self) -> None:
        self._wanted = 0  # strings of the current field that are still to come
        self._skip = 0  # bytes of the current string that are still to come
        self._integer_is_open = False  # more bytes of an integer (RFC 7541 §5.1) follow
        self._is_length = False  # the integer is the length of a string
        self._value = 0
        self._shift = 0

    def translate(self, data: bytearray, at: int, end: int) -> None:
        """Parse `data[at:end]`, and rewrite the scheme in it."""
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
                continue
            byte = data[at]
            if self._integer_is_open:
                self._continue_integer(byte)
            elif self._wanted:
                self._wanted -= 1
                self._open(byte, 0x7F, is_length=True)
            elif byte == _HTTP:
                data[at] = _HTTPS
            else:
                self._field(byte)
            at += 1

    def _field(self, byte: int) -> None:
        """Parse the first byte of a field or of a table size update (RFC 7541, section 6)."""
        if byte & 0x80:
            self._open(byte, 0x7F)
        elif byte & 0x40:
            self._wanted = 1 if byte & 0x3F else 2
            self._open(byte, 0x3F)
        elif byte & 0x20:
            self._open(byte, 0x1F)
        else:
            self._wanted = 1 if byte & 0x0F else 2
            self._open(byte, 0x0F)

    def _open(self, byte: int, mask: int, *, is_length: bool = False) -> None:
        self._value, self._shift, self._is_length = byte & mask, 0, is_length
        self._integer_is_open = self._value == mask
        if is_length and not self._integer_is_open:
            self._skip = self._value

    def _continue_integer(self, byte: int) -> None:
        self._value += (byte & 0x7F) << self._shift
        self._shift = min(self._shift + 7, 63)
        if not byte & 0x80:
            self._integer_is_open = False
            if self._is_length:
                self._skip = self._value
