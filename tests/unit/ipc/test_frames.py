"""Frames: bounded, whole, and never anything but ServiceConnectionError for garbage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.frames import PREFIX_BYTES, FrameDecoder, frame


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.data())
def test_bodies_survive_any_cutting(bodies: list[bytes], data: st.DataObject) -> None:
    """However the stream is cut, the same bodies come out in the same order."""
    stream = b"".join(frame(body) for body in bodies)
    decoder, received = FrameDecoder(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += decoder.feed(stream[:size])
        stream = stream[size:]
    assert received == bodies
    assert not decoder._buffer


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_garbage_raises_link_error_or_waits(chunks: list[bytes]) -> None:
    """Any bytes are bodies, a frame that is still open, or a ServiceConnectionError."""
    decoder = FrameDecoder()
    try:
        for chunk in chunks:
            for body in decoder.feed(chunk):
                assert 0 < len(body) <= limits.ipc_frame_bytes_max
    except ServiceConnectionError:
        return
    assert len(decoder._buffer) <= sum(map(len, chunks))


@pytest.mark.parametrize("length", [0, limits.ipc_frame_bytes_max + 1, 2**32 - 1])
def test_length_out_of_bounds_is_refused_before_its_body(length: int) -> None:
    """The bound holds on the announced length; no body needs to arrive."""
    with pytest.raises(ServiceConnectionError, match=f"frame of {length} bytes"):
        list(FrameDecoder().feed(length.to_bytes(PREFIX_BYTES, "big")))


@pytest.mark.parametrize("size", [0, limits.ipc_frame_bytes_max + 1])
def test_we_never_send_what_a_peer_must_refuse(size: int) -> None:
    """The bound holds in both directions."""
    with pytest.raises(ServiceConnectionError):
        frame(bytes(size))


def test_largest_frame_passes() -> None:
    """The bound itself is allowed."""
    body = b"x" * limits.ipc_frame_bytes_max
    assert list(FrameDecoder().feed(frame(body))) == [body]
