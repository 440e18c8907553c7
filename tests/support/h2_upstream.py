"""An HTTP/2 connection to a tool's server without a loop: a test takes turns, and is the server.

The sockets are real, because what the kernel took is what decides; the server's engine is ngh2.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import ngh2

from crewgate._datapath.connection_pool import PoolCallbacks
from crewgate._datapath.http2_connection import HTTP2Connection
from crewgate._datapath.socket_poller import SocketPoller
from crewgate.config import UpstreamOrigin
from crewgate.core.delivery import DeliveryState
from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import Host, SocketAddress
from crewgate.upstream.interfaces import CallObserver, RequestHead, RequestStream

Connection = TypeVar("Connection")
POST = RequestHead(b"POST", b"/", None)
GET = RequestHead(b"GET", b"/", 0)
WIDE = {ngh2.Setting.INITIAL_WINDOW_SIZE: 2**30}


class Turns(SocketPoller):
    """The poller of a worker, without its loop."""

    def take(self) -> None:
        """One turn: what is ready, then what is due."""
        self.take_turn()
        self.finish()


class Call:
    """A caller that reads only if it `reads`, and remembers what it was told."""

    def __init__(
        self, head: RequestHead = GET, *, is_open: bool = False, reads: bool = True
    ) -> None:
        self.head, self.is_open, self.reads = head, is_open, reads
        self.attempts, self.over = 0, False
        self.wait_turn = ("",)
        self.repeatable = self.idempotent = not is_open
        self.body = b""
        self.told = 0
        self.error: UpstreamError | None = None
        self.fate: DeliveryState | None = None
        self._carrier: RequestStream | None = None

    @property
    def carrier(self) -> RequestStream:
        assert self._carrier is not None
        return self._carrier

    def begun(self, carrier: RequestStream) -> None:
        self._carrier = carrier
        carrier.begin(self.head, b"", ends=not self.is_open)

    def again(self) -> None:
        self._carrier = None

    def progressed(self) -> None:
        self.told += 1
        if self.reads:
            self.body += self.carrier.answer.take()
        else:
            self.carrier.pause()

    def writable(self) -> None:
        pass

    def failed(self, error: UpstreamError) -> None:
        self.error = error


class Owner(PoolCallbacks):
    """The pool's side: what it was told."""

    def __init__(self) -> None:
        self.first_byte_seconds = self.idle_seconds = self.keep_seconds = 10.0
        self.retries = True
        self.freed_times = self.left_times = self.ended_times = self.rested_times = 0
        self.broken: list[tuple[CallObserver, DeliveryState]] = []

    def left(self, connection: object, answered: bool) -> None:
        self.left_times += 1

    def freed(self, connection: object) -> None:
        self.freed_times += 1

    def rests(self, connection: object) -> None:
        self.rested_times += 1

    def ended(self, connection: object) -> None:
        self.ended_times += 1

    def broke(
        self, connection: object, caller: Call, error: UpstreamError, fate: DeliveryState
    ) -> None:
        caller.fate = fate
        self.broken.append((caller, fate))
        caller.failed(error)


def connected(
    kind: Callable[..., Connection], turns: Turns, owner: Owner
) -> tuple[Connection, socket.socket]:
    """A connection of this kind whose kernel holds little, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for sock in (ours, theirs):
        sock.settimeout(0)
    member = Host(
        UpstreamOrigin("http", "tool", 80), SocketAddress(socket.AF_INET, ("tool", 80)), None
    )
    return kind(ours, turns, owner, b"tool", member), theirs


class Line:
    """A connection, and the server at its other end; `heard` are the server's events."""

    def __init__(
        self, settings: dict[ngh2.Setting, int] | None = None, *, greets: bool = True
    ) -> None:
        self.turns, self.owner = Turns(), Owner()
        self.connection, self.theirs = connected(HTTP2Connection, self.turns, self.owner)
        self.server = ngh2.Connection(ngh2.Role.SERVER)
        self.server.initiate_connection(settings)
        self.heard: list[ngh2.Event] = []
        self._unsent = b""
        if greets:
            self.exchange()

    def call(self, head: RequestHead = GET, **how: bool) -> Call:
        call = Call(head, **how)
        self.connection.carry(call)  # type: ignore[arg-type]
        return call

    def serve(self) -> None:
        """The server reads what there is, and sends what it has to say."""
        with suppress(BlockingIOError):
            while data := self.theirs.recv(2**20):
                self.server.receive_data(data)
        self.heard += self.server.events()
        self._unsent += self.server.data_to_send()
        with suppress(BlockingIOError, BrokenPipeError):
            self._unsent = self._unsent[self.theirs.send(self._unsent) :]

    def exchange(self) -> None:
        """Turns of both, until nothing more comes of them."""
        for _ in range(64):
            self.turns.take()
            self.serve()

    def close(self) -> None:
        self.connection.abort()
        self.theirs.close()
