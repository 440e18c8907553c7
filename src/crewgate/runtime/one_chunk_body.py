"""The body of a request that httpcore sends in one chunk."""

from collections.abc import AsyncIterator


class OneChunkBody:
    """Yields `data` once.

    It is not an async generator: Trio reports one that a broken connection leaves unfinished.
    """

    def __init__(self, data: bytes) -> None:
        self._left = [data]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()
