"""HTTP/2 as far as a cheap client needs it (RFC 9113, RFC 7541): frames, and heads without a table.

Pure. Heads are written as literals without Huffman and without an index, so that one is bytes once
and for all, whatever was sent before. Of an answer's head only this is read: is its status 200?
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x4, 0x8, 0x20
ACK = 0x1
HEAD_BYTES = 9
WINDOW = 65_535  # of a connection and of each stream, until somebody says otherwise
INITIAL_WINDOW = 4  # a setting
METHODS = {"GET": b"\x82", "POST": b"\x83"}  # RFC 7541, appendix A
SCHEME = b"\x87"  # https
AUTHORITY, PATH = b"\x01", b"\x04"  # literal without indexing, name from the table
AUTHORIZATION = b"\x1f\x08"  # the same, never indexed: entry 23
STATUS_200 = b"\x88"
SIZE_UPDATE, SIZE_UPDATE_MASK, SIZE_BITS = 0x20, 0xE0, 0x1F  # RFC 7541, section 6.3


class Frame(NamedTuple):
    """One frame, its payload without padding and priority where it is a head."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Its bytes."""
    return b"%b%c%c%b%b" % (
        len(payload).to_bytes(3, "big"),
        kind,
        flags,
        stream.to_bytes(4, "big"),
        payload,
    )


def window_update(stream: int, count: int) -> bytes:
    """Let the peer send `count` bytes more."""
    return frame(WINDOW_UPDATE, 0, stream, count.to_bytes(4, "big"))


def settings(values: dict[int, int]) -> bytes:
    """Ours."""
    pairs = (key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values.items())
    return frame(SETTINGS, 0, 0, b"".join(pairs))


def string(text: str) -> bytes:
    """A string literal as it is (RFC 7541, section 5.2)."""
    data = text.encode("ascii")
    length = len(data)
    if length < 127:
        return bytes([length]) + data
    size, rest = bytearray([127]), length - 127
    while rest >= 128:
        size.append(rest % 128 + 128)
        rest //= 128
    size.append(rest)
    return bytes(size) + data


def head(method: str, authority: str, path: str, token: str) -> bytes:
    """The field block of a request; no token if it is empty."""
    named = METHODS[method] + SCHEME + AUTHORITY + string(authority) + PATH + string(path)
    return named + AUTHORIZATION + string(f"Bearer {token}") if token else named


def setting_pairs(payload: bytes) -> Iterator[tuple[int, int]]:
    """What a SETTINGS frame says."""
    for start in range(0, len(payload) - 5, 6):
        key, value = payload[start : start + 2], payload[start + 2 : start + 6]
        yield int.from_bytes(key, "big"), int.from_bytes(value, "big")


def is_200(block: bytes) -> bool:
    """Whether a field block begins with this status, after changes of the table's size."""
    place = 0
    while place < len(block) and block[place] & SIZE_UPDATE_MASK == SIZE_UPDATE:
        more = block[place] & SIZE_BITS == SIZE_BITS  # RFC 7541, section 5.1
        place += 1
        while more and place < len(block):
            more = block[place] >= 128
            place += 1
    return block[place : place + 1] == STATUS_200


def bare(flags: int, payload: bytes) -> bytes:
    """A head's payload without padding and priority (RFC 9113, section 6.2)."""
    if flags & PADDED:
        payload = payload[1 : len(payload) - payload[0]]
    return payload[5:] if flags & PRIORITY else payload


class Frames:
    """Splits what arrives."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> Sequence[Frame]:
        """The frames that are whole with this."""
        data = self.rest + data
        found, start = [], 0
        while len(data) - start >= HEAD_BYTES:
            length = int.from_bytes(data[start : start + 3], "big")
            end = start + HEAD_BYTES + length
            if len(data) < end:
                break
            kind, flags = data[start + 3], data[start + 4]
            stream = int.from_bytes(data[start + 5 : start + 9], "big") & 0x7FFFFFFF
            payload = data[start + HEAD_BYTES : end]
            if kind == HEADERS:
                payload = bare(flags, payload)
            found.append(Frame(kind, flags, stream, payload))
            start = end
        self.rest = data[start:]
        return found
