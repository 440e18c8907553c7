"""What a connection and a protocol expect of each other; neither knows how the other works.

A protocol turns bytes into exchanges and exchanges' answers into bytes, without I/O of its own.
"""

from typing import Protocol

from crewgate.server.exchange import Exchange
from crewgate.server.request import ClientInfo


class ConnectionHost(Protocol):
    """The connection, as a protocol sees it."""

    peer: ClientInfo

    def now(self) -> float:
        """Return the coarse monotonic clock in seconds, exact to the sweeper's interval."""

    def date(self) -> bytes:
        """Return the value of a Date field (RFC 9110 §6.6.1)."""

    def dispatch(self, exchange: Exchange) -> None:
        """Hand a request to the application; never raises."""

    def wake(self) -> None:
        """Ask for bytes soon."""

    def resume(self) -> None:
        """Look again whether the protocol is paused."""


class WireProtocol(Protocol):
    """HTTP/1.1 or HTTP/2, as a connection sees it."""

    closing: bool  # when all bytes are written, the connection is over

    @property
    def paused(self) -> bool:
        """Whether nothing is to be read now; `ConnectionHost.resume` is called when that ends."""

    @property
    def has_output(self) -> bool:
        """Whether `bytes_to_send` has something, or the connection is to be closed."""

    def receive(self, data: bytes) -> bool:
        """Take bytes from the client; True if more of a body is likely to follow at once.

        A violation ends in `closing`, never in an exception.
        """

    def bytes_to_send(self) -> bytes:
        """Return the next bytes for the client, at most about `limits.send_bytes`; b"" for none."""

    def sent_all(self) -> bool:
        """Hear that everything returned so far was written; True if more is due by that."""

    def lose(self) -> None:
        """Hear that the client has gone."""

    def drain(self, *, urgent: bool) -> None:
        """Take no further requests, and close when those under way are answered.

        One that is not `urgent` lets a client that is about to ask do so, and tells it in time.
        """

    def sweep(self, now: float) -> bool:
        """End what is overdue; return False if the whole connection is."""
