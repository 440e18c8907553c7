"""Who may have a stream to us, and how many: strangers few, and a member no more than it needs.

Whoever connects has a place among the handshakes for seconds, and then one among the conversations,
if there is a certificate behind it.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from crewgate import limits
from crewgate.errors import GossipError

K = TypeVar("K", str, bytes)


class StreamLimiter:
    """Those who are here now."""

    def __init__(self) -> None:
        self._handshakes: Counter[str] = Counter()  # by address
        self._conversations: Counter[bytes] = Counter()  # by leaf

    def __repr__(self) -> str:
        shaking, talking = self._handshakes.total(), self._conversations.total()
        return f"<StreamLimiter handshakes={shaking} conversations={talking}>"

    @contextmanager
    def shaking(self, address: str) -> Iterator[None]:
        """While nobody knows who it is; GossipError for one too many."""
        with _place(self._handshakes, address, limits.gossip_handshakes_each_max):
            yield

    @contextmanager
    def talking(self, leaf: bytes) -> Iterator[None]:
        """While one with this certificate has its say; GossipError for one too many."""
        with _place(self._conversations, leaf, limits.gossip_streams_each_max):
            yield


@contextmanager
def _place(taken: Counter[K], who: K, most: int) -> Iterator[None]:
    if taken.total() >= limits.gossip_streams_max or taken[who] >= most:
        raise GossipError("a stream too many")
    taken[who] += 1
    try:
        yield
    finally:
        taken[who] -= 1
        if not taken[who]:
            del taken[who]
