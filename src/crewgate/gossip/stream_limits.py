"""Bounds the streams from other machines: in all, from one address, and with one certificate.

A connection counts as a handshake for some seconds. With a certificate, it then counts as a
conversation.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from crewgate import limits
from crewgate.errors import GossipError

K = TypeVar("K", str, bytes)


class StreamLimiter:
    """The open streams from other machines."""

    def __init__(self) -> None:
        self._handshakes: Counter[str] = Counter()  # by address
        self._conversations: Counter[bytes] = Counter()  # by leaf certificate

    @contextmanager
    def shaking(self, address: str) -> Iterator[None]:
        """Count a handshake from `address`. GossipError if there are too many."""
        with _counted(self._handshakes, address, limits.gossip_handshakes_each_max):
            yield

    @contextmanager
    def talking(self, leaf: bytes) -> Iterator[None]:
        """Count a conversation with this certificate. GossipError if there are too many."""
        with _counted(self._conversations, leaf, limits.gossip_streams_each_max):
            yield


@contextmanager
def _counted(streams: Counter[K], key: K, max_each: int) -> Iterator[None]:
    if streams.total() >= limits.gossip_streams_max or streams[key] >= max_each:
        raise GossipError("there are too many streams")
    streams[key] += 1
    try:
        yield
    finally:
        streams[key] -= 1
        if not streams[key]:
            del streams[key]
