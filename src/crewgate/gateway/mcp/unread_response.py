"""The response to a message whose result passes as it comes, without the id of a session."""

from collections.abc import Sequence

from crewgate.core.http_types import HeaderField
from crewgate.core.mcp.message_rules import SESSION


class UnreadResponse:
    """A `ResponseRewriter` that reads nothing. It keeps no state, so all calls share one."""

    may_begin = True
    is_over = False

    def begin(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Do nothing."""

    def feed(self, data: bytes, *, ends: bool) -> bytes:  # noqa: ARG002
        """Return the data."""
        return data

    def head(self, headers: list[HeaderField]) -> list[HeaderField]:
        """Return the fields without the id of a session: modern servers have no sessions."""
        return [field for field in headers if field[0] != SESSION]

    def close(self) -> None:
        """Do nothing."""


UNREAD = UnreadResponse()
