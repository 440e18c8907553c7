"""Which fields go upstream and which come back.

The client's credentials never leave; its fields cannot pass for ours, whatever the upstream's
framework makes of case and `_` (CVE-2015-0219: WSGI makes one variable of both spellings; PHP does
so with "."). So a name of anything but letters, digits and "-" goes no further, as with nginx,
unless the tool wants it. Knows no request but its fields; what the gateway adds is `identity` here,
and gateway/forwarded.py.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from crewgate import limits
from crewgate._native.fields import FieldFilter, ResponseFilter, written
from crewgate.core.bearer import CARRIERS, PLAIN
from crewgate.core.http import HeaderField
from crewgate.core.tokens.grant import Grant
from crewgate.gateway.forwarded import via

# RFC 9110 §7.6.1, with those of older days; `te` and `expect` are spoken hop by hop as well.
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
_SECRETS = frozenset({b"authorization", b"cookie"})
# Where clients of some kind show a key or a token. A tool that wants a key of its caller's own in
# one of them lists it in `allow_fields`; it never gets the token that this gateway was shown.
_CARRIERS = frozenset(carrier.encode() for carrier in CARRIERS)
_FRAMING = frozenset({b"content-length", b"host"})
# What a call has cost or holds, and what is left besides: said by the gateway alone.
USED, RESERVED = b"x-crewgate-credits-used", b"x-crewgate-credits-reserved"
LEFT = b"x-crewgate-credits-left"
_CREDITS = {USED, RESERVED, LEFT}
ANSWERS = ResponseFilter(HOP_BY_HOP | _CREDITS)
# RFC 9110 §8.6 forbids a length there, and HTTP/2 clients (nghttp2) break the call off for it.
WITHOUT_LENGTH = ResponseFilter(HOP_BY_HOP | _CREDITS | {b"content-length"})
TRAILERS = ResponseFilter(
    HOP_BY_HOP
    | _CREDITS
    | _FRAMING
    | {b"content-encoding", b"content-range", b"content-type", b"set-cookie", b"trailer", b"vary"}
)
# What makes a framework serve another method, path or virtual host than the one that was judged.
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
# Where a request says that it came from. This gateway is the edge: nobody before it is believed, so
# these are a client's word about itself (RFC 7239 §8.1). Those of gateway/forwarded.py are set
# anew.
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


class HeaderRules(msgspec.Struct, frozen=True):
    """What one tool's requests may carry; all names in lower case.

    `dropped` never goes upstream, `refused` (as `PLAIN` writes them) makes the request a 400,
    `allowed` passes although its name is odd, or overrides something, or says where the request
    came from; `filter` is these three, compiled. `credential` is the gateway's own field for the
    upstream.
    """

    dropped: frozenset[bytes]
    refused: frozenset[bytes]
    allowed: frozenset[bytes]
    filter: FieldFilter
    credential: HeaderField | None = None

    def __repr__(self) -> str:
        return f"<HeaderRules {'with' if self.credential else 'without'} a credential>"

    @property
    def keeps_origin(self) -> bool:
        """Whether a client's word on where it is may pass: `origin.joined` adds ours then."""
        return not self.allowed.isdisjoint(FORWARDING)


def rules(
    *,
    carriers: Iterable[str],
    allow: Iterable[str],
    credential: HeaderField | None,
    reads_answer: bool = False,
) -> HeaderRules:
    """Compile the rules of a tool; `carriers` are the token carriers of all tools.

    An answer that is read for its price is not asked for in a compressed form.
    """
    secrets = _SECRETS | {carrier.encode() for carrier in carriers}
    never = HOP_BY_HOP | _FRAMING | secrets
    if reads_answer:
        never |= {b"accept-encoding"}
    wanted = frozenset(name.lower().encode() for name in allow)
    allowed = frozenset(name for name in wanted if name.translate(PLAIN) not in never)
    dropped = never | ((OVERRIDES | FORWARDING | _CARRIERS) - allowed)
    refused = frozenset({credential[0].translate(PLAIN)}) - secrets if credential else frozenset()
    field_filter = FieldFilter(dropped, refused, allowed)
    return HeaderRules(dropped, refused, allowed, field_filter, credential)


def upstream_headers(
    headers: Sequence[HeaderField], rules: HeaderRules, token: bytes = b""
) -> list[HeaderField]:
    """Return the client's fields or trailers that go upstream; none that holds its `token`.

    RequestRefusedError for one that passes itself off as ours.
    """
    return rules.filter.kept(headers, token)


def downstream_headers(
    headers: Sequence[HeaderField], status: int, *, version: str = ""
) -> list[HeaderField]:
    """Return the fields of an answer of this status that go to the client.

    `version` is the HTTP version in which it came: its Via says so; one on the way has none.
    """
    may_have_length = status >= HTTPStatus.OK and status != HTTPStatus.NO_CONTENT
    fields = (ANSWERS if may_have_length else WITHOUT_LENGTH).kept(headers)
    if version:
        fields.append(via(version))
    return fields


def trailer_fields(trailers: Sequence[HeaderField]) -> list[HeaderField]:
    """Return the trailers of an answer that go to the client.

    None that frames, describes or routes what came before them (RFC 9110 §6.5.1).
    """
    return TRAILERS.kept(trailers) if trailers else []


def identity(grant: Grant) -> list[HeaderField]:
    """Return who is calling, as verified. Characters are those that claims may have."""
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
    """`identity`, and the same as HTTP/1.1 writes it."""

    fields: list[HeaderField]
    lines: bytes


class IdentityHeaderCache:
    """`identity`, written once for each of the newest grants.

    The gate hands out one object for all calls of a token; its address is compared, since hashing
    a grant costs as much as writing it, and the object is kept, so that no other gets its address.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Grant, IdentityHeaders]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, grant: Grant) -> IdentityHeaders:
        """Return the identity that `grant` proves."""
        known = self._known.get(id(grant))
        if known is not None:
            return known[1]
        fields = identity(grant)
        made = IdentityHeaders(fields, written(fields))
        if len(self._known) >= limits.identities_max:
            del self._known[next(iter(self._known))]  # the oldest
        self._known[id(grant)] = (grant, made)
        return made
