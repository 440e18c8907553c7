"""The interface by which an endpoint changes a response before the client gets it."""

from collections.abc import Sequence
from typing import Protocol

from crewgate.core.http_types import HeaderField


class ResponseRewriter(Protocol):
    """Changes what a client gets of a response.

    `may_begin`: the head may be sent. Each method raises UnusableResponseError for a response
    that the client must not get.
    """

    @property
    def may_begin(self) -> bool:
        """Whether the head of the response may be sent to the client."""

    @property
    def is_working(self) -> bool:
        """Whether there is more to do for what `feed` got: call it again without data."""

    @property
    def is_over(self) -> bool:
        """Whether the client has all of the response, even if its server goes on."""

    def begin(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Note the head of the response."""

    def feed(self, data: bytes, *, ends: bool) -> bytes:
        """Return what the client gets for the next bytes of the body; `ends`: it has no more.

        While the rewriter `is_working`, each call without data does one slice of its work.
        """

    def head(self, headers: list[HeaderField]) -> list[HeaderField]:
        """Return the fields for the client, when the response begins."""

    def close(self) -> None:
        """Drop what is held back, because the call has ended."""
