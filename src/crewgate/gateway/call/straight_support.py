"""Gives straight calls the functions of Python that they need, and makes ordinary calls of them.

`_datapath/straight_call` carries a straight call as long as the call goes as usual. Otherwise it
gives the call to `ordinary_call`, which makes a `ProxiedCall`. That is in the state that it
would be in if it had carried the call from the start.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from crewgate._datapath.grant_cache import GrantCache
from crewgate._datapath.straight_call import StraightCall, StraightCalls
from crewgate._datapath.straight_routes import RoutedListener
from crewgate._native.metrics import CallBatch
from crewgate._native.request_id import RequestIds
from crewgate.core.http_types import HeaderField
from crewgate.core.trace_context import TraceContext
from crewgate.gateway.call.call_description import network_of
from crewgate.gateway.call.call_metrics import add_exemplar
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.proxied_call import ProxiedCall
from crewgate.gateway.call.undecided_call import UndecidedCall, forwardable_headers
from crewgate.gateway.forwarded_headers import forwarded_header_lines, forwarded_headers, via
from crewgate.gateway.headers import IdentityHeaders
from crewgate.gateway.trace_propagation import trace_of
from crewgate.server.exchange import Exchange
from crewgate.upstream.interfaces import RequestStream

OrdinaryCallMaker = Callable[[StraightCall, Exchange, RequestStream | None], ProxiedCall]


class StraightSupport(NamedTuple):
    """The functions of the gateway that straight calls use.

    `identities` has the fields that tell a tool who calls. `network_of` returns the network of an
    address, for the audit. `origin_lines` returns the fields that tell a tool where a request came
    from, as lines of HTTP/1.1, and `origin_fields` returns them as pairs. The arguments of both are
    the client's address, the authority and the HTTP version of the request.
    """

    identities: "GrantCache[IdentityHeaders]"
    ordinary_call: OrdinaryCallMaker
    network_of: Callable[[str], str] = network_of
    origin_lines: Callable[[str, bytes, str], bytes] = forwarded_header_lines
    origin_fields: Callable[[str, bytes, str], tuple[HeaderField, ...]] = forwarded_headers
    trace_of: Callable[[Sequence[HeaderField], float], TraceContext | None] = trace_of
    via_of: Callable[[str], HeaderField] = via
    add_exemplar: Callable[[CallBatch, str], None] = add_exemplar


def straight_calls(
    gateway: RoutedListener,
    services: CallServices,
    identities: "GrantCache[IdentityHeaders]",
    request_ids: RequestIds,
) -> StraightCalls:
    """Return the `StraightCalls` of the listener that `gateway` serves."""
    support = StraightSupport(identities, partial(ordinary_call, services, identities))
    return StraightCalls(gateway, services, support, request_ids)


def ordinary_call(
    services: CallServices,
    identities: "GrantCache[IdentityHeaders]",
    call: StraightCall,
    exchange: Exchange,
    stream: RequestStream | None,
) -> ProxiedCall:
    """Return the ordinary call that goes on in place of a straight one.

    `exchange` is that of its request. `stream` carries the request upstream; it is None if the call
    waits for a connection.
    """
    entry, token, grant = call.route.entry, call.token, call.permit.grant
    exchange.body_bytes_max = entry.body_bytes_max
    fields = forwardable_headers(exchange.request, entry, token)
    pending = UndecidedCall(
        exchange, call.routes.table, entry, token, call.presenter, fields, call.info, call.trace
    )
    head = pending.head(entry, fields, identities.of(grant))
    ordinary = ProxiedCall(services, pending, entry, head, call.permit)
    ordinary.take_over(stream, call.started_ns, call.sent_ns or call.started_ns, call.body)
    ordinary.attempts = call.attempts  # those that it made while it waited count as well
    services.in_flight.replace(call, ordinary)
    return ordinary
