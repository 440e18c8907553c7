"""Answers over HTTP/2 that are none, by name: what a hostile tool's server writes on a stream.

`STREAM` breaks rules of a message (RFC 9113 §8.1.1), or ends it: its call alone must fail.
`CONNECTION` breaks rules of the connection (§5.4.1), and all calls on it end. Fields are written as
literals that no table remembers, so that each answer can follow any other one.
"""

import struct
from collections.abc import Callable, Iterable

Field = tuple[bytes, bytes]
DATA, HEADERS, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
OK = (b":status", b"200")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame (RFC 9113 §4.1)."""
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + payload


def block(fields: Iterable[Field]) -> bytes:
    """A field block of literals (RFC 7541 §6.2.2); each text has at most 126 bytes."""
    return b"".join(
        b"\0%b%b%b%b" % (bytes([len(name)]), name, bytes([len(value)]), value)
        for name, value in fields
    )


def answer(stream: int, *fields: Field, flags: int = END_HEADERS | END_STREAM) -> bytes:
    """A HEADERS frame."""
    return frame(HEADERS, flags, stream, block(fields))


def data(stream: int, body: bytes, *, ends: bool = True) -> bytes:
    """A DATA frame."""
    return frame(DATA, END_STREAM if ends else 0, stream, body)


def good(stream: int, body: bytes) -> bytes:
    """A whole answer without fault."""
    return answer(stream, OK, (b"content-length", b"%d" % len(body)), flags=END_HEADERS) + data(
        stream, body
    )


def _fields(*fields: Field) -> Callable[[int], bytes]:
    return lambda stream: answer(stream, *fields)


def _body(body: bytes, *fields: Field, ends: bool = True) -> Callable[[int], bytes]:
    return lambda stream: answer(stream, *fields, flags=END_HEADERS) + data(stream, body, ends=ends)


def _reset(code: int, before: bytes | None = None) -> Callable[[int], bytes]:
    def made(stream: int) -> bytes:
        reset = frame(RST, 0, stream, struct.pack(">I", code))
        if before is None:
            return reset
        begun = answer(stream, OK, flags=END_HEADERS)
        return begun + (data(stream, before, ends=False) if before else b"") + reset

    return made


def _trailers(*fields: Field, flags: int = END_HEADERS | END_STREAM) -> Callable[[int], bytes]:
    return lambda stream: (
        answer(stream, OK, flags=END_HEADERS) + answer(stream, *fields, flags=flags)
    )


def _length(value: bytes) -> Field:
    return b"content-length", value


STREAM: dict[str, Callable[[int], bytes]] = {
    "CR LF in a value": _fields(OK, (b"x", b"a\r\nb: c")),
    "CR in a value": _fields(OK, (b"x", b"a\rb")),
    "LF in a value": _fields(OK, (b"x", b"a\nb")),
    "NUL in a value": _fields(OK, (b"x", b"a\0b")),
    "a blank before a value": _fields(OK, (b"x", b" a")),
    "a blank behind a value": _fields(OK, (b"x", b"a ")),
    "an upper-case name": _fields(OK, (b"X-A", b"b")),
    "a blank in a name": _fields(OK, (b"x a", b"b")),
    "a colon in a name": _fields(OK, (b"x:a", b"b")),
    "CR LF in a name": _fields(OK, (b"x\r\na", b"b")),
    "no name": _fields(OK, (b"", b"b")),
    "connection": _fields(OK, (b"connection", b"close")),
    "keep-alive": _fields(OK, (b"keep-alive", b"timeout=1")),
    "proxy-connection": _fields(OK, (b"proxy-connection", b"close")),
    "transfer-encoding": _fields(OK, (b"transfer-encoding", b"chunked")),
    "upgrade": _fields(OK, (b"upgrade", b"h2c")),
    "no status": _fields((b"x", b"a")),
    "two statuses": _fields(OK, OK),
    "a status of two digits": _fields((b":status", b"99")),
    "a status of four digits": _fields((b":status", b"2000")),
    "a status of letters": _fields((b":status", b"abc")),
    "an empty status": _fields((b":status", b"")),
    "a status behind a field": _fields((b"x", b"a"), OK),
    "a request's field": _fields(OK, (b":path", b"/")),
    "an unknown pseudo field": _fields(OK, (b":x", b"a")),
    "switching protocols": _fields((b":status", b"101")),
    "a hint that ends the stream": _fields((b":status", b"103")),
    "trailers that do not end": _trailers((b"x", b"a"), flags=END_HEADERS),
    "a status in trailers": _trailers(OK),
    "CR LF in trailers": _trailers((b"x", b"a\r\nb")),
    "a body shorter than its length": _body(b"abc", OK, _length(b"5")),
    "a body longer than its length": _body(b"abc", OK, _length(b"2")),
    "a longer body that goes on": _body(b"abc", OK, _length(b"2"), ends=False),
    "a length without a body": _fields(OK, _length(b"5")),
    "a length twice": _fields(OK, _length(b"0"), _length(b"0")),
    "a length with a sign": _fields(OK, _length(b"+0")),
    "a length of letters": _fields(OK, _length(b"abc")),
    "a length beyond all": _fields(OK, _length(b"9" * 30)),
    "a body of 204": _body(b"abc", (b":status", b"204")),
    "a body of 205": _body(b"abc", (b":status", b"205")),
    "a body of 304": _body(b"abc", (b":status", b"304")),
    "a length of 204": _fields((b":status", b"204"), _length(b"5")),
    "hints without an end": lambda stream: (
        answer(stream, (b":status", b"103"), (b"link", b"a" * 100), flags=END_HEADERS) * 500
    ),
    "reset without an error": _reset(0),
    "reset for a protocol error": _reset(1),
    "reset for an internal error": _reset(2),
    "reset as refused": _reset(7),
    "reset as cancelled": _reset(8),
    "reset behind the head": _reset(2, b""),
    "reset in mid-body": _reset(2, b"abc"),
}
CONNECTION: dict[str, Callable[[int], bytes]] = {
    "a body before its head": lambda stream: data(stream, b"abc"),
    "a block that is no HPACK": lambda stream: frame(
        HEADERS, END_HEADERS | END_STREAM, stream, b"\xff" * 6
    ),
    "a body of stream 0": lambda _: data(0, b"abc"),
    "a body of a stream that nobody opened": lambda stream: data(stream + 10_000, b"abc"),
    "a push": lambda stream: frame(PUSH, END_HEADERS, stream, b"\0\0\0\2\x82\x87\x84"),
    "a window that opens by nothing": lambda _: frame(WINDOW, 0, 0, b"\0\0\0\0"),
    "a window beyond all": lambda _: frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "more padding than frame": lambda stream: (
        answer(stream, OK, flags=END_HEADERS) + frame(DATA, PADDED, stream, b"\xffabc")
    ),
    "too many fields": lambda stream: answer(stream, OK, *[(b"x", b"y")] * 1000),
    "a ping of seven bytes": lambda _: frame(PING, 0, 0, b"1234567"),
    "settings of five bytes": lambda _: frame(SETTINGS, 0, 0, b"12345"),
    "a continuation of nothing": lambda stream: frame(CONTINUATION, END_HEADERS, stream, b""),
    "a frame larger than allowed": lambda stream: data(stream, bytes(20_000)),
    "pings without an end": lambda _: frame(PING, 0, 0, bytes(8)) * 3000,
}
