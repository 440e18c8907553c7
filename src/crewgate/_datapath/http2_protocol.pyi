"""Speaks HTTP/2 with one client: carries the bytes, counts them, and passes the events on.

A flow-control window opens when the application has read the bytes. This module knows no
application: its subclass (crewgate/server/http2.py) serves exchanges. A native caller
(http2_protocol.pxd) may take a request before that, and answer it itself.
"""

from collections.abc import Sequence
from typing import Any

import ngh2

from crewgate._datapath.connection_usage_limit import ConnectionUsageLimit
from crewgate._datapath.http2_engine import HTTP2Engine
from crewgate._datapath.wire_protocol import NativeWireProtocol
from crewgate._native.presenter import Presenter
from crewgate.core.http_types import HeaderField
from crewgate.server.http2_shutdown import GracefulShutdown
from crewgate.server.listener_counters import ListenerCounters
from crewgate.server.protocol import ConnectionHost

class RequestTaker:
    """Decides which requests compiled code answers. Only native code can subclass it."""

class HTTP2Protocol(NativeWireProtocol):
    """The native half of `HTTP2`; a `WireProtocol`.

    `exchanges` are those of the open streams, by stream number. `blocked` are those whose `send`
    waits until less of their response is queued. `shutdown` is None before a drain begins. Without
    a `taker`, each request becomes an exchange.
    """

    host: ConnectionHost
    closing: bool
    shutdown: GracefulShutdown | None
    taker: RequestTaker | None

    def __init__(
        self,
        host: ConnectionHost,
        engine: HTTP2Engine | ngh2.Connection,
        counters: ListenerCounters,
    ) -> None: ...
    @property
    def counters(self) -> ListenerCounters: ...
    @property
    def usage(self) -> ConnectionUsageLimit: ...
    @property
    def exchanges(self) -> dict[int, Any]: ...
    @property
    def blocked(self) -> set[Any]: ...
    @property
    def requests(self) -> int:
        """How many requests have arrived."""

    @property
    def paused(self) -> bool:
        """Whether the socket must not read now.

        A client that only sends a body is slowed down by its windows. A client that keeps sending
        while it leaves the server's frames unread is not read.
        """

    @property
    def has_output(self) -> bool:
        """Whether there are bytes to send, or the connection is to be closed."""

    def receive(self, data: bytes) -> bool:
        """Parse bytes from the client; return True if most of them were of bodies."""

    def bytes_to_send(self) -> bytes:
        """Return the next bytes for the client, which has taken all earlier ones."""

    def sent_all(self) -> bool:
        """Close if a drain or a GOAWAY is complete; return True if there is more to send."""

    def lose(self) -> None:
        """End all exchanges and native calls, because the client has disconnected."""

    def sweep(self, now: float) -> bool:
        """End what is overdue or idle; return False if the connection must be aborted."""

    # The subclass has these.

    def drain(self, *, urgent: bool) -> None: ...
    def drain_if_idle(self, idle: float) -> bool: ...
    def sweep_exchanges(self, now: float) -> None: ...
    def request_received(
        self,
        stream: int,
        fields: Sequence[HeaderField],
        ends: bool,
        presenter: Presenter | None = None,
        request_id: bytes | None = None,
    ) -> None: ...
    def new_exchange(self, stream: int, fields: Sequence[HeaderField], ends: bool) -> Any: ...  # noqa: ANN401
    def data_received(self, stream: int, data: bytes, ends: bool) -> None: ...
    def trailers_received(self, stream: int, fields: Sequence[HeaderField]) -> None: ...
    def stream_closed(self, stream: int) -> None: ...
    def release_blocked(self) -> None: ...
