"""Streams from others are bounded in all, for each address, and for each certificate."""

from contextlib import ExitStack

import pytest

from crewgate import limits
from crewgate.errors import GossipError
from crewgate.gossip.stream_limits import StreamLimiter


def test_one_address_has_a_part_of_the_handshakes() -> None:
    """Others come in beside it; what has ended counts no more."""
    handshakes = StreamLimiter(limits.gossip_handshakes_each_max)
    with ExitStack() as stack:
        for _ in range(limits.gossip_handshakes_each_max):
            stack.enter_context(handshakes.counted("192.0.2.1"))
        with (
            pytest.raises(GossipError, match="there are too many streams"),
            handshakes.counted("192.0.2.1"),
        ):
            pass
        with handshakes.counted("192.0.2.2"):
            assert handshakes._open.total() == 17
    assert not handshakes._open


def test_all_of_them_have_an_end() -> None:
    """However many addresses and certificates there are."""
    handshakes = StreamLimiter(limits.gossip_handshakes_each_max)
    conversations = StreamLimiter(limits.gossip_streams_each_max)
    with ExitStack() as stack:
        for number in range(limits.gossip_streams_max):
            stack.enter_context(handshakes.counted(str(number)))
            stack.enter_context(conversations.counted(number.to_bytes(2)))
        with pytest.raises(GossipError), handshakes.counted("another"):
            pass
        with pytest.raises(GossipError), conversations.counted(b"another"):
            pass


def test_one_certificate_talks_twice_at_most() -> None:
    """Also after a conversation that failed."""
    conversations = StreamLimiter(limits.gossip_streams_each_max)
    with ExitStack() as stack:
        for _ in range(limits.gossip_streams_each_max):
            stack.enter_context(conversations.counted(b"leaf"))
        with pytest.raises(GossipError), conversations.counted(b"leaf"):
            pass
    with pytest.raises(ValueError, match="it failed"), conversations.counted(b"leaf"):
        raise ValueError("it failed")
    assert not conversations._open
