"""The part of the pool of an upstream that each call needs; `upstream.pool` has the other part."""

from collections.abc import Mapping

from crewgate._datapath.http1_connection import HTTP1Connection
from crewgate._datapath.http2_stream import HTTP2Stream
from crewgate._datapath.retry_budget import RetryBudget
from crewgate._native.permit import Permit
from crewgate.config.upstream import Reuse
from crewgate.core.delivery import DeliveryState
from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import Host, LeastRequestBalancer
from crewgate.upstream.host_pool import HostPool
from crewgate.upstream.interfaces import CallObserver, ReuseKey, UpstreamConnection

class PoolCallbacks:
    """The interface that a pool has for its connections.

    - `first_byte_seconds`, `idle_seconds`: deadlines of a call
    - `keep_seconds`: how long the pool keeps a connection without use
    - `retries`: the pool retries a call if that is safe
    """

    first_byte_seconds: float
    idle_seconds: float
    keep_seconds: float
    retries: bool

    @property
    def now(self) -> float:
        """The monotonic clock, in seconds."""
    def left(self, connection: UpstreamConnection, *, answered: bool) -> None:
        """Count the end of a call; `answered` if the head of its response had arrived.

        Compiled connections give both arguments by position.
        """
    def freed(self, connection: UpstreamConnection) -> None:
        """Use the connection for another call."""
    def rests(self, connection: UpstreamConnection) -> None:
        """Use the connection for another call after `limits.upstream_rest_seconds`.

        Its last response ended with its head. If the server wrongly sends a body all the same, that
        arrives meanwhile and closes the connection.
        """
    def ended(self, connection: UpstreamConnection) -> None:
        """Forget the connection, which is closed."""
    def broke(
        self,
        connection: UpstreamConnection,
        caller: CallObserver,
        error: UpstreamError,
        delivery: DeliveryState,
    ) -> None:
        """Retry a call that has failed, or fail it; the connection has not notified its caller."""

class ConnectionPool(PoolCallbacks):
    """Counts the calls of one worker to an upstream, and takes back their connections.

    - `by_host`, `by_connection`: the `HostPool` of each host and of each open connection
    - `is_closed`: the pool keeps no connection
    """

    is_closed: bool

    def __init__(
        self,
        hosts: LeastRequestBalancer,
        retry_budget: RetryBudget,
        by_host: Mapping[Host, HostPool],
        by_connection: Mapping[UpstreamConnection, HostPool],
        *,
        first_byte_seconds: float,
        idle_seconds: float,
        keep_seconds: float,
        retries: bool,
        reuse: Reuse,
    ) -> None: ...
    @property
    def hosts(self) -> LeastRequestBalancer:
        """The hosts of the upstream."""
    @property
    def retry_budget(self) -> RetryBudget:
        """Its retry budget."""
    def reuse_key(self, permit: Permit) -> ReuseKey:
        """Return the key of the calls that may share a connection with this one."""
    def take_idle(
        self, reuse_key: ReuseKey, idempotent: bool
    ) -> HTTP1Connection | HTTP2Stream | None:
        """Take a stream for a straight call, and count the call.

        It does what `UpstreamPool.start` does for an ordinary call. If no connection has a stream,
        it returns None and counts no call. `idempotent` says that the pool may send the call twice.
        The caller must call `begin_straight` of the stream at once.
        """
