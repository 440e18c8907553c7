"""A request that may be judged, with what its listener says of it, and how it is dressed to go on.

Judges nothing: what was read of the request's head is kept here until there is a verdict.
"""

import os
from collections.abc import Iterator
from typing import Self
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import structs

from crewgate import limits
from crewgate._native.audit_line import request_text
from crewgate._native.bearer import TokenFinder
from crewgate._native.fields import written
from crewgate.core.audit import records as audit
from crewgate.core.http import HeaderField
from crewgate.core.policy.routing import named_host, plain_path
from crewgate.core.problem_types import Reason
from crewgate.errors import RequestRefusedError
from crewgate.gateway.call.request_pricing import PricedRequest, price
from crewgate.gateway.forwarded import forwarded_header_lines, forwarded_headers, merged_headers
from crewgate.gateway.headers import IdentityHeaders
from crewgate.gateway.routes import RouteTable, ToolRoute
from crewgate.policy.certificate_tokens import SignedToken
from crewgate.server import Exchange, Request
from crewgate.upstream import RequestHead

UNKNOWN = -1  # no tool, for the gate
_DOTS = 2  # of a compact JWS (RFC 7515 §7.1)

Passed = bytes | list[HeaderField]


class ListenerPolicy(msgspec.Struct, frozen=True):
    """What a listener says of the requests that come through it."""

    name: str
    observe: bool = False
    hosts: frozenset[bytes] = frozenset()

    def serves(self, authority: bytes) -> bool:
        """Return whether an authority is one of `hosts`, which name a port or any."""
        return not self.hosts or named_host(authority, self.hosts) is not None


class PendingCall(msgspec.Struct, frozen=True):
    """A request that may be judged, by `token` and as a call of crew or account `crew`.

    `fields` are the client's that go upstream, as `passed` has them; None if one passes itself off
    as the gateway's: that is told to holders of a good token only, since other paths do not look at
    fields. `body` is the client's, where it has been taken; `priced` where the tool's price is not
    fixed.
    """

    exchange: Exchange
    routes: RouteTable
    entry: ToolRoute | None
    token: bytes
    crew: str | None
    fields: Passed | None
    described: audit.CallInfo
    body: bytes | None = None
    priced: PricedRequest | None = None

    def __repr__(self) -> str:
        return f"<PendingCall {self.exchange!r}>"

    @property
    def tool(self) -> int:
        """The tool's number for the gate."""
        return UNKNOWN if self.entry is None or self.fields is None else self.entry.index

    def with_price(self) -> Self:
        """The same with its price, where the tool's is not fixed.

        RequestRefusedError if it has none.
        """
        tariff = None if self.entry is None or self.fields is None else self.entry.tariff
        if tariff is None:
            return self
        request = self.exchange.request
        path = request.path if self.entry is None else self.entry.path_of(request.path)
        return structs.replace(self, priced=price(tariff, request, self.body, path))

    def with_body(self) -> Self:
        """The same with the body, where its price is read in that, and all of it is there."""
        tariff = None if self.entry is None else self.entry.tariff
        if self.body is not None or tariff is None or not tariff.reads_body:
            return self
        return structs.replace(self, body=self.exchange.take())

    @property
    def price(self) -> int:
        """What is reserved for the call; -1 for the tool's price."""
        return -1 if self.priced is None else self.priced.bound

    @property
    def length(self) -> int | None:
        """Bytes of the body that goes on, if that is known."""
        body = self.body if self.priced is None else self.priced.body
        return self.exchange.request.length if body is None else len(body)

    def head(self, entry: ToolRoute, fields: Passed, identity: IdentityHeaders) -> RequestHead:
        """Dress the request for its tool: the client's fields, whence it came, who calls, for what.

        HTTP/1.1 is given the bytes that calls share ready-made, HTTP/2 the pairs.
        """
        exchange = self.exchange
        request, name = exchange.request, request_text(self.described.id)
        target = entry.path_of(request.path) + request.target[len(request.path) :]
        origin = (exchange.peer.address, request.authority, request.version)
        if isinstance(fields, bytes):
            lines = b"%b%b%b%bx-crewgate-request: %b\r\n" % (
                fields,
                forwarded_header_lines(*origin),
                identity.lines,
                entry.lines,
                name,
            )
            return RequestHead(request.method, target, self.length, lines)
        came = forwarded_headers(*origin)
        if entry.fields.keeps_origin:
            fields, came = merged_headers(fields, came), ()
        dressed = [*fields, *came, *identity.fields, *entry.own, (b"x-crewgate-request", name)]
        if not entry.is_http2:
            return RequestHead(request.method, target, self.length, written(dressed))
        if any(name == b"te" and b"trailers" in value for name, value in request.headers):
            dressed.append((b"te", b"trailers"))  # RFC 9113 §8.2.2; gRPC asks for it
        return RequestHead(request.method, target, self.length, fields=dressed)


def extract_credentials(
    exchange: Exchange, routes: RouteTable, entry: ToolRoute | None, now: float
) -> tuple[bytes, str | None, Passed | None] | Reason:
    """Return a case's token, crew and fields, or why there is nothing to judge.

    Without a token, what the connection's certificate gives where a crossing leads to the tool's
    owner. `now` is the wall clock in seconds.
    """
    request, peer = exchange.request, exchange.peer
    crew = peer.crew
    if entry is None:
        if request.path != b"*" and plain_path(request.path) is None:
            return Reason.INVALID_REQUEST
        token = _token(routes.tokens, request)
        return token if isinstance(token, Reason) else (token, crew, [])
    token = _token(entry.tokens, request)
    if token is Reason.MISSING_TOKEN and crew is not None:
        signed = routes.crossings.find(peer, entry.owner, now)
        if isinstance(signed, SignedToken):
            token, crew = signed.token, signed.account
        elif signed is not None:
            token = signed
    if isinstance(token, Reason):
        return token
    exchange.body_bytes_max = entry.body_bytes_max
    try:
        return token, crew, forwardable_headers(request, entry, token)
    except RequestRefusedError:
        return token, crew, None


def _token(finder: TokenFinder, request: Request) -> bytes | Reason:
    """The caller's token; one that stands in the target as well, the tool would see and log.

    What has not the two dots of a token is none, and its verdict is the gate's.
    """
    token = finder.find(request.headers, request.query)
    if isinstance(token, bytes) and token.count(b".") == _DOTS and _shows(request.target, token):
        return Reason.INVALID_REQUEST
    return token


def _shows(target: bytes, token: bytes) -> bool:
    """Return whether a target holds a token, as it is or percent-encoded (RFC 3986 §2.1).

    Hardly any target is as long as a token: of the others nothing is decoded.
    """
    if len(target) < len(token):
        return False
    return token in target or (b"%" in target and token in unquote_to_bytes(target))


def forwardable_headers(request: Request, entry: ToolRoute, token: bytes) -> Passed:
    """Return the fields that go on to a tool, as lines where its server can be given lines.

    None of them holds the caller's `token`, whichever of them it was read from.
    RequestRefusedError for one that passes itself off as the gateway's.
    """
    rules = entry.fields
    if entry.is_http2 or rules.keeps_origin:
        return rules.filter.kept(request.headers, token)
    return rules.filter.written(request.headers, token)


def request_ids() -> Iterator[bytes]:
    """Yield random ids of 16 bytes; the kernel is asked for many at a time."""
    while True:
        block = os.urandom(16 * limits.request_ids_at_once)
        for start in range(0, len(block), 16):
            yield block[start : start + 16]
