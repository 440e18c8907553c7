"""Decides which requests are straight: which calls compiled code carries alone, without Python.

The source, ext/crewgate/_datapath/straight_routes.pyx, begins with the conditions.
"""

from collections.abc import Callable

from crewgate.core.http_types import HeaderField
from crewgate.gateway.call.call_digests import CallDigests
from crewgate.gateway.call.undecided_call import ListenerPolicy
from crewgate.gateway.routes import RouteTable
from crewgate.gateway.tool_route import ToolRoute

def is_straight_route(entry: ToolRoute, method: bytes, path: bytes) -> bool:
    """Return whether the calls of a literal route may be straight."""

class RoutedListener:
    """The base of a listener's gateway. A reload replaces its policy and its routes."""

    policy: ListenerPolicy
    routes: RouteTable

class StraightRoute:
    """A route whose calls may be straight, with all that they have in common."""

    @property
    def entry(self) -> ToolRoute:
        """The route as the Python way knows it."""

    @property
    def method(self) -> str:
        """The method of its requests."""

    def __init__(
        self,
        entry: ToolRoute,
        method: bytes,
        path: bytes,
        via: bytes,
        trace_sample: float,
        digests: CallDigests,
    ) -> None:
        """`path` is the literal path that clients use, and `via` the Via field of answers.

        `trace_sample` is the share of calls without a trace that begin one.
        """

class StraightRoutes:
    """The straight routes of one listener and configuration, by host, method and path."""

    @property
    def policy(self) -> ListenerPolicy:
        """The rules of the listener."""

    @property
    def table(self) -> RouteTable:
        """All routes of the configuration."""

    def __init__(
        self,
        policy: ListenerPolicy,
        table: RouteTable,
        via_of: Callable[[str], HeaderField],
        digests: CallDigests,
    ) -> None:
        """`via_of` returns the Via field for the HTTP version of an answer."""
