"""The scheme of HTTP/2: changed where it stands, whatever the framing; all else untouched."""

import random

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.sidecar.h2_scheme_rewrite import PREFACE, SchemeRewriter

HEADERS, DATA, SETTINGS, PRIORITY, CONTINUATION = 1, 0, 4, 2, 9
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20
Block = list[tuple[str, str]]

NAMES = st.text("abcdefgh-", min_size=1, max_size=200)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=400)
BLOCKS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


def frame(kind: int, flags: int, payload: bytes, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def framed(block: bytes, choose: random.Random) -> bytes:
    """HEADERS and CONTINUATIONs, with padding and priority as it comes."""
    cuts = sorted(choose.randrange(len(block) + 1) for _ in range(choose.randrange(4)))
    pieces = [block[a:b] for a, b in zip([0, *cuts], [*cuts, len(block)], strict=True)]
    flags = END_HEADERS if len(pieces) == 1 else 0
    before = after = b""
    if choose.random() < 0.5:
        flags |= PADDED
        after = b"\x86" * choose.randrange(256)
        before += bytes([len(after)])
    if choose.random() < 0.5:
        flags |= HAS_PRIORITY
        before += b"\x86\x86\x86\x86\x86"
    out = frame(HEADERS, flags, before + pieces[0] + after)
    for number, piece in enumerate(pieces[1:], 2):
        out += frame(CONTINUATION, END_HEADERS if number == len(pieces) else 0, piece)
    return out


def unframed(data: bytes) -> list[bytes]:
    """The blocks of fields of a whole connection."""
    at, blocks = len(PREFACE), []
    while at < len(data):
        length, kind, flags = int.from_bytes(data[at : at + 3]), data[at + 3], data[at + 4]
        payload = data[at + 9 : at + 9 + length]
        at += 9 + length
        if kind == HEADERS:
            pad = payload[0] if flags & PADDED else 0
            payload = payload[1:] if flags & PADDED else payload
            payload = payload[5:] if flags & HAS_PRIORITY else payload
            blocks.append(payload[: len(payload) - pad])
        elif kind == CONTINUATION:
            blocks[-1] += payload
    return blocks


def translated(data: bytes, choose: random.Random) -> bytes:
    """In pieces of any size."""
    translator, out = SchemeRewriter(), b""
    while data:
        size = choose.choice([1, 2, 7, 100, 10_000])
        piece = translator.translate(data[:size])
        assert len(piece) == len(data[:size])
        out, data = out + piece, data[size:]
    return out


@given(st.lists(BLOCKS, min_size=1, max_size=4), st.integers(0, 2**32), st.booleans())
def test_only_the_scheme_changes(blocks: list[Block], seed: int, huffman: bool) -> None:
    """Another implementation decodes what it encoded, with https in the place of http."""
    choose = random.Random(seed)
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    sent = [[(":method", "POST"), (":scheme", "http"), (":path", "/x"), *block] for block in blocks]
    data = PREFACE + frame(SETTINGS, 0, b"\x86" * 6, 0)
    for block in sent:
        data += framed(encoder.encode(block, huffman=huffman), choose)
        data += frame(DATA, 0, b"\x86" * choose.randrange(400))
        data += frame(PRIORITY, 0, b"\x86" * 5)
        if choose.random() < 0.3:
            encoder.header_table_size = choose.choice([0, 100, 4096])
    out = translated(data, choose)
    heard = [[tuple(field) for field in decoder.decode(block)] for block in unframed(out)]
    assert heard == [
        [(name, "https" if name == ":scheme" else value) for name, value in block] for block in sent
    ]
    changed = [at for at, (a, b) in enumerate(zip(data, out, strict=True)) if a != b]
    assert len(changed) == len(blocks)
    assert {(data[at], out[at]) for at in changed} == {(0x86, 0x87)}


@given(st.binary(max_size=2000), st.integers(0, 2**32))
def test_whatever_comes_goes_on(data: bytes, seed: int) -> None:
    """Nonsense keeps its length, in whatever pieces, and nothing but 0x86 is ever changed."""
    data = PREFACE + data
    out = translated(data, random.Random(seed))
    assert SchemeRewriter().translate(data) == out
    assert {(a, b) for a, b in zip(data, out, strict=True) if a != b} <= {(0x86, 0x87)}


@pytest.mark.parametrize("flags", [PADDED, HAS_PRIORITY, PADDED | HAS_PRIORITY])
@pytest.mark.parametrize("size", range(8))
def test_a_frame_that_is_too_short_for_its_flags(flags: int, size: int) -> None:
    """The next frame is found again."""
    data = PREFACE + frame(HEADERS, flags, b"\x05" * size) + frame(HEADERS, END_HEADERS, b"\x86")
    assert SchemeRewriter().translate(data)[-1] == 0x87
