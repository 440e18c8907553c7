"""A request that waits for its verdict: its token, its price, and the headers that go upstream.

The verdict is not made here: `UndecidedCall` keeps what was read of the request's head until the
gate has decided.
"""

from collections.abc import Sequence
from typing import Self
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import structs

from crewgate._native.audit_line import request_text
from crewgate._native.bearer import TokenFinder
from crewgate._native.fields import written
from crewgate._native.presenter import Presenter
from crewgate._native.proof import Origin, Proof
from crewgate.core.audit import records as audit
from crewgate.core.bearer import Credentials
from crewgate.core.http_types import HeaderField
from crewgate.core.policy.routing import named_host, plain_path
from crewgate.core.pricing.tariff import Tariff
from crewgate.core.reasons import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.core.trace_context import TraceContext
from crewgate.errors import InvalidRequestError
from crewgate.gateway.call.request_pricing import PricedRequest, price
from crewgate.gateway.cors import is_from_page
from crewgate.gateway.endpoint import JudgedRequest
from crewgate.gateway.forwarded_headers import (
    forwarded_header_lines,
    forwarded_headers,
    merged_headers,
)
from crewgate.gateway.headers import IdentityHeaders
from crewgate.gateway.routes import RouteTable
from crewgate.gateway.tool_route import ToolRoute
from crewgate.server.exchange import Exchange
from crewgate.server.request import ClientInfo, Request
from crewgate.upstream.interfaces import RequestHead

UNKNOWN = -1  # the gate's number for no tool
_JWS_DOTS = 2  # in a compact JWS (RFC 7515 §7.1)

Passed = bytes | list[HeaderField]


class ListenerPolicy(msgspec.Struct, frozen=True):
    """The rules of one listener for its requests.

    `observe`: permit what would be refused, and record why. `hosts`: the authorities that it
    serves, in lower case; empty for any. `names`: those that DPoP proofs may name, `hosts` or what
    its certificate names. `nonce_required`: a proof must have a nonce of this machine.
    """

    name: str
    observe: bool = False
    hosts: frozenset[bytes] = frozenset()
    names: frozenset[bytes] = frozenset()
    nonce_required: bool = False

    def serves(self, authority: bytes) -> bool:
        """Return whether an authority is one of `hosts`; one without a port matches any port."""
        return not self.hosts or named_host(authority, self.hosts) is not None

    def proof_origin(self, authority: bytes) -> Origin | None:
        """Return what proofs of requests to an authority must name; None if it is another's."""
        # A certificate may name all hosts of a domain (RFC 9525, section 6.3).
        any_label = b"*." + authority.partition(b".")[2]
        is_own = named_host(authority, self.names) or named_host(any_label, self.names)
        return Origin("https", authority) if is_own else None

    def presenter(self, peer: ClientInfo, proof: Proof) -> Presenter:
        """Return the presenter of a token with the scheme DPoP."""
        return Presenter(
            peer.crew,
            peer.certificate_digest,
            proof,
            branch=peer.branch_key,
            nonce_required=self.nonce_required,
        )


class UndecidedCall(msgspec.Struct, frozen=True):
    """A request to authorize: its `token`, and what its `presenter` shows beside that, if anything.

    The crew of the presenter is that of its certificate, or the account that a call without a token
    uses.

    `fields` are the client's that go upstream, from `forwardable_headers`; None if one of them
    claims to be the gateway's. Only a client with a good token is told so, because the fields are
    not checked if the path is unknown. `trace` is None for a call of no trace. `body` is the
    client's, once it has been taken. `priced` is set if the tool's price is not fixed. `message` is
    set at an endpoint, once its body has been judged, and `grant` before that. `rewritten` is the
    request as an endpoint of a group gets it; None if that is the client's own.
    """

    exchange: Exchange
    routes: RouteTable
    entry: ToolRoute | None
    token: bytes
    presenter: Presenter | None
    fields: Passed | None
    described: audit.CallInfo
    trace: TraceContext | None = None
    body: bytes | None = None
    priced: PricedRequest | None = None
    message: JudgedRequest | None = None
    grant: Grant | None = None
    rewritten: Request | None = None

    @property
    def request(self) -> Request:
        """The head of the request, as it is judged and forwarded."""
        return self.exchange.request if self.rewritten is None else self.rewritten

    def __repr__(self) -> str:
        return f"<UndecidedCall {self.exchange!r}>"

    @property
    def tool(self) -> int:
        """The number of the tool for the gate; `UNKNOWN` if the call cannot be forwarded."""
        if self.entry is None or self.fields is None:
            return UNKNOWN
        return self.entry.index if self.message is None else self.message.number

    @property
    def tool_id(self) -> str | None:
        """The part of an endpoint that the call uses; None if the number of the tool says it."""
        return self.message.id if self.message is not None and self.message.names_part else None

    @property
    def tariff(self) -> Tariff | None:
        """The tariff of the call; None if its price is fixed."""
        if self.entry is None or self.fields is None:
            return None
        return self.entry.tariff if self.message is None else self.message.tariff

    def judged(self, grant: Grant | None) -> Self:
        """Return a call with its body if it is priced by it, and with what it uses at an endpoint.

        All of the body must have arrived. `grant` is that of the token, which an endpoint needs.

        Raises:
            UnservedRequestError: The endpoint does not serve the request.
        """
        entry = self.entry
        if entry is None or not entry.reads_whole_body:
            return self
        body = self.exchange.take() if self.body is None else self.body
        if entry.endpoint is None or grant is None:
            return structs.replace(self, body=body)
        message = entry.endpoint.judge(self.request, body, grant, entry.path_of)
        described = structs.replace(
            self.described,
            tool=message.id,
            method=message.method,
            metric_tool=(
                entry.endpoint.metric_name(message.id, grant) if message.names_part else ""
            ),
        )
        return structs.replace(self, body=body, grant=grant, message=message, described=described)

    def with_price(self) -> Self:
        """Return the call with its price if the tool's price is not fixed.

        Raises InvalidRequestError if it cannot be determined.
        """
        tariff = self.tariff
        if tariff is None:
            return self
        request = self.request
        path = request.path if self.entry is None else self.entry.path_of(request.path)
        return structs.replace(self, priced=price(tariff, request, self.upstream_body, path))

    @property
    def price(self) -> int:
        """The micro-credits to reserve for the call; -1 for the tool's fixed price."""
        if self.priced is not None:
            return self.priced.bound
        return -1 if self.message is None else self.message.price

    @property
    def length(self) -> int | None:
        """The bytes of the body that goes upstream; None if not known yet."""
        body = self.upstream_body
        return self.exchange.request.length if body is None else len(body)

    @property
    def upstream_body(self) -> bytes | None:
        """The body that goes upstream; None if it is still in the exchange.

        That of a message is the one that was judged. Its price was read from the same bytes, and no
        member of it occurs twice, so it is not written again.
        """
        if self.message is not None:
            return self.message.body
        return self.body if self.priced is None else self.priced.body

    def head(
        self,
        entry: ToolRoute,
        fields: Passed,
        identity: IdentityHeaders,
        budget: Sequence[HeaderField] = (),
    ) -> RequestHead:
        """Return the request's head for the tool.

        It has the client's fields, where the request came from, who calls, the tool's own fields,
        the trace, the request id and the `budget` of its caller. For HTTP/1.1 they are lines,
        mostly cached bytes; for HTTP/2, pairs.
        """
        exchange = self.exchange
        request, request_id = self.request, request_text(self.described.id)
        target = entry.path_of(request.path) + request.target[len(request.path) :]
        origin = (exchange.peer.address, request.authority, request.version)
        extra = [] if self.trace is None else [*self.trace.headers(self.token)]
        if self.message is not None:
            extra += [*self.message.headers, *budget]
            target = self.message.target or target
        if isinstance(fields, bytes):
            lines = b"%b%b%b%b%bx-crewgate-request: %b\r\n" % (
                fields,
                forwarded_header_lines(*origin),
                identity.lines,
                entry.lines,
                written(extra) if extra else b"",
                request_id,
            )
            return RequestHead(request.method, target, self.length, lines)
        forwarded = forwarded_headers(*origin)
        if entry.fields.keeps_origin:
            fields, forwarded = merged_headers(fields, forwarded), ()
        ours = [*forwarded, *identity.fields, *entry.own, *extra]
        ours.append((b"x-crewgate-request", request_id))
        headers = [*fields, *ours]
        if not entry.is_http2:
            return RequestHead(request.method, target, self.length, written(headers))
        if any(name == b"te" and b"trailers" in value for name, value in request.headers):
            headers.append((b"te", b"trailers"))  # RFC 9113 §8.2.2; gRPC requires it
        return RequestHead(request.method, target, self.length, fields=headers)


def extract_credentials(
    exchange: Exchange,
    policy: ListenerPolicy,
    routes: RouteTable,
    entry: ToolRoute | None,
    now: float,
) -> tuple[bytes, Presenter | None, Passed | None] | Reason:
    """Return a request's token, presenter and upstream fields, or why it is refused at once.

    Without a token, the client certificate serves if a crossing leads from its crew to the tool's
    owner: then the token is signed here. It does not serve a web page, for which a browser shows
    the certificate of its user unasked. `now` is the wall clock in seconds.
    """
    request, peer = exchange.request, exchange.peer
    if entry is None:
        if request.path != b"*" and plain_path(request.path) is None:
            return Reason.INVALID_REQUEST
        found = _credentials(routes.tokens, request)
        if isinstance(found, Reason):
            return found
        return found.token, _presenter(exchange, policy, found), []
    found = _credentials(entry.tokens, request)
    if found is Reason.MISSING_TOKEN and peer.crew is not None and not is_from_page(request):
        signed = routes.crossings.find(peer, entry.owner, now)
        if isinstance(signed, Reason):
            return signed
        if signed is not None:
            exchange.body_bytes_max = entry.body_bytes_max
            account = Presenter(signed.account, peer.certificate_digest)
            return signed.token, account, _forwardable(request, entry, signed.token)
    if isinstance(found, Reason):
        return found
    exchange.body_bytes_max = entry.body_bytes_max
    presenter = _presenter(exchange, policy, found)
    return found.token, presenter, _forwardable(request, entry, found.token)


def _presenter(
    exchange: Exchange, policy: ListenerPolicy, credentials: Credentials
) -> Presenter | None:
    """Return what the client shows beside its token; None if that is nothing."""
    peer = exchange.peer
    if credentials.proof is None:
        if peer.crew is None:
            return None
        return Presenter(peer.crew, peer.certificate_digest, branch=peer.branch_key)
    if exchange.presenter is None:
        request = exchange.request
        origin = policy.proof_origin(request.authority)
        proof = Proof(credentials.proof, request.method, origin, request.path)
        exchange.presenter = policy.presenter(peer, proof)
    return exchange.presenter


def _forwardable(request: Request, entry: ToolRoute, token: bytes) -> Passed | None:
    try:
        return forwardable_headers(request, entry, token)
    except InvalidRequestError:
        return None


def _credentials(finder: TokenFinder, request: Request) -> Credentials | Reason:
    """Return the caller's token and its proof, or why there is none to check.

    A token that is also in the request target is refused, because the tool would see and log it. A
    value without the two dots of a token is left to the gate.
    """
    found = finder.find(request.headers, request.query)
    if (
        isinstance(found, Credentials)
        and found.token.count(b".") == _JWS_DOTS
        and _contains(request.target, found.token)
    ):
        return Reason.INVALID_REQUEST
    return found


def _contains(target: bytes, token: bytes) -> bool:
    """Return whether a target contains a token, plain or percent-encoded (RFC 3986 §2.1).

    Hardly any target is as long as a token, so hardly any is decoded.
    """
    if len(target) < len(token):
        return False
    return token in target or (b"%" in target and token in unquote_to_bytes(target))


def forwardable_headers(request: Request, entry: ToolRoute, token: bytes) -> Passed:
    """Return the client's fields that go to the tool, as header lines where that is enough.

    No field that holds the caller's `token` is among them, in whichever it was sent. Raises
    InvalidRequestError if a field claims to be the gateway's.
    """
    rules = entry.fields
    if entry.is_http2 or rules.keeps_origin:
        return rules.filter.kept(request.headers, token)
    return rules.filter.written(request.headers, token)
