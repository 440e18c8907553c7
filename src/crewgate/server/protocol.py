"""Defines the interface between a connection and its wire protocol, HTTP/1.1 or HTTP/2.

A protocol turns the client's bytes into exchanges, and their responses into bytes. The connection
does all I/O.
"""

from typing import Protocol

from crewgate.server.exchange import Exchange, ExchangeWork
from crewgate.server.request import ClientInfo


class ConnectionHost(Protocol):
    """The parts of a connection that its protocol uses."""

    peer: ClientInfo

    def now(self) -> float:
        """Return the coarse monotonic clock, in seconds, exact to `limits.sweep_seconds`."""

    def date(self) -> bytes:
        """Return the value of a Date field (RFC 9110 §6.6.1)."""

    def dispatch(self, exchange: Exchange) -> None:
        """Call the application with a request; never raises."""

    def run(self, exchange: Exchange, work: ExchangeWork) -> None:
        """Do work on an exchange; if it returns a coroutine, run that as a task. Never raises."""

    def wake(self) -> None:
        """Have the protocol's output written at the end of this turn."""

    def resume(self) -> None:
        """Check again whether the protocol is paused."""


class WireProtocol(Protocol):
    """The parts of `HTTP1` or `HTTP2` that a connection uses.

    If `closing`, the connection closes once all bytes are written.
    """

    closing: bool

    @property
    def requests(self) -> int:
        """How many requests have arrived."""

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
