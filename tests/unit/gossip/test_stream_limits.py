"""Streams from others are bounded in all, for each address, and for each certificate."""

from contextlib import ExitStack

import pytest

from crewgate import limits
from crewgate.errors import GossipError
from crewgate.gossip.stream_limits import StreamLimiter


def test_one_address_has_a_part_of_the_handshakes() -> None:
    """Others come in beside it; what has ended counts no more."""
    callers = StreamLimiter()
    with ExitStack() as stack:
        for _ in range(limits.gossip_handshakes_each_max):
            stack.enter_context(callers.shaking("192.0.2.1"))
        with (
            pytest.raises(GossipError, match="there are too many streams"),
            callers.shaking("192.0.2.1"),
        ):
            pass
        with callers.shaking("192.0.2.2"), callers.talking(b"leaf"):
            assert (callers._handshakes.total(), callers._conversations.total()) == (17, 1)
    assert not callers._conversations
    assert not callers._handshakes


def test_all_of_them_have_an_end() -> None:
    """However many addresses and certificates there are."""
    callers = StreamLimiter()
    with ExitStack() as stack:
        for number in range(limits.gossip_streams_max):
            stack.enter_context(callers.shaking(str(number)))
            stack.enter_context(callers.talking(number.to_bytes(2)))
        with pytest.raises(GossipError), callers.shaking("another"):
            pass
        with pytest.raises(GossipError), callers.talking(b"another"):
            pass


def test_one_certificate_talks_twice_at_most() -> None:
    """Also after a conversation that failed."""
    callers = StreamLimiter()
    with ExitStack() as stack:
        for _ in range(limits.gossip_streams_each_max):
            stack.enter_context(callers.talking(b"leaf"))
        with pytest.raises(GossipError), callers.talking(b"leaf"):
            pass
    with pytest.raises(ValueError, match="it failed"), callers.talking(b"leaf"):
        raise ValueError("it failed")
    assert not callers._conversations
