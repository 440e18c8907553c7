"""Which fields go upstream and which come back (DESIGN, "What goes upstream").

The client's credentials never leave; its fields cannot pass for ours, whatever the upstream's
framework makes of case and `_` (CVE-2015-0219: WSGI makes one variable of both spellings). Knows no
request but its fields.
"""

from collections.abc import Iterable, Sequence

import msgspec

from crewgate import limits
from crewgate.core.bearer import OURS, PLAIN
from crewgate.core.grant import Grant
from crewgate.errors import RequestRefusedError
from crewgate.server import Field
from crewgate.upstream import written

# RFC 9110 §7.6.1, with those of older days; `te` and `expect` are spoken hop by hop as well.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"expect",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
_SECRETS = frozenset({b"authorization", b"cookie"})
_FRAMING = frozenset({b"content-length", b"host"})
# What makes a framework serve another method or path than the one that was judged.
OVERRIDES = frozenset(
    {
        b"x-envoy-original-path",
        b"x-forwarded-method",
        b"x-forwarded-path",
        b"x-forwarded-prefix",
        b"x-forwarded-uri",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-uri",
        b"x-original-url",
        b"x-rewrite-url",
        b"x-script-name",
    }
)


class FieldRules(msgspec.Struct, frozen=True):
    """What one tool's requests may carry; all names in lower case.

    `dropped` never goes upstream, `refused` makes the request a 400, `allowed` passes although
    it has a `_` or overrides something. `credential` is the gateway's own field for the upstream.
    """

    dropped: frozenset[bytes]
    refused: frozenset[bytes]
    allowed: frozenset[bytes]
    credential: Field | None = None

    def __repr__(self) -> str:
        return f"<FieldRules {'with' if self.credential else 'without'} a credential>"


def rules(*, carriers: Iterable[str], allow: Iterable[str], credential: Field | None) -> FieldRules:
    """Compile the rules of a tool; `carriers` are the token carriers of all tools."""
    allowed = frozenset(name.lower().encode() for name in allow)
    secrets = _SECRETS | {carrier.encode() for carrier in carriers}
    dropped = HOP_BY_HOP | _FRAMING | secrets | (OVERRIDES - allowed)
    refused = frozenset({credential[0].translate(PLAIN)}) - secrets if credential else frozenset()
    return FieldRules(dropped, refused, allowed, credential)


def passed_fields(headers: Sequence[Field], rules: FieldRules) -> list[Field]:
    """Return the client's fields or trailers that go upstream.

    RequestRefusedError for one that passes itself off as ours.
    """
    dropped, refused = rules.dropped, rules.refused
    named = _connection_options(headers)
    fields = []
    for field in headers:
        name = field[0]
        if name in dropped:
            continue
        plain = name.translate(PLAIN)
        if plain.startswith(OURS) or plain in refused:
            raise RequestRefusedError(400, f"the field {name.decode('latin-1')} is the gateway's")
        if b"_" in name and name not in rules.allowed:
            continue
        if name not in named:
            fields.append(field)
    return fields


def downstream_fields(headers: list[Field]) -> list[Field]:
    """Return the fields of the answer that go to the client."""
    named = _connection_options(headers)
    return [
        field
        for field in headers
        if field[0] not in HOP_BY_HOP and field[0] not in named and not field[0].startswith(OURS)
    ]


def identity(grant: Grant) -> list[Field]:
    """Return who is calling, as verified. Characters are those that claims may have."""
    claims = grant.claims
    fields = [
        (b"x-crewgate-crew", grant.crew.encode()),
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


class Identities:
    """`identity` as it goes on the wire, written once for each of the newest grants.

    The gate hands out one object for all calls of a token; its address is compared, since hashing
    a grant costs as much as writing it, and the object is kept, so that no other gets its address.
    """

    def __init__(self) -> None:
        self._lines: dict[int, tuple[Grant, bytes]] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def lines(self, grant: Grant) -> bytes:
        """Return the lines of `grant`."""
        known = self._lines.get(id(grant))
        if known is not None:
            return known[1]
        lines = written(identity(grant))
        if len(self._lines) >= limits.identities_max:
            del self._lines[next(iter(self._lines))]  # the oldest
        self._lines[id(grant)] = (grant, lines)
        return lines


def _connection_options(headers: Sequence[Field]) -> frozenset[bytes] | set[bytes]:
    """Return the fields that Connection names as hop-by-hop."""
    named: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            named.update(option.strip().lower() for option in value.split(b","))
    return named
