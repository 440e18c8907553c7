"""Makes request ids of 16 random bytes; one system call makes many of them."""

from collections.abc import Iterator

class RequestIds(Iterator[bytes]):
    """An endless iterator of request ids."""

    def __next__(self) -> bytes: ...
