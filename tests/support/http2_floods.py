"""Floods of one HTTP/2 connection, as functions that make bytes; most were published as attacks."""

from collections.abc import Callable

from hpack import Encoder
from http2_frames import GET, POST, PREFACE, Fields, head, numbers, request
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    HeadersFrame,
    PriorityFrame,
    RstStreamFrame,
    WindowUpdateFrame,
)

WAIT = request(b"/wait")
COUNTED = [(b":method", b"POST"), *WAIT[1:], (b"content-length", b"5")]
STREAMS = numbers(20_000)


def broken(frame: Callable[[int], bytes], fields: Fields, *flags: str) -> bytes:
    """Requests that are each followed by a frame that makes us reset their stream."""
    encoder = Encoder()
    pieces = [head(n, fields, *flags, encoder=encoder) + frame(n) for n in STREAMS]
    return PREFACE + b"".join(pieces)


def rapid_reset() -> bytes:
    """Requests that are each reset at once (CVE-2023-44487)."""
    return broken(lambda n: RstStreamFrame(n, error_code=8).serialize(), WAIT, "END_STREAM")


def _no_window(stream: int) -> bytes:
    return WindowUpdateFrame(stream, window_increment=1).serialize()[:-4] + bytes(4)


MADE_YOU_RESET = {
    "window update of nothing": lambda: broken(_no_window, WAIT, "END_STREAM"),
    "window overflow": lambda: broken(
        lambda n: WindowUpdateFrame(n, window_increment=2**31 - 1).serialize(), WAIT, "END_STREAM"
    ),
    "data after the end": lambda: broken(
        lambda n: DataFrame(n, b"x").serialize(), WAIT, "END_STREAM"
    ),
    "head after the end": lambda: broken(
        lambda n: HeadersFrame(n, b"", flags=["END_HEADERS"]).serialize(), WAIT, "END_STREAM"
    ),
    "priority of itself": lambda: broken(
        lambda n: PriorityFrame(n, depends_on=n, stream_weight=1).serialize(), WAIT, "END_STREAM"
    ),
    "priority of four bytes": lambda: broken(
        lambda n: b"\0\0\4\2\0" + n.to_bytes(4, "big") + bytes(4), WAIT, "END_STREAM"
    ),
    "another length than declared": lambda: broken(
        lambda n: DataFrame(n, b"x", flags=["END_STREAM"]).serialize(), COUNTED
    ),
    "hop-by-hop field": lambda: broken(lambda _: b"", [*WAIT, (b"connection", b"x")], "END_STREAM"),
    "field in capitals": lambda: broken(lambda _: b"", [*WAIT, (b"X-A", b"x")], "END_STREAM"),
}


def _literals() -> bytes:
    """100,000 fields of one letter, in as many frames as they need."""
    block = Encoder().encode(GET) + b"\0\1a\1b" * 100_000
    pieces = [block[i : i + 16_384] for i in range(0, len(block), 16_384)]
    frames = [HeadersFrame(1, pieces[0], flags=["END_STREAM"]).serialize()]
    frames += [ContinuationFrame(1, piece).serialize() for piece in pieces[1:]]
    return PREFACE + b"".join(frames)


def _indexed() -> bytes:
    """A field of 4 KB, kept by the decoder and then named 16,000 times: 62 MB (an HPACK bomb)."""
    block = Encoder().encode([*GET, (b"x", b"y" * 4000)])
    rest = b"\xbe" * (16_384 - len(block))
    return PREFACE + HeadersFrame(1, block + rest, flags=["END_HEADERS"]).serialize()


FLOODS = {
    "empty data (CVE-2019-9518)": (
        lambda: PREFACE + head(1, POST) + DataFrame(1, b"").serialize() * 40_000,
        "connections_flooding",
    ),
    "frames of no known kind": (
        lambda: PREFACE + ExtensionFrame(0xEE, 0).serialize() * 100_000,
        "connections_flooding",
    ),
    "priorities (CVE-2019-9513)": (
        lambda: (
            PREFACE
            + b"".join(
                [PriorityFrame(n, depends_on=0, stream_weight=1).serialize() for n in STREAMS]
            )
        ),
        "connections_flooding",
    ),
    "settings of many entries": (
        lambda: PREFACE + b"\0\x03\x00\4\0\0\0\0\0" + bytes([0, 9, 0, 0, 0, 0]) * 128,
        "connections_flooding",
    ),
    "continuations of nothing (CVE-2024-28182)": (
        lambda: (
            PREFACE
            + HeadersFrame(1, Encoder().encode(GET)).serialize()
            + ContinuationFrame(1, b"").serialize() * 20_000
        ),
        "connections_flooding",
    ),
    "small fields": (_literals, "connections_flooding"),
    "compression bomb": (_indexed, "connections_flooding"),
    "table size beyond the setting": (
        lambda: (
            PREFACE + HeadersFrame(1, b"\x3f\xe1\xff\xff\x03", flags=["END_HEADERS"]).serialize()
        ),
        "connections_in_violation",
    ),
    "window overflow of the connection": (
        lambda: PREFACE + WindowUpdateFrame(0, window_increment=2**31 - 1).serialize() * 2,
        "connections_in_violation",
    ),
    "push from a client": (
        lambda: PREFACE + head(1, WAIT) + b"\0\0\5\5\4\0\0\0\1\0\0\0\2\x82",
        "connections_in_violation",
    ),
}
