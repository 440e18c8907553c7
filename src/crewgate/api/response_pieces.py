"""Sends a large body in pieces."""

from collections.abc import AsyncIterator

from crewgate import limits


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """Yield a body in pieces, so that a slow client causes no copy of the rest."""
    size = limits.buffer_bytes_max
    for start in range(0, len(data), size):
        yield data[start : start + size]
