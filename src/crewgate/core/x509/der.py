"""Reads and writes strict DER (X.690), as far as certificates need it.

Each value has one encoding, and the reader accepts no other: tags are single bytes, lengths are
definite and minimal. Anything else, also a surplus byte, is a ValueError.
"""

from typing import Self

from crewgate import limits

BOOLEAN = 0x01
INTEGER = 0x02
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
ENUMERATED = 0x0A
UTF8_STRING = 0x0C
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31

_LONG = 0x80
# 16 MiB; the limit of a certificate is far lower.
_LENGTH_BYTES_MAX = 3


def write(tag: int, *parts: bytes) -> bytes:
    """Return a value whose content is the concatenation of the parts."""
    content = b"".join(parts)
    size = len(content)
    if size < _LONG:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, _LONG | len(length))) + length + content


def write_integer(value: int, tag: int = INTEGER) -> bytes:
    """Return a non-negative integer (X.690, section 8.3)."""
    return write(tag, value.to_bytes(value.bit_length() // 8 + 1))


def identifier(dotted: str) -> bytes:
    """Return the content of an object identifier (X.690, section 8.19), with arcs of any size."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return b"".join(_arc(arc) for arc in (40 * first + second, *rest))


def _arc(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


class DERReader:
    """Reads the values in `data` one after the other. Its methods raise ValueError."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def tag(self) -> int:
        """The tag of the next value, or -1 at the end."""
        return self._data[self._at] if self._at < len(self._data) else -1

    def take(self, tag: int) -> bytes:
        """Return the content of the next value, which must have this tag."""
        if self.tag != tag:
            raise ValueError(f"DER: tag {self.tag:#x} at {self._at} where {tag:#x} is expected")
        return self.take_any()

    def take_any(self) -> bytes:
        """Return the content of the next value, whatever its tag."""
        start, end = self._bounds()
        self._at = end
        return self._data[start:end]

    def enter(self, tag: int = SEQUENCE) -> Self:
        """Return a reader of the values inside the next value."""
        return type(self)(self.take(tag))

    def integer(self, tag: int = INTEGER) -> int:
        """Return the next value, a non-negative integer in the fewest bytes."""
        content = self.take(tag)
        if (
            not content
            # A set sign bit means a negative number.
            or content[0] >= _LONG
            or (content[0] == 0 and content[1:2] < b"\x80" and len(content) > 1)
        ):
            raise ValueError("DER: not a non-negative integer in the fewest bytes")
        return int.from_bytes(content)

    def text(self) -> str:
        """Return the next value, UTF-8 of at most `limits.name_chars_max` characters."""
        # UnicodeDecodeError is a ValueError.
        text = self.take(UTF8_STRING).decode()
        if len(text) > limits.name_chars_max:
            raise ValueError(f"DER: a text of more than {limits.name_chars_max} characters")
        return text

    def octets(self, size: int, tag: int = OCTET_STRING) -> bytes:
        """Return the next value, which must have exactly `size` bytes."""
        content = self.take(tag)
        if len(content) != size:
            raise ValueError(f"DER: {len(content)} bytes where {size} are expected")
        return content

    def end(self) -> None:
        """Raise ValueError if there is another value or byte."""
        if self._at != len(self._data):
            raise ValueError(f"DER: {len(self._data) - self._at} surplus bytes")

    def _bounds(self) -> tuple[int, int]:
        """Return where the content of the next value starts and ends."""
        data, at = self._data, self._at + 2
        if at > len(data):
            raise ValueError("DER: cut short")
        size = data[at - 1]
        if size >= _LONG:
            count = size & 0x7F
            if not 0 < count <= _LENGTH_BYTES_MAX or at + count > len(data):
                raise ValueError("DER: the length is indefinite, too long or cut short")
            size = int.from_bytes(data[at : at + count])
            if size < _LONG or data[at] == 0:
                raise ValueError("DER: the length is not in the fewest bytes")
            at += count
        if at + size > len(data):
            raise ValueError("DER: cut short")
        return at, at + size
