"""Bounds the streams from other machines: in all, from one address, and with one certificate.

A connection counts as a handshake for some seconds. With a certificate, it then counts as a
conversation.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from crewgate import limits
from crewgate.errors import GossipError


class StreamLimiter:
    """The open streams of one sort, by the address or the certificate of the other machine."""

    def __init__(self, each_max: int) -> None:
        self._each_max = each_max
        self._open: Counter[Hashable] = Counter()

    @contextmanager
    def counted(self, key: Hashable) -> Iterator[None]:
        """Count a stream. GossipError if there are too many, in all or with this key."""
        if self._open.total() >= limits.gossip_streams_max or self._open[key] >= self._each_max:
            raise GossipError("there are too many streams")
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
