"""Holds back the part of a response that the gateway rewrites, until the client may get it."""

from collections.abc import Sequence

from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.http_types import HeaderField
from crewgate.errors import UnusableResponseError

# Fields that describe the body that the server sent.
_OF_BODY = frozenset(
    {
        b"content-digest",
        b"content-length",
        b"content-md5",
        b"digest",
        b"etag",
        b"last-modified",
        b"repr-digest",
    }
)


class HeldResponse:
    """The part of one response that its client does not have yet.

    `collected` is what has arrived of a body that goes on as a whole, and `whole_body` what the
    client gets of it: None if it is not whole.
    """

    __slots__ = ("_crew", "_room", "_size", "collected", "whole_body")

    def __init__(self, room: FairShareLimiter, crew: str) -> None:
        """`room` bounds what all responses of a process hold back, and what those of a crew do."""
        self._room = room
        self._crew = crew
        self._size = 0  # bytes, counted in `room`
        self.collected = bytearray()
        self.whole_body: bytes | None = None

    def collect(self, data: bytes, bytes_max: int) -> None:
        """Hold the next bytes of a body that goes on as a whole, up to `bytes_max` of it.

        Raises:
            UnusableResponseError: The body is longer, or there is no room for it.
        """
        self.collected += data
        if len(self.collected) > bytes_max:
            raise too_large(bytes_max)
        self.hold(len(self.collected))

    def hold(self, size: int) -> None:
        """Count that `size` bytes are held back now.

        Raises:
            UnusableResponseError: There is no room for them.
        """
        self._room.free(self._size, self._crew)
        self._size = 0
        if not self._room.take(size, self._crew):
            raise UnusableResponseError("the gateway holds back too many other responses")
        self._size = size

    def drop(self) -> None:
        """Drop what is held back, and free its room."""
        self.collected = bytearray()
        self.hold(0)

    def head(self, headers: Sequence[HeaderField]) -> list[HeaderField]:
        """Return the headers without those of the server's body, and with the length of ours."""
        kept = [field for field in headers if field[0] not in _OF_BODY]
        if self.whole_body:
            kept.append((b"content-length", b"%d" % len(self.whole_body)))
        return kept


def too_large(bytes_max: int) -> UnusableResponseError:
    """Return the error for a response with a message of more than `bytes_max` bytes."""
    return UnusableResponseError(f"it has a message above {bytes_max} bytes")
