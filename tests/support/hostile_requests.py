"""What one hostile connection sends, once: HTTP/2 as functions that make bytes, HTTP/1.1 as bytes.

The HTTP/2 probes are the five inputs that ended a whole server of another make, and their kin.
"""

from hpack import Encoder
from http2_frames import GET, PREFACE, Fields
from http2_frames import head as _head
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from crewgate import limits


def _replaced(name: bytes, value: bytes | None) -> Fields:
    return [(n, value if n == name else v) for n, v in GET if n != name or value is not None]


def _data_after_answer() -> bytes:
    return _head(1, _replaced(b":method", b"POST")) + DataFrame(1, bytes(1000)).serialize() * 30


def _connect_without_path() -> bytes:
    return _head(1, [(b":method", b"CONNECT"), (b":authority", b"a")])


def _connect_with_path() -> bytes:
    return _head(1, _replaced(b":method", b"CONNECT"), "END_STREAM")


def _priorities() -> bytes:
    frames = [PriorityFrame(2 * i + 1, depends_on=0, stream_weight=1) for i in range(2000)]
    return b"".join([frame.serialize() for frame in frames])


def _foreign_path() -> bytes:
    return _head(1, _replaced(b":path", b"/\xc3\xa4"), "END_STREAM")


def _foreign_method() -> bytes:
    return _head(1, _replaced(b":method", b"G\xc3T"), "END_STREAM")


def _host_that_differs() -> bytes:
    return _head(1, [*GET, (b"host", b"b")], "END_STREAM")


def _no_authority() -> bytes:
    return _head(1, _replaced(b":authority", None), "END_STREAM")


def _two_paths() -> bytes:
    return _head(1, [*GET, (b":path", b"/b")], "END_STREAM")


def _resets() -> bytes:
    """Rapid reset, CVE-2023-44487."""
    encoder = Encoder()
    frames = bytearray()
    for stream in range(1, 20_001, 2):
        frame = HeadersFrame(stream, encoder.encode(GET), flags=["END_HEADERS", "END_STREAM"])
        frames += frame.serialize() + RstStreamFrame(stream, error_code=8).serialize()
    return bytes(frames)


def _continuations() -> bytes:
    """Continuation flood, CVE-2024-28182."""
    block = Encoder().encode(GET)
    rest = ContinuationFrame(1, b"\x40\x01a\x01b").serialize()
    return HeadersFrame(1, block).serialize() + rest * 5000


def _pings() -> bytes:
    return PingFrame(0, opaque_data=b"12345678").serialize() * 20_000


def _settings() -> bytes:
    return SettingsFrame(0).serialize() * 20_000


def _overflowing_window() -> bytes:
    return WindowUpdateFrame(0, window_increment=2**31 - 1).serialize() * 3


def _data_without_stream() -> bytes:
    return DataFrame(1, b"x").serialize()


def _even_stream() -> bytes:
    return _head(2, GET, "END_STREAM")


def _compression_bomb() -> bytes:
    block = Encoder().encode([*GET, (b"x", b"y" * 4000)])
    encoder = Encoder()
    encoder.encode([(b"x", b"y" * 3900)])
    field = encoder.encode([(b"x", b"y" * 3900)])
    frame = HeadersFrame(1, block + field * 2000, flags=["END_HEADERS", "END_STREAM"])
    return frame.serialize()


def _too_many_fields() -> bytes:
    return _head(1, [*GET, *[(b"a%d" % i, b"b") for i in range(500)]], "END_STREAM")


def _noise() -> bytes:
    return bytes(range(256)) * 64


def _wrong_length() -> bytes:
    fields = [*_replaced(b":method", b"POST"), (b"content-length", b"5")]
    frame = DataFrame(1, b"toolong", flags=["END_STREAM"])
    return _head(1, fields) + frame.serialize()


def _huge_length() -> bytes:
    length = b"%d" % (limits.tool_body_bytes_max + 1)
    return _head(1, [*_replaced(b":method", b"POST"), (b"content-length", length)])


HTTP2 = [
    _data_after_answer,
    _connect_without_path,
    _connect_with_path,
    _priorities,
    _foreign_path,
    _foreign_method,
    _host_that_differs,
    _no_authority,
    _two_paths,
    _resets,
    _continuations,
    _pings,
    _settings,
    _overflowing_window,
    _data_without_stream,
    _even_stream,
    _compression_bomb,
    _too_many_fields,
    _noise,
    _wrong_length,
    _huge_length,
]
# Malformed requests, none of which may reach an application.
MALFORMED = [_foreign_path, _foreign_method, _host_that_differs, _no_authority, _two_paths]

HOST = b"Host: a\r\n"
# (what is sent, the status that answers it)
HTTP1 = {
    "length and coding": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
    "two lengths": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n",
        400,
    ),
    "coding that is not chunked": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "chunked twice": (
        b"POST / HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "bad chunk": (
        b"POST /read HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        400,
    ),
    "foreign path": (b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "foreign method": (b"G\xc3T / HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "connect": (b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "h2 preface": (PREFACE, 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "host with path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "absolute target of another host": (b"GET https://b/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "version": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "folded field": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400),
    "noise": (bytes(range(256)), 501),
    "long head": (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 70_000 + b"\r\n\r\n", 431),
    "endless target": (b"GET /" + b"a" * 70_000, 431),
    "many fields": (
        b"GET / HTTP/1.1\r\n" + HOST + b"".join([b"A%d: b\r\n" % i for i in range(300)]) + b"\r\n",
        431,
    ),
    "huge length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999\r\n\r\n", 413),
}
