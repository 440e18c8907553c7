"""The endpoints of the control API, as a table: path, who may use it, what is asked and answered.

Routes, documentation and the test of every endpoint against every role are made from it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec

from crewgate import limits
from crewgate.api import access, tokens
from crewgate.api.access import EVERYBODY, STAFF
from crewgate.api.call import Call
from crewgate.api.office import Office
from crewgate.api.words import (
    BranchAnswer,
    BranchesAnswer,
    CertificateAnswer,
    CertificateAsk,
    Health,
    IntrospectionAnswer,
    RevocationAnswer,
    RevocationAsk,
    TokenAnswer,
)
from crewgate.core import crossing
from crewgate.core.identity import Identity, Role
from crewgate.core.ids import uuid_bytes

T = TypeVar("T")
Work = Callable[[Office, Identity, Call], Awaitable[object]]


class Endpoint(msgspec.Struct, frozen=True):
    """One method of one path. `form` are the fields of a form, by name, with what they mean."""

    method: str
    path: str
    roles: frozenset[Role]
    work: Work
    answer: type
    says: str
    ask: type | None = None
    form: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    status: int = 200


async def revoke(office: Office, caller: Identity, call: Call) -> RevocationAnswer:
    """End a branch, a certificate, or an orchestrator."""
    ask = call.decode(RevocationAsk)
    if sum(map(bool, (ask.branch, ask.certificate, ask.orchestrator))) != 1:
        access.malformed("name exactly one of branch, certificate and orchestrator")
    if ask.branch:
        _check_branch(ask.branch)
        return await office.revoke_branch(ask.branch, access.crew_for(caller, ask.crew))
    if ask.certificate:
        holder = await office.holder(ask.certificate)
        if holder is None or not access.sees(caller, holder.crew):
            access.missing("certificate")
        return await office.revoke_certificate(ask.certificate, ask.reason)
    crew, _, name = ask.orchestrator.partition("/")
    if not crew or not name:
        access.malformed("an orchestrator is named <crew>/<name>")
    return await office.revoke_orchestrator(access.crew_for(caller, crew), name, ask.reason)


async def branches(office: Office, caller: Identity, call: Call) -> BranchesAnswer:
    """Branches, parents first, a page at a time."""
    crew = access.crew_for(caller, call.query.get("crew", ""))
    rows = [
        row
        for row in await office.tree()
        if row.branch and crew in {"", row.crew, crossing.caller(row.crew)}
    ]
    after = call.query.get("after", "")
    if after:
        _check_branch(after)
        start = next((place for place, row in enumerate(rows, 1) if row.branch == after), len(rows))
        rows = rows[start:]
    most = call.whole("limit", limits.page_rows_default, limits.page_rows_max)
    return BranchesAnswer(branches=rows[:most], more=len(rows) > most)


async def branch(office: Office, caller: Identity, call: Call) -> BranchAnswer:
    """One branch."""
    return await _find(office, caller, call.path["branch"])


async def end_branch(office: Office, caller: Identity, call: Call) -> RevocationAnswer:
    """End a branch that is known here, and all below it."""
    row = await _find(office, caller, call.path["branch"])
    return await office.revoke_branch(row.branch, row.crew)


async def tree(office: Office, caller: Identity, call: Call) -> BranchesAnswer:  # noqa: ARG001
    """The whole auth graph that the caller may see, crews included."""
    rows = [row for row in await office.tree() if access.sees(caller, row.crew)]
    return BranchesAnswer(branches=rows)


async def certify(office: Office, caller: Identity, call: Call) -> CertificateAnswer:
    """A certificate for a CSR's key: the caller's own next one, or any if an operator asks."""
    ask = call.decode(CertificateAsk)
    own = (caller.role.value, caller.crew, caller.name)
    wanted = (ask.role or caller.role.value, ask.crew or caller.crew, ask.name or caller.name)
    if ask.role is not None and caller.role is Role.OPERATOR:
        wanted = (ask.role, ask.crew, ask.name)
    is_own = wanted == own
    if not is_own and caller.role is not Role.OPERATOR:
        access.refuse("only an operator asks for another's certificate")
    identity = msgspec.structs.replace(
        caller,
        role=Role(wanted[0]),
        crew=wanted[1],
        name=wanted[2],
        instance=caller.instance if is_own else b"",
        key=caller.key if is_own else b"",
        rights=caller.rights if is_own else (),
    )
    hosts = ask.hosts
    if hosts and caller.role is not Role.OPERATOR:
        access.refuse("only an operator gives a certificate names and addresses")
    return await office.certify(identity, ask.request, ask.life_seconds, hosts)


async def health(office: Office, caller: Identity, call: Call) -> Health:  # noqa: ARG001
    """The control process answers."""
    return Health(status="ok")


async def ready(office: Office, caller: Identity, call: Call) -> Health:  # noqa: ARG001
    """All workers accept, the agent is up, revocations are known."""
    return await office.health()


async def ocsp(office: Office, caller: Identity, call: Call) -> bytes:  # noqa: ARG001
    """RFC 6960, by POST."""
    return await office.ocsp(call.body)


async def crl(office: Office, caller: Identity, call: Call) -> bytes:  # noqa: ARG001
    """RFC 5280, section 5, as PEM."""
    return await office.crl()


async def _find(office: Office, caller: Identity, wanted: str) -> BranchAnswer:
    _check_branch(wanted)
    for row in await office.tree():
        if row.branch == wanted and access.sees(caller, row.crew):
            return row
    return access.missing("branch")


def _check_branch(text: str) -> None:
    try:
        uuid_bytes(text)
    except ValueError as error:
        access.malformed(f"branch: {error}")


_CREW = {"crew": "of this crew; an orchestrator sees its own alone"}
_PAGE = {"after": "those after this branch", "limit": f"at most {limits.page_rows_max}"}

ENDPOINTS = (
    Endpoint("POST", "/v1/revocations", STAFF, revoke, RevocationAnswer,
             "End a branch, a certificate or an orchestrator, at once.", ask=RevocationAsk),
    Endpoint("GET", "/v1/branches", STAFF, branches, BranchesAnswer,
             "Branches, parents before their children.", query={**_CREW, **_PAGE}),
    Endpoint("GET", "/v1/branches/{branch}", STAFF, branch, BranchAnswer, "One branch."),
    Endpoint("DELETE", "/v1/branches/{branch}", STAFF, end_branch, RevocationAnswer,
             "End a branch and all that it spawned."),
    Endpoint("GET", "/v1/tree", STAFF, tree, BranchesAnswer, "The auth graph, crews included."),
    Endpoint("POST", "/v1/tokens", STAFF, tokens.issue, TokenAnswer,
             "A token: of a new run, of a child, or the next of a branch.", form=tokens.FORM),
    Endpoint("POST", "/v1/introspect", EVERYBODY, tokens.introspect, IntrospectionAnswer,
             "What a token says, if it is good (RFC 7662).", form=tokens.INTROSPECT_FORM),
    Endpoint("POST", "/v1/certificates", EVERYBODY, certify, CertificateAnswer,
             "A certificate for the key of a CSR.", ask=CertificateAsk, status=201),
    Endpoint("POST", "/ocsp", EVERYBODY, ocsp, bytes, "OCSP (RFC 6960)."),
    Endpoint("GET", "/crl", EVERYBODY, crl, bytes, "The list of revoked certificates, PEM."),
    Endpoint("GET", "/healthz", EVERYBODY, health, Health, "The control process answers."),
    Endpoint("GET", "/readyz", EVERYBODY, ready, Health, "The gateway is ready."),
)  # fmt: skip
