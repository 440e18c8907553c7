"""The table of the control API's endpoints: path, roles, handler, and schemas.

The routes, the OpenAPI document, and the test of each endpoint with each role are made from it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import get_args

import msgspec

from crewgate import limits
from crewgate.api import access, certificates, tokens
from crewgate.api.access import EVERYBODY, STAFF
from crewgate.api.backend import Backend
from crewgate.api.request import APIRequest
from crewgate.api.schemas import (
    UNSPECIFIED,
    BranchesResponse,
    BranchResponse,
    CertificateResponse,
    CertificateSigningRequest,
    HealthResponse,
    IntrospectionResponse,
    MachinesResponse,
    RevocationReason,
    RevocationRequest,
    RevocationResponse,
    RevocationsResponse,
    TokenResponse,
)
from crewgate.core import branch_reference
from crewgate.core.ids import EntityKind, uuid_bytes
from crewgate.core.revocation_kinds import BY_FIELD, RevocationKindRules, RevocationTarget
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.machine_messages import THIS_MACHINE

EndpointHandler = Callable[[Backend, Identity, APIRequest], Awaitable[object]]


class Endpoint(msgspec.Struct, frozen=True):
    """One method of one path.

    `body` is the type of a JSON body. `form` has the fields of a form with their descriptions, and
    `required` those that must be present. `query` has the parameters with their descriptions. A
    `response` is sent as `media`, with `status`, or with `unready` (unless that is 0) if the
    response says `waiting`: a probe reads only the status. With `always_asks`, each request has
    the other machines asked.
    """

    method: str
    path: str
    roles: frozenset[Role]
    handler: EndpointHandler
    response: type
    summary: str
    body: type | None = None
    form: Mapping[str, str] = {}
    required: tuple[str, ...] = ()
    query: Mapping[str, str] = {}
    status: int = 200
    unready: int = 0
    media: str = "application/json"
    always_asks: bool = False

    def asks_members(self, query: Mapping[str, str]) -> bool:
        """Return whether a request has other machines asked, and no cache answers it."""
        return self.always_asks or query.get("machine", "") not in {"", THIS_MACHINE}


async def revoke(backend: Backend, caller: Identity, request: APIRequest) -> RevocationResponse:
    """Revoke one target, of any kind that the request may name."""
    body = request.decode(RevocationRequest)
    named = [(rules, getattr(body, field)) for field, rules in BY_FIELD.items()]
    named = [(rules, name) for rules, name in named if name]
    if len(named) != 1:
        access.malformed(f"name exactly one of {', '.join(BY_FIELD)}")
    ((rules, name),) = named
    if rules.kind is EntityKind.CERTIFICATE:
        return await _revoke_certificate(backend, caller, name, body)
    if rules.kind is EntityKind.ORCHESTRATOR:
        return await _revoke_orchestrator(backend, caller, name, body)
    try:
        rules.identifier(name)
    except ValueError as error:
        access.malformed(f"{rules.request_field}: {error}")
    if rules.kind is EntityKind.CREW:
        if body.crew:
            access.malformed(f"crew: leave it out, since {rules.request_field} names the crew")
        crew = access.crew_for(caller, name)
    else:
        crew = access.crew_for(caller, body.crew)
        if not body.crew:
            await _check_seen(backend, rules, name, crew)
    target = RevocationTarget(rules.kind, name, crew)
    reason = "" if body.reason == UNSPECIFIED else body.reason
    try:
        return await backend.revoke(target, body.until, caller.label, reason)
    except ServiceRefusedError:
        # Another machine may have seen the branch, and so know its crew.
        found = [] if crew or not rules.claim else (await backend.tree()).find(name, "")
        if rules.kind is not EntityKind.BRANCH or len(found) != 1:
            raise
        target = msgspec.structs.replace(target, crew=found[0].crew)
        return await backend.revoke(target, body.until, caller.label, reason)


async def _revoke_certificate(
    backend: Backend, caller: Identity, serial: str, body: RevocationRequest
) -> RevocationResponse:
    reason = _rfc_reason(body)
    holder = await backend.holder(serial)
    if holder is None or not access.sees(caller, holder.crew):
        access.missing("certificate")
    return await backend.revoke_certificate(serial, reason, caller.label)


def _rfc_reason(body: RevocationRequest) -> str:
    """Return the reason of a certificate's revocation; ControlError 400 if RFC 5280 has none."""
    if body.reason not in get_args(RevocationReason):
        access.malformed(f"reason: expected one of {', '.join(get_args(RevocationReason))}")
    return body.reason


async def _revoke_orchestrator(
    backend: Backend, caller: Identity, named: str, body: RevocationRequest
) -> RevocationResponse:
    reason = _rfc_reason(body)
    crew, name = access.orchestrator(named)
    crew = access.crew_for(caller, crew)
    # Each name takes an entry of the table that all crews share, so it must not be invented.
    if caller.role is not Role.OPERATOR and not await backend.knows(crew, name):
        access.missing("orchestrator with a certificate")
    return await backend.revoke_orchestrator(crew, name, reason, caller.label)


async def _check_seen(backend: Backend, rules: RevocationKindRules, name: str, crew: str) -> None:
    """Refuse a name that is unknown in `crew`, if the request itself names no crew.

    Otherwise a mistyped name, or one of another crew, would be confirmed as revoked. If the caller
    has no crew either, the agent finds the crew of a branch, and revokes a subject in all crews;
    for other names it cannot.
    """
    label = rules.label
    if rules.kind is EntityKind.BRANCH:
        if crew and not (await backend.tree()).find(name, crew):
            access.unclear(f"no branch {name} is known; to revoke it anyway, name its crew")
        return
    if not crew and rules.spans_crews:
        return
    if not crew:
        access.malformed(f"crew: name the crew of the {label}")
    rows = [row for row in (await backend.tree()).of(crew) if row.crew == crew]
    if not any(getattr(row, label) == name for row in rows):
        access.unclear(
            f"{label} {name} is not the newest of any known branch; to revoke it anyway, name "
            "its crew"
        )


async def branches(backend: Backend, caller: Identity, request: APIRequest) -> BranchesResponse:
    """Return a page of branches, parents first."""
    rows_max = request.int_param("limit", limits.page_rows_max, limits.page_rows_max)
    crew = access.crew_for(caller, request.query.get("crew", ""))
    found = await backend.tree(_machine(request))
    rows = [row for row in found.of(crew) if row.branch]
    if find := request.query.get("find", ""):
        rows = _found(find, crew, rows)
    start = _after(rows, request.query.get("after", ""))
    page = rows[start : start + rows_max]
    more = start + rows_max < len(rows)
    cursor = f"{page[-1].crew}/{page[-1].branch}" if more else ""
    return found.page(page, more=more, cursor=cursor)


def _machine(request: APIRequest) -> str:
    machine = request.query.get("machine", "")
    if len(machine) > limits.claim_chars_max:
        access.malformed(f"machine: at most {limits.claim_chars_max} characters")
    return machine


def _found(find: str, crew: str, rows: Sequence[BranchResponse]) -> list[BranchResponse]:
    try:
        branch_reference.check(find)
    except ValueError as error:
        access.malformed(f"find: {error}")
    return branch_reference.matching(find, crew, rows)


async def revocations(
    backend: Backend, caller: Identity, request: APIRequest
) -> RevocationsResponse:
    """Return the newest revocations in force."""
    rows_max = request.int_param("limit", limits.revocation_rows_default, limits.page_rows_max)
    crew = access.crew_for(caller, request.query.get("crew", ""))
    return await backend.revocations(crew, rows_max, _machine(request))


async def audit(backend: Backend, caller: Identity, request: APIRequest) -> bytes:
    """Return what the audits of the machines have."""
    access.crew_for(caller, request.query.get("crew", ""))
    if "branch" in request.query:
        _check_branch(request.query["branch"])
    limit = request.int_param("limit", limits.audit_rows_default, limits.page_rows_max)
    query = {**request.query, "machine": _machine(request), "limit": str(limit)}
    return await backend.audit(query)


async def machines(backend: Backend, caller: Identity, request: APIRequest) -> MachinesResponse:  # noqa: ARG001
    """Return the health of the machines."""
    return await backend.machines(_machine(request))


def _after(rows: Sequence[BranchResponse], cursor: str) -> int:
    """Return the index after the row of `cursor`. Raises ControlError 404 if that row is gone.

    A cursor has the crew, since branches of two crews may have one id.
    """
    if not cursor:
        return 0
    crew, _, branch = cursor.rpartition("/")
    _check_branch(branch)
    for place, row in enumerate(rows, 1):
        if row.branch == branch and crew in {"", row.crew}:
            return place
    return access.missing("branch as `after` names; start again with the first page")


async def branch(backend: Backend, caller: Identity, request: APIRequest) -> BranchResponse:
    """Return one branch."""
    id_, crew = request.path["branch"], access.crew_for(caller, request.query.get("crew", ""))
    _check_branch(id_)
    rows = (await backend.tree()).find(id_, crew)
    if len(rows) > 1:
        crews = ", ".join(row.crew for row in rows)
        access.unclear(f"several crews have this branch id; choose one with ?crew= ({crews})")
    return rows[0] if rows else access.missing("branch")


async def end_branch(backend: Backend, caller: Identity, request: APIRequest) -> RevocationResponse:
    """Revoke a known branch and all branches below it."""
    row = await branch(backend, caller, request)
    target = RevocationTarget(EntityKind.BRANCH, row.branch, row.crew)
    return await backend.revoke(target, "", caller.label)


async def tree(backend: Backend, caller: Identity, request: APIRequest) -> bytes:
    """Return the whole branch tree that the caller may see, with its crews."""
    crew = access.crew_for(caller, request.query.get("crew", ""))
    return (await backend.tree(_machine(request))).encoded(crew)


async def health(backend: Backend, caller: Identity, request: APIRequest) -> HealthResponse:  # noqa: ARG001
    """Return `ok`: the control process is alive."""
    return HealthResponse(status="ok")


async def ready(backend: Backend, caller: Identity, request: APIRequest) -> HealthResponse:  # noqa: ARG001
    """Return readiness. Only operators get the reasons, which name paths and crews."""
    report = await backend.health()
    if caller.role is Role.OPERATOR:
        return report
    components = [text.partition(":")[0] for text in report.waiting_for]
    return HealthResponse(status=report.status, waiting_for=components)


async def ocsp(backend: Backend, caller: Identity, request: APIRequest) -> bytes:  # noqa: ARG001
    """Answer an OCSP request by POST (RFC 6960)."""
    if request.media != "application/ocsp-request":
        access.unsupported("send application/ocsp-request")
    return await backend.ocsp(request.body)


async def ocsp_get(backend: Backend, caller: Identity, request: APIRequest) -> bytes:  # noqa: ARG001
    """Answer an OCSP request by GET: the path has it, and its slashes may be unescaped."""
    _, _, tail = request.raw_path.decode("ascii").partition("/ocsp/")
    return await backend.ocsp_path(tail)


async def crl(backend: Backend, caller: Identity, request: APIRequest) -> bytes:  # noqa: ARG001
    """Return the CRL (RFC 5280, section 5) in PEM."""
    return await backend.crl()


def _check_branch(text: str) -> None:
    try:
        uuid_bytes(text)
    except ValueError as error:
        access.malformed(f"branch: {error}")


_CREW = {"crew": "only rows of this crew; an orchestrator sees only its own crew"}
_MACHINE = {
    "machine": f"only what the machine with this name knows; `{THIS_MACHINE}` is the machine of "
    "this API"
}
_PAGE = {
    "after": "only rows after this one: the `next` of the previous page",
    "limit": "the maximum number of rows",
}
_AUDIT = {
    "list": "`calls` (the default), `connections` that were refused, steps of the minting `watch`, "
    "of `rules` on branches, `revocations`, `grants`, the whole `history` of a `branch`, or "
    "`explain` for the authority of the call `request`",
    "by": "sums by `branch`, `crew`, `role`, `tool`, `day` or `minute` instead of calls",
    "branch": "calls of this branch and of everything below it",
    "crew": "calls of this crew",
    "role": "calls of this role",
    "tool": "calls of this tool, or of tools such as `search.*`",
    "certificate": "calls over connections with the certificate of this serial",
    "grant": "calls with this grant",
    "subject": "calls on behalf of this subject",
    "process": "calls of this process",
    "orchestrator": "calls of branches that this orchestrator minted",
    "request": "the call with this request id",
    "denied": "`true`: only calls that the gateway refused",
    "would_deny": "`true`: only calls that were let through because of observe mode",
    "since": "`10m`, `2h`, `1d`, or a time of RFC 3339",
    "limit": _PAGE["limit"],
}
_FIND = {
    "find": "only the branch with this id, or those whose id begins so; or the live branches of "
    "this CREW/ROLE"
}
_OCSP = "application/ocsp-response"

ENDPOINTS = (
    Endpoint("POST", "/v1/revocations", STAFF, revoke, RevocationResponse,
             "Revoke a branch, tokens, a certificate or an orchestrator at once.",
             body=RevocationRequest),
    Endpoint("GET", "/v1/revocations", STAFF, revocations, RevocationsResponse,
             "List the newest revocations in force.",
             query={**_CREW, **_MACHINE, "limit": _PAGE["limit"]}, always_asks=True),
    Endpoint("GET", "/v1/audit", frozenset({Role.OPERATOR}), audit, bytes,
             "Get the calls that the audits of all machines have, or sums of them.",
             query={**_MACHINE, **_AUDIT}),
    Endpoint("GET", "/v1/machines", frozenset({Role.OPERATOR}), machines, MachinesResponse,
             "Get the health of all machines.", query=_MACHINE),
    Endpoint("GET", "/v1/branches", STAFF, branches, BranchesResponse,
             "List branches, parents before their children.",
             query={**_CREW, **_MACHINE, **_FIND, **_PAGE}),
    Endpoint("GET", "/v1/branches/{branch}", STAFF, branch, BranchResponse, "Get one branch.",
             query=_CREW),
    Endpoint("DELETE", "/v1/branches/{branch}", STAFF, end_branch, RevocationResponse,
             "Revoke a branch and all branches below it.", query=_CREW),
    Endpoint("GET", "/v1/tree", STAFF, tree, BranchesResponse,
             "Get all branches and crews as one tree.", query={**_CREW, **_MACHINE}),
    Endpoint("POST", "/v1/tokens", STAFF, tokens.issue, TokenResponse,
             "Issue a token: for a new run, for a child branch, or the next one of a branch.",
             form=tokens.FORM, required=("grant_type",)),
    Endpoint("POST", "/v1/introspect", EVERYBODY, tokens.introspect, IntrospectionResponse,
             "Get the claims of a valid token (RFC 7662).",
             form=tokens.INTROSPECT_FORM, required=("token",)),
    Endpoint("POST", "/v1/certificates", EVERYBODY, certificates.certify, CertificateResponse,
             "Issue a certificate for the key of a CSR.",
             body=CertificateSigningRequest, status=201),
    Endpoint("POST", "/ocsp", EVERYBODY, ocsp, bytes, "Send an OCSP request (RFC 6960).",
             media=_OCSP),
    Endpoint("GET", "/ocsp/{request:path}", EVERYBODY, ocsp_get, bytes,
             "Send an OCSP request in the path (RFC 6960, appendix A.1).", media=_OCSP),
    Endpoint("GET", "/crl", EVERYBODY, crl, bytes,
             "Get the certificate revocation list (CRL) in PEM.", media="application/x-pem-file"),
    Endpoint("GET", "/healthz", EVERYBODY, health, HealthResponse, "Check that the API responds."),
    Endpoint("GET", "/readyz", EVERYBODY, ready, HealthResponse,
             "Check whether the gateway is ready, and why not.", unready=503),
)  # fmt: skip
