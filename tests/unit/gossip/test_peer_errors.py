"""What is wrong with a peer is said once, until it is something else."""

import errno

import pytest
import trio

from crewgate.errors import GossipError
from crewgate.gossip.peer_errors import PeerErrors, reason

PEER, OTHER = ("10.0.0.2", 8446), ("fd00::2", 8446)


def test_it_is_said_once_and_kept() -> None:
    """And again when it has been well meanwhile; of peers that are asked for."""
    said = list[str]()
    complaints = PeerErrors(said.append)
    for why in ("slow", "slow", "", "slow", "gone"):
        complaints.note(PEER, why)
    assert said == [f"peer 10.0.0.2:8446: {why}" for why in ("slow", "slow", "gone")]
    complaints.note(OTHER, "slow")
    assert complaints.of([PEER, OTHER]) == ["10.0.0.2:8446 (gone)", "[fd00::2]:8446 (slow)"]
    assert complaints.of([OTHER]) == ["[fd00::2]:8446 (slow)"]
    complaints.note(PEER, "")
    assert complaints.of([PEER]) == []


async def test_why_nothing_listens_there_is_in_few_words() -> None:
    """The system's, and not where that was, which is said before."""
    with pytest.raises(OSError, match="connect") as raised:
        await trio.open_tcp_stream("127.0.0.1", 1)
    assert reason(raised.value) == "Connection refused"
    assert reason(OSError(errno.EIO, "x")) == "[Errno 5] x"
    assert reason(GossipError("no answer in time")) == "no answer in time"
