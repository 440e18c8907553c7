"""Defines what a connection needs of its wire protocol, HTTP/1.1 or HTTP/2.

A protocol turns the client's bytes into exchanges, and their responses into bytes. The connection
does all I/O.
"""

from typing import Protocol


class WireProtocol(Protocol):
    """The parts of `HTTP1` or `HTTP2` that a connection uses.

    If `closing`, the connection closes once all bytes are written.
    """

    closing: bool

    @property
    def paused(self) -> bool:
        """Whether nothing is to be read now; the protocol calls `resume` when that ends."""

    @property
    def has_output(self) -> bool:
        """Whether `bytes_to_send` has something, or the connection is to be closed."""

    def receive(self, data: bytes) -> bool:
        """Parse bytes from the client; return True if more of a body is likely to follow at once.

        A protocol violation sets `closing`; it never raises an exception.
        """

    def bytes_to_send(self) -> bytes:
        """Return the next bytes for the client, at most about `limits.send_bytes`; b"" for none."""

    def sent_all(self) -> bool:
        """Act once all returned bytes are written; return True if that produced more bytes."""

    def lose(self) -> None:
        """End all exchanges, because the client has disconnected."""

    def drain(self, *, urgent: bool) -> None:
        """Accept no further requests, and close after those under way.

        If the drain is not `urgent`, a request that the client is about to send is still served,
        and the client learns in time that the connection closes.
        """

    def sweep(self, now: float) -> bool:
        """End what is overdue at `now`; return False if the connection must be aborted."""
