"""Decides which header fields go upstream and which come back.

The client's credentials never go upstream. No client's field can pass as the gateway's own,
however the upstream's framework treats case and `_` (CVE-2015-0219: WSGI makes one variable of both
spellings; PHP does so with "."). So a field is dropped, as nginx does, if its name has anything but
letters, digits and "-", unless the tool allows it. The gateway adds the fields of `identity`, and
those of gateway/forwarded_headers.py.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from crewgate._native.fields import FieldFilter, ResponseFilter, written
from crewgate._native.presenter import Presenter
from crewgate.core.bearer import CARRIERS, PLAIN
from crewgate.core.credits import CREDITS_LEFT, CREDITS_RESERVED, CREDITS_USED
from crewgate.core.http_types import HeaderField
from crewgate.core.problems import DPOP_NONCE
from crewgate.core.tokens.grant import Grant
from crewgate.core.trace_context import TRACEPARENT, TRACESTATE
from crewgate.gateway.forwarded_headers import via

# RFC 9110 §7.6.1, and older ones. `te` and `expect` are meant for the next hop as well.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"expect",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
_SECRETS = frozenset({b"authorization", b"cookie", b"dpop"})
# Some clients send a key or a token in these. A tool that needs its caller's own key in one of them
# lists it in `allow_fields`; it never gets the token that the client sent to this gateway.
_CARRIERS = frozenset(carrier.encode() for carrier in CARRIERS)
_FRAMING = frozenset({b"content-length", b"host"})
# The gateway writes them anew, because its own span is the parent of what the tool does.
_TRACE = frozenset({TRACEPARENT, TRACESTATE})
_OURS = {DPOP_NONCE, CREDITS_USED, CREDITS_RESERVED, CREDITS_LEFT}  # only the gateway sets them

TRAILERS = ResponseFilter(
    HOP_BY_HOP
    | _OURS
    | _FRAMING
    | {b"content-encoding", b"content-range", b"content-type", b"set-cookie", b"trailer", b"vary"}
)
# Because of these, a framework may serve another method, path or virtual host than the gateway has
# authorized.
OVERRIDES = frozenset(
    {
        b"x-envoy-original-host",
        b"x-envoy-original-path",
        b"x-forwarded-method",
        b"x-forwarded-path",
        b"x-forwarded-prefix",
        b"x-forwarded-uri",
        b"x-host",
        b"x-http-host-override",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-host",
        b"x-original-method",
        b"x-original-uri",
        b"x-original-url",
        b"x-rewrite-uri",
        b"x-rewrite-url",
        b"x-script-name",
    }
)
# Where a request claims to come from. This gateway is the edge and trusts no proxy before it, so a
# client could write anything here (RFC 7239 §8.1). gateway/forwarded_headers.py sets some of them
# itself.
FORWARDING = frozenset(
    {
        b"cf-connecting-ip",
        b"forwarded",
        b"front-end-https",
        b"true-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-forwarded",
        b"x-forwarded-by",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-protocol",
        b"x-forwarded-scheme",
        b"x-forwarded-server",
        b"x-forwarded-ssl",
        b"x-original-forwarded-for",
        b"x-real-ip",
        b"x-url-scheme",
    }
)


class ResponseFilters(NamedTuple):
    """The filters for responses that may have a Content-Length, and for those that may not.

    RFC 9110 §8.6 forbids it in some responses, and HTTP/2 clients (nghttp2) abort the call because
    of it.
    """

    with_length: ResponseFilter
    without_length: ResponseFilter


@lru_cache(maxsize=8)
def response_filters(hidden: frozenset[bytes] = frozenset()) -> ResponseFilters:
    """Return the filters for the responses of a tool; `hidden` fields never pass."""
    dropped = HOP_BY_HOP | _OURS | hidden
    return ResponseFilters(ResponseFilter(dropped), ResponseFilter(dropped | {b"content-length"}))


RESPONSES = response_filters()


class HeaderRules(msgspec.Struct, frozen=True):
    """The header fields that one tool's requests and responses may have; all names in lower case.

    `allowed` fields pass although their name is unusual, overrides something, or claims where the
    request came from. `filter` returns the fields or trailers that go upstream, without any that
    holds the token, and raises InvalidRequestError if one claims to be the gateway's. `credential`
    is the gateway's own field for the upstream. `responses` select the fields that go back.
    """

    allowed: frozenset[bytes]
    filter: FieldFilter
    credential: HeaderField | None = None
    responses: ResponseFilters = RESPONSES

    def __repr__(self) -> str:
        return f"<HeaderRules {'with' if self.credential else 'without'} a credential>"

    @property
    def keeps_origin(self) -> bool:
        """Whether the client's own forwarding fields may pass; `merged_headers` then adds ours."""
        return not self.allowed.isdisjoint(FORWARDING)


def rules(
    *,
    carriers: Iterable[str],
    allow: Iterable[str],
    credential: HeaderField | None,
    reads_answer: bool = False,
    repeated: Iterable[bytes] = (),
    hidden: Iterable[bytes] = (),
) -> HeaderRules:
    """Compile the rules of a tool; `carriers` are the token carriers of all tools.

    With `reads_answer` the tool is not asked for a compressed response, since that is read. The
    client's fields of the names `repeated` never pass: the gateway writes them from the body. The
    server's fields of the names `hidden` never pass either.
    """
    secrets = _SECRETS | {carrier.encode() for carrier in carriers}
    never = HOP_BY_HOP | _FRAMING | _TRACE | secrets | frozenset(repeated)
    if reads_answer:
        never |= {b"accept-encoding"}
    wanted = frozenset(name.lower().encode() for name in allow)
    allowed = frozenset(name for name in wanted if name.translate(PLAIN) not in never)
    dropped = never | ((OVERRIDES | FORWARDING | _CARRIERS) - allowed)
    refused = frozenset({credential[0].translate(PLAIN)}) - secrets if credential else frozenset()
    filters = response_filters(frozenset(hidden))
    return HeaderRules(allowed, FieldFilter(dropped, refused, allowed), credential, filters)


def downstream_headers(
    headers: Sequence[HeaderField],
    status: int,
    filters: ResponseFilters = RESPONSES,
    *,
    version: str = "",
) -> list[HeaderField]:
    """Return the fields of a response with this status that go to the client.

    `filters` are those of the tool. `version` is the HTTP version of the response, for its Via;
    empty for an informational response, which gets no Via.
    """
    may_have_length = status >= HTTPStatus.OK and status != HTTPStatus.NO_CONTENT
    fields = (filters.with_length if may_have_length else filters.without_length).kept(headers)
    if version:
        fields.append(via(version))
    return fields


def trailer_fields(trailers: Sequence[HeaderField]) -> list[HeaderField]:
    """Return the trailers of a response that go to the client.

    Drops trailers that frame, describe or route the content before them (RFC 9110 §6.5.1).
    """
    return TRAILERS.kept(trailers) if trailers else []


def identity(grant: Grant) -> list[HeaderField]:
    """Return the fields that tell the tool who is calling, as the token proves it.

    Claims are validated, so no value needs escaping.
    """
    claims = grant.claims
    fields = [
        (b"x-crewgate-crew", grant.caller.encode()),
        (b"x-crewgate-orchestrator", claims.client_id.encode()),
        (b"x-crewgate-process", claims.process_id.encode()),
        (b"x-crewgate-role", claims.agent_role.encode()),
        (b"x-crewgate-branch", claims.execution_branch_id.encode()),
        (b"x-crewgate-grant", claims.jti.encode()),
        (b"x-crewgate-subject", claims.sub.encode()),
    ]
    if claims.branch_path:
        ancestry = ",".join([element.id for element in claims.branch_path])
        fields.append((b"x-crewgate-ancestry", ancestry.encode()))
    return fields


class IdentityHeaders(NamedTuple):
    """The fields of `identity`, as pairs and as HTTP/1.1 header lines."""

    fields: list[HeaderField]
    lines: bytes


def identity_headers(grant: Grant) -> IdentityHeaders:
    """Return the fields of `identity` for `grant` in both forms."""
    fields = identity(grant)
    return IdentityHeaders(fields, written(fields))


def nonce_fields(presenter: Presenter | None) -> list[HeaderField]:
    """Return the field with a newer nonce for a client whose good proof had an older one."""
    nonce = None if presenter is None else presenter.next_nonce
    return [] if nonce is None else [(DPOP_NONCE, nonce)]
