"""Reads the response of a call on after its client has left, and drops it.

Some protocols do not let a client cancel a request by leaving: the tool goes on. The gateway then
reads on too, within limits, so that a server that knows no better goes on, and so that the gateway
notes which tasks the response begins.
"""

from collections.abc import Callable

from crewgate import limits
from crewgate.errors import UnusableResponseError
from crewgate.gateway.call.call_services import CallServices

# Drops what has arrived; returns how many bytes that is, and whether it is all.
Drop = Callable[[], tuple[int, bool]]


class DetachedResponse:
    """The rest of one response; `end` ends its call, and `close` the reading."""

    __slots__ = ("_bytes", "_cancel_timer", "_crew", "_drop", "_end", "_services")

    def __init__(
        self, services: CallServices, crew: str, drop: Drop, end: Callable[[], None]
    ) -> None:
        """The caller has taken one of `services.detached` for the crew."""
        self._services = services
        self._crew = crew
        self._drop = drop
        self._end = end
        self._bytes = 0
        self._cancel_timer = services.background_tasks.later(limits.detached_call_seconds_max, end)

    def read(self) -> None:
        """Drop what has arrived; end the call if that is all, or too much."""
        try:
            size, is_whole = self._drop()
        except UnusableResponseError:
            size, is_whole = 0, True
        self._bytes += size
        if is_whole or self._bytes > limits.detached_call_bytes_max:
            self._end()

    def close(self) -> None:
        """Cancel the deadline, and free the place."""
        self._cancel_timer()
        self._services.detached.free(1, self._crew)
