"""Reads and writes a non-blocking socket to a tool's server, plain or TLS, in turns of the poller.

A write hands the kernel what it takes at once, and keeps the rest until the kernel takes more. This
module knows no HTTP and no deadlines.
"""

import socket
from typing import Protocol

from crewgate._datapath.socket_poller import SocketPoller
from crewgate._datapath.turn_work import Pollable, TurnWork
from crewgate.errors import UpstreamError

class TransportCallbacks(Protocol):
    """The wire protocol that uses a transport."""

    def received(self, data: bytes) -> None:
        """Parse bytes; raise UpstreamError if they are invalid."""
    def drained(self) -> None:
        """Take note that all queued bytes have been written."""
    def closed(self, error: OSError | None) -> None:
        """Handle a close by the server, or with `error` a broken connection.

        Raises:
            UpstreamError: a response is incomplete.
        """
    def failed(self, error: UpstreamError) -> None:
        """Handle an error after which the connection cannot be used."""

class TransportProtocol(TurnWork):
    """A compiled wire protocol: its transport calls it without making an object of what it read."""

class Transport(Pollable):
    """One connection to a tool's server; `queued` bytes wait until the kernel takes them.

    `sent` counts the bytes of plain text that the kernel took. Over TLS a record counts only as a
    whole, because no server can read a part of it.
    """

    protocol: TransportCallbacks
    sent: int

    def __init__(
        self, sock: socket.socket, poller: SocketPoller, protocol: TransportCallbacks
    ) -> None: ...
    @property
    def sock(self) -> socket.socket: ...
    @property
    def queued(self) -> int: ...
    def send(self, data: bytes) -> None:
        """Send what the kernel takes and queue the rest.

        Raises:
            OSError: the connection broke.
        """
    def pause(self) -> None:
        """Stop reading."""
    def resume(self) -> None:
        """Go on reading."""
    def is_stale(self) -> bool:
        """Return whether an unused connection has unread input: its end, or unsolicited bytes.

        The check is below TLS, where a close is visible as well, and costs a tenth of a read that
        finds nothing.
        """
    def acknowledge(self) -> None:
        """Have the kernel acknowledge the bytes read at once, instead of up to 0.2 s later.

        A server that writes head and body separately may hold the body back until the head is
        acknowledged (RFC 896).
        """
    def close(self) -> None:
        """Close at once."""
