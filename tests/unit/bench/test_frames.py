"""HTTP/2 by hand, against libraries that did not write it: hpack and h2."""

import pytest
from hpack import Decoder, Encoder

from bench.hop import frames
from bench.hop.frames import Frame, Frames


@pytest.mark.parametrize("token", ["", "short", "x" * 960, "y" * 20_000])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_head_is_what_hpack_reads(method: str, token: str) -> None:
    """Pseudo fields first, the token never indexed, lengths of every size."""
    decoder = Decoder(max_header_list_size=65_536)
    shown = [("authorization", f"Bearer {token}")] if token else []
    for _ in range(2):  # the second time nothing may lean on the first
        block = frames.head(method, "127.0.0.1:8443", "/page", token)
        assert [(str(name), str(value)) for name, value in decoder.decode(block)] == [
            (":method", method),
            (":scheme", "https"),
            (":authority", "127.0.0.1:8443"),
            (":path", "/page"),
            *shown,
        ]


@pytest.mark.parametrize(("status", "good"), [("200", True), ("404", False), ("401", False)])
def test_the_status_of_an_answer_is_seen(status: str, *, good: bool) -> None:
    """Also after a change of the table's size."""
    encoder = Encoder()
    fields = [(":status", status), ("content-type", "text/plain")]
    assert frames.is_200(encoder.encode(fields)) is good
    encoder.header_table_size = 100
    assert frames.is_200(encoder.encode(fields)) is good
    assert not frames.is_200(b"")


def test_frames_come_whole_however_they_are_cut() -> None:
    """Byte for byte the same as at once."""
    sent = [
        Frame(frames.SETTINGS, 0, 0, bytes(6)),
        Frame(frames.DATA, frames.END_STREAM, 3, b"body"),
        Frame(frames.PING, frames.ACK, 0, b"12345678"),
    ]
    data = b"".join(frames.frame(*each) for each in sent)
    assert list(Frames().feed(data)) == sent
    split = Frames()
    assert [each for byte in data for each in split.feed(bytes([byte]))] == sent


def test_a_head_loses_padding_and_priority() -> None:
    """RFC 9113, section 6.2."""
    flags = frames.PADDED | frames.PRIORITY | frames.END_HEADERS
    data = frames.frame(frames.HEADERS, flags, 1, b"\x02" + bytes(5) + b"\x88" + bytes(2))
    (found,) = Frames().feed(data)
    assert found.payload == b"\x88"


def test_settings_are_pairs() -> None:
    """Written and read."""
    (found,) = Frames().feed(frames.settings({4: 2**30, 3: 7}))
    assert dict(frames.setting_pairs(found.payload)) == {4: 2**30, 3: 7}
