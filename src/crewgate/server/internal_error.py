"""Ends an exchange whose work has failed with an internal error."""

from crewgate.core import problems
from crewgate.server.exchange import Exchange

_INTERNAL_ERROR = 2  # RFC 9113 §7


def respond_internal_error(exchange: Exchange) -> None:
    """Respond with the status 500; if the response has begun, reset its stream."""
    if exchange.started:
        exchange.reset(_INTERNAL_ERROR)
    else:
        exchange.respond(*problems.of_wire(500, exchange.request.headers))
