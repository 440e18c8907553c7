"""The endpoints of the control API, as a table: path, who may use it, what is asked and answered.

Routes, documentation and the test of every endpoint against every role are made from it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from crewgate import limits
from crewgate.api import access, tokens
from crewgate.api.access import EVERYBODY, STAFF
from crewgate.api.backend import Backend, CertificateRequest
from crewgate.api.request import APIRequest
from crewgate.api.schemas import (
    BranchesResponse,
    BranchResponse,
    CertificateResponse,
    CertificateSigningRequest,
    HealthResponse,
    IntrospectionResponse,
    RevocationRequest,
    RevocationResponse,
    TokenResponse,
)
from crewgate.core.ids import KeyKind, uuid_bytes
from crewgate.core.revocation_kinds import BY_FIELD, RevocationKind, RevocationTarget
from crewgate.core.x509.identity import Identity, Role

EndpointHandler = Callable[[Backend, Identity, APIRequest], Awaitable[object]]


class Endpoint(msgspec.Struct, frozen=True):
    """One method of one path.

    `form` are the fields of a form, by name, with what they mean, `needed` those that must be
    there, `query` the parameters that are read; `answer` is sent as `media`. If an answer says
    `waiting`, its HTTP status is `unready`, unless that is 0: a probe looks at the status.
    """

    method: str
    path: str
    roles: frozenset[Role]
    work: EndpointHandler
    answer: type
    says: str
    ask: type | None = None
    form: Mapping[str, str] = {}
    needed: tuple[str, ...] = ()
    query: Mapping[str, str] = {}
    status: int = 200
    unready: int = 0
    media: str = "application/json"


async def revoke(backend: Backend, caller: Identity, call: APIRequest) -> RevocationResponse:
    """End a branch, a grant, a process' or a crew's tokens, a certificate, or an orchestrator."""
    ask = call.decode(RevocationRequest)
    named = [(rules, getattr(ask, field)) for field, rules in BY_FIELD.items()]
    named = [(rules, name) for rules, name in named if name]
    if len(named) != 1:
        access.malformed(f"name exactly one of {', '.join(BY_FIELD)}")
    ((rules, name),) = named
    if rules.kind is KeyKind.CERTIFICATE:
        return await _revoke_certificate(backend, caller, name, ask)
    if rules.kind is KeyKind.ORCHESTRATOR:
        return await _revoke_orchestrator(backend, caller, name, ask)
    try:
        rules.identifier(name)
    except ValueError as error:
        access.malformed(f"{rules.request_field}: {error}")
    if rules.kind is KeyKind.CREW:
        if ask.crew:
            access.malformed(f"crew: says whose a name is, and {rules.request_field} names a crew")
        crew = access.crew_for(caller, name)
    else:
        crew = access.crew_for(caller, ask.crew)
        if not ask.crew:
            await _check_seen(backend, rules, name, crew)
    return await backend.revoke(RevocationTarget(rules.kind, name, crew), ask.until)


async def _revoke_certificate(
    backend: Backend, caller: Identity, serial: str, ask: RevocationRequest
) -> RevocationResponse:
    holder = await backend.holder(serial)
    if holder is None or not access.sees(caller, holder.crew):
        access.missing("certificate")
    return await backend.revoke_certificate(serial, ask.reason)


async def _revoke_orchestrator(
    backend: Backend, caller: Identity, named: str, ask: RevocationRequest
) -> RevocationResponse:
    crew, name = access.orchestrator(named)
    crew = access.crew_for(caller, crew)
    # Each name takes a place in the table that all crews share: none that somebody made up.
    if caller.role is not Role.OPERATOR and not await backend.knows(crew, name):
        access.missing("orchestrator with a certificate")
    return await backend.revoke_orchestrator(crew, name, ask.reason)


async def _check_seen(backend: Backend, rules: RevocationKind, name: str, crew: str) -> None:
    """Refuse a name that was never seen, of the `crew` of a caller who has named none.

    Else a mistyped name, or one of another crew, would be confirmed as revoked. A branch without
    any crew is left to the agent, which knows whose it is; other names are of no crew but by the
    caller's word.
    """
    label = rules.label
    if rules.kind is KeyKind.BRANCH:
        if crew and not (await backend.tree()).find(name, crew):
            access.unseen(f"no branch {name} was seen; to revoke it unseen, name the crew")
        return
    if not crew:
        access.malformed(f"crew: say whose {label} it is")
    rows = [row for row in (await backend.tree()).of(crew) if row.crew == crew]
    if not any(getattr(row, label) == name for row in rows):
        access.unseen(
            f"{label} {name} is not the newest of a branch that was seen; to revoke it unseen, "
            "name the crew"
        )


async def branches(backend: Backend, caller: Identity, call: APIRequest) -> BranchesResponse:
    """Branches, parents first, a page at a time."""
    most = call.int_param("limit", limits.page_rows_max, limits.page_rows_max)
    crew = access.crew_for(caller, call.query.get("crew", ""))
    rows = [row for row in (await backend.tree()).of(crew) if row.branch]
    start = _after(rows, call.query.get("after", ""))
    page = rows[start : start + most]
    more = start + most < len(rows)
    following = f"{page[-1].crew}/{page[-1].branch}" if more else ""
    return BranchesResponse(branches=page, more=more, next=following)


def _after(rows: Sequence[BranchResponse], cursor: str) -> int:
    """Where the row after the one that `cursor` names is; 404 if that is gone meanwhile.

    Without its crew a branch of another crew with the same id might be meant.
    """
    if not cursor:
        return 0
    crew, _, branch = cursor.rpartition("/")
    _check_branch(branch)
    for place, row in enumerate(rows, 1):
        if row.branch == branch and crew in {"", row.crew}:
            return place
    return access.missing("branch to go on after; begin again")


async def branch(backend: Backend, caller: Identity, call: APIRequest) -> BranchResponse:
    """One branch."""
    return await _find(backend, caller, call)


async def end_branch(backend: Backend, caller: Identity, call: APIRequest) -> RevocationResponse:
    """End a branch that is known here, and all below it."""
    row = await _find(backend, caller, call)
    return await backend.revoke(RevocationTarget(KeyKind.BRANCH, row.branch, row.crew), "")


async def tree(backend: Backend, caller: Identity, call: APIRequest) -> bytes:
    """The whole auth graph that the caller may see, crews included."""
    crew = access.crew_for(caller, call.query.get("crew", ""))
    return (await backend.tree()).encoded(crew)


async def certify(backend: Backend, caller: Identity, call: APIRequest) -> CertificateResponse:
    """A certificate for a CSR's key: the caller's own next one, or any if an operator asks."""
    ask = call.decode(CertificateSigningRequest)
    if ask.renews:
        return await _renew_server(backend, caller, call, ask)
    wanted = _wanted(caller, ask)
    is_own = wanted == (caller.role, caller.crew, caller.name)
    if not is_own and caller.role is not Role.OPERATOR:
        access.refuse("only an operator asks for another's certificate")
    if ask.hosts and caller.role is not Role.OPERATOR:
        access.refuse("only an operator gives a certificate names and addresses")
    role, crew, name = wanted
    # The next certificate of the same process says the same; another's has an instance of its own.
    identity = caller if is_own else Identity(role, name, b"", crew)
    return await backend.certify(
        CertificateRequest(
            identity, ask.request, call.serial, is_own, ask.life_seconds, tuple(ask.hosts)
        )
    )


async def _renew_server(
    backend: Backend, caller: Identity, call: APIRequest, ask: CertificateSigningRequest
) -> CertificateResponse:
    """What a machine shows to clients that cannot read who it is; whose key it has is known."""
    if caller.role not in {Role.GATEWAY, Role.OPERATOR}:
        access.refuse("only a gateway or an operator renews a server's certificate")
    if ask.role or ask.crew or ask.name or ask.hosts or ask.life_seconds:
        access.malformed("renews: the next certificate says what the one before does; name no more")
    return await backend.certify_server(ask.request, ask.renews, call.serial)


def _wanted(caller: Identity, ask: CertificateSigningRequest) -> tuple[Role, str, str]:
    """Role, crew and name: as asked for, the caller's own where nothing is."""
    if not (ask.role or ask.crew or ask.name):
        return caller.role, caller.crew, caller.name
    role = Role(ask.role) if ask.role else caller.role
    if role is Role.ORCHESTRATOR and caller.role is Role.ORCHESTRATOR:
        return role, ask.crew or caller.crew, ask.name or caller.name
    return role, ask.crew, ask.name or (caller.name if role is caller.role else "")


async def health(backend: Backend, caller: Identity, call: APIRequest) -> HealthResponse:  # noqa: ARG001
    """The control process answers."""
    return HealthResponse(status="ok")


async def ready(backend: Backend, caller: Identity, call: APIRequest) -> HealthResponse:  # noqa: ARG001
    """What `crewgate status` says there; reasons, which name paths and crews, are for operators."""
    found = await backend.health()
    if caller.role is Role.OPERATOR:
        return found
    named = [text.partition(":")[0] for text in found.waiting_for]
    return HealthResponse(status=found.status, waiting_for=named)


async def ocsp(backend: Backend, caller: Identity, call: APIRequest) -> bytes:  # noqa: ARG001
    """RFC 6960, by POST."""
    if call.media != "application/ocsp-request":
        access.unsupported("send application/ocsp-request")
    return await backend.ocsp(call.body)


async def ocsp_get(backend: Backend, caller: Identity, call: APIRequest) -> bytes:  # noqa: ARG001
    """RFC 6960, by GET: the request is in the path, and its slashes may stand there bare."""
    _, _, tail = call.raw_path.decode("ascii").partition("/ocsp/")
    return await backend.ocsp_path(tail)


async def crl(backend: Backend, caller: Identity, call: APIRequest) -> bytes:  # noqa: ARG001
    """RFC 5280, section 5, as PEM."""
    return await backend.crl()


async def _find(backend: Backend, caller: Identity, call: APIRequest) -> BranchResponse:
    wanted, crew = call.path["branch"], access.crew_for(caller, call.query.get("crew", ""))
    _check_branch(wanted)
    rows = (await backend.tree()).find(wanted, crew)
    if len(rows) > 1:
        crews = ", ".join(row.crew for row in rows)
        access.ambiguous(f"several crews have that branch; say which by ?crew= ({crews})")
    return rows[0] if rows else access.missing("branch")


def _check_branch(text: str) -> None:
    try:
        uuid_bytes(text)
    except ValueError as error:
        access.malformed(f"branch: {error}")


_CREW = {"crew": "of this crew; an orchestrator sees its own alone"}
_PAGE = {"after": "those after this one, the `next` of a page", "limit": "at most so many"}
_OCSP = "application/ocsp-response"

ENDPOINTS = (
    Endpoint("POST", "/v1/revocations", STAFF, revoke, RevocationResponse,
             "End a branch, tokens, a certificate or an orchestrator, at once.",
             ask=RevocationRequest),
    Endpoint("GET", "/v1/branches", STAFF, branches, BranchesResponse,
             "Branches, parents before their children.", query={**_CREW, **_PAGE}),
    Endpoint("GET", "/v1/branches/{branch}", STAFF, branch, BranchResponse, "One branch.",
             query=_CREW),
    Endpoint("DELETE", "/v1/branches/{branch}", STAFF, end_branch, RevocationResponse,
             "End a branch and all that it spawned.", query=_CREW),
    Endpoint("GET", "/v1/tree", STAFF, tree, BranchesResponse, "The auth graph, crews included.",
             query=_CREW),
    Endpoint("POST", "/v1/tokens", STAFF, tokens.issue, TokenResponse,
             "A token: of a new run, of a child, or the next of a branch.",
             form=tokens.FORM, needed=("grant_type",)),
    Endpoint("POST", "/v1/introspect", EVERYBODY, tokens.introspect, IntrospectionResponse,
             "What a token says, if it is good (RFC 7662).",
             form=tokens.INTROSPECT_FORM, needed=("token",)),
    Endpoint("POST", "/v1/certificates", EVERYBODY, certify, CertificateResponse,
             "A certificate for the key of a CSR.", ask=CertificateSigningRequest, status=201),
    Endpoint("POST", "/ocsp", EVERYBODY, ocsp, bytes, "OCSP (RFC 6960).", media=_OCSP),
    Endpoint("GET", "/ocsp/{request:path}", EVERYBODY, ocsp_get, bytes,
             "OCSP with the request in the path (RFC 6960, appendix A.1).", media=_OCSP),
    Endpoint("GET", "/crl", EVERYBODY, crl, bytes, "The list of revoked certificates, PEM.",
             media="application/x-pem-file"),
    Endpoint("GET", "/healthz", EVERYBODY, health, HealthResponse, "The API answers."),
    Endpoint("GET", "/readyz", EVERYBODY, ready, HealthResponse, "Ready, or why not.",
             unready=503),
)  # fmt: skip
