"""Carries straight calls from their permit to their audit record, by compiled code alone.

If a call does not go as usual, it becomes an ordinary one, and the Python way goes on with it.
"""

from crewgate._datapath.http2_protocol import RequestTaker
from crewgate._datapath.in_flight import InFlightCall
from crewgate._datapath.straight_routes import RoutedListener, StraightRoute, StraightRoutes
from crewgate._native.presenter import Presenter
from crewgate._native.request_id import RequestIds
from crewgate.core.audit.records import CallInfo
from crewgate.core.trace_context import TraceContext
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.straight_support import StraightSupport
from crewgate.server.request import ClientInfo
from crewgate.upstream.interfaces import ReuseKey

class StraightCalls:
    """The parts of a gateway that the straight calls of one listener use, and their counts."""

    @property
    def done(self) -> int:
        """How many calls it has carried to their end."""

    @property
    def given_up(self) -> int:
        """How many calls it has begun that have become ordinary ones."""

    def __init__(
        self,
        gateway: RoutedListener,
        services: CallServices,
        support: StraightSupport,
        request_ids: RequestIds,
    ) -> None:
        """`gateway` has the policy and the routes in force, which a reload replaces."""

    def taker(self, peer: ClientInfo) -> RequestTaker:
        """Return the taker of the straight requests that come over one connection of `peer`."""

class StraightCall(InFlightCall):
    """A straight call in flight, until it is answered or becomes an ordinary call.

    While it waits for a connection, it is a `CallObserver` of the pool. On the monotonic clock:
    `arrived_ns` is when its request arrived, `started_ns` when it was permitted, and `sent_ns` when
    its request went upstream.
    """

    attempts: int
    reuse_key: ReuseKey

    @property
    def route(self) -> StraightRoute:
        """Its route."""

    @property
    def routes(self) -> StraightRoutes:
        """The routes of the configuration that it began with."""

    @property
    def token(self) -> bytes:
        """The token of its caller."""

    @property
    def presenter(self) -> Presenter | None:
        """What its client shows beside the token."""

    @property
    def body(self) -> bytes:
        """The body of its request."""

    @property
    def trace(self) -> TraceContext | None:
        """Its place in a trace; None if it belongs to none."""

    @property
    def started_ns(self) -> int:
        """When it was permitted."""

    @property
    def sent_ns(self) -> int:
        """When its request went upstream; 0 while it waits."""

    @property
    def info(self) -> CallInfo:
        """Its facts, as the audit records them."""
