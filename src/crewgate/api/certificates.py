"""Issues certificates over the control API: a caller's own, its branches', a server's, or any."""

from crewgate.api import access
from crewgate.api.access import STAFF
from crewgate.api.backend import Backend, CertificateRequest
from crewgate.api.request import APIRequest
from crewgate.api.schemas import CertificateResponse, CertificateSigningRequest
from crewgate.core.ids import uuid_bytes
from crewgate.core.x509.identity_extension import Identity, Role

_AGENT = "agent"


async def certify(backend: Backend, caller: Identity, request: APIRequest) -> CertificateResponse:
    """Issue a certificate for a CSR: the caller's own next one, one of its branches', or any.

    Only an operator gets any.
    """
    body = request.decode(CertificateSigningRequest)
    if body.renews:
        return await _renew_server(backend, caller, request, body)
    if body.role == _AGENT or body.branch_token:
        return await _certify_branch(backend, caller, request, body)
    role, crew, name = _requested_identity(caller, body)
    is_own = (role, crew, name) == (caller.role, caller.crew, caller.name)
    if not is_own and caller.role is not Role.OPERATOR:
        access.refuse("only an operator may request a certificate for somebody else")
    if body.hosts and caller.role is not Role.OPERATOR:
        access.refuse("only an operator may set host names and addresses")
    # A renewal has the same identity. Another holder's certificate gets a new instance later.
    identity = caller if is_own else Identity(role, name, b"", crew)
    return await backend.certify(
        CertificateRequest(
            identity, body.request, request.serial, is_own, body.life_seconds, tuple(body.hosts)
        )
    )


async def _renew_server(
    backend: Backend, caller: Identity, request: APIRequest, body: CertificateSigningRequest
) -> CertificateResponse:
    """Renew a server's certificate, which has no identity, for a holder of its key."""
    if caller.role not in {Role.GATEWAY, Role.OPERATOR}:
        access.refuse("only a gateway or an operator may renew a server's certificate")
    if body.role or body.crew or body.name or body.hosts or body.life_seconds or body.branch_token:
        access.malformed(
            "renews: the new certificate copies the previous one; send only `request` with it"
        )
    return await backend.certify_server(body.request, body.renews, request.serial)


async def _certify_branch(
    backend: Backend, caller: Identity, request: APIRequest, body: CertificateSigningRequest
) -> CertificateResponse:
    """Issue a certificate for the branch of a token: to its orchestrator, or to an operator."""
    access.permit(caller, STAFF)
    if body.role != _AGENT or not body.branch_token:
        access.malformed("branch_token: role agent needs it, and no other role takes it")
    if body.crew or body.name or body.hosts:
        access.malformed("the token says crew and name; leave out crew, name and hosts")
    found = await backend.introspect(body.branch_token)
    if not found.active or not access.sees(caller, found.crew):
        access.malformed("branch_token: gateways do not accept this token; show the newest one")
    crew, name = access.orchestrator(found.client_id)
    if caller.role is Role.ORCHESTRATOR and (crew, name) != (caller.crew, caller.name):
        access.refuse(f"{caller.label} may get certificates for its own branches only")
    if crew != found.crew:
        access.malformed("branch_token: its orchestrator is not of its crew")
    identity = Identity(Role.AGENT, name, uuid_bytes(found.branch), crew)
    wanted = CertificateRequest(
        identity,
        body.request,
        request.serial,
        life_seconds=body.life_seconds,
        until=found.exp,
    )
    return await backend.certify(wanted)


def _requested_identity(caller: Identity, body: CertificateSigningRequest) -> tuple[Role, str, str]:
    """Return role, crew and name; those of the caller, if the request has none."""
    if not (body.role or body.crew or body.name):
        return caller.role, caller.crew, caller.name
    role = Role(body.role) if body.role else caller.role
    if role is Role.ORCHESTRATOR and caller.role is Role.ORCHESTRATOR:
        return role, body.crew or caller.crew, body.name or caller.name
    return role, body.crew, body.name or (caller.name if role is caller.role else "")
