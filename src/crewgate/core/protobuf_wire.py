"""Reads and writes the wire format of protobuf, field by field (protobuf.dev, "Encoding").

It knows no message types. A caller reads only the fields that it asks for; the others stay as they
are.
"""

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}
_MORE = 0x80  # the bit of a varint that says that another group of seven bits follows
_VARINT_BYTES_MAX = 10  # of 64 bits
_NUMBER_MAX = (1 << 29) - 1


class WireField(NamedTuple):
    """One field: its number, its wire type, the bytes of its value, and all of its bytes.

    `value` of a varint is the varint itself; `value` of a string or message has no length.
    """

    number: int
    wire_type: int
    value: bytes
    raw: bytes


def fields(data: bytes) -> Iterator[WireField]:
    """Yield the fields of a message, in its order.

    Raises:
        ValueError: The message is cut short, or has a group or another type that proto3 lacks.
    """
    at, end = 0, len(data)
    while at < end:
        start = at
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number <= _NUMBER_MAX:
            raise ValueError("a field has no valid number")
        value_at = at
        if wire_type == VARINT:
            _, at = _varint(data, at)
        elif wire_type == BYTES:
            size, value_at = _varint(data, at)
            at = value_at + size
        elif wire_type in _SIZES:
            at += _SIZES[wire_type]
        else:
            raise ValueError(f"wire type {wire_type} is not of proto3")
        if at > end:
            raise ValueError("the message is cut short")
        yield WireField(number, wire_type, data[value_at:at], data[start:at])


def number_of(value: bytes) -> int:
    """Return the number that a varint stands for."""
    return _varint(value, 0)[0]


def delimited(number: int, value: bytes) -> bytes:
    """Return a field with a string, bytes or a message."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def integer(number: int, value: int) -> bytes:
    """Return a field with a number that is not negative."""
    return varint(number << 3) + varint(value)


def varint(value: int) -> bytes:
    """Return a number that is not negative in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value >= _MORE:
        groups.append(value % _MORE | _MORE)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    value = shift = 0
    for octet in data[at : at + _VARINT_BYTES_MAX]:
        at += 1
        value |= (octet & (_MORE - 1)) << shift
        if octet < _MORE:
            if value >> 64:
                break
            return value, at
        shift += 7
    raise ValueError("a number is cut short, or has more than 64 bits")
