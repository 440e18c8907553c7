"""The token endpoint (RFC 6749, 8693) and introspection (RFC 7662), on a certificate's word.

For orchestrators that hold no signing key: the gateway's issuer signs for them. Three grants: a new
run (`client_credentials`), a child of a branch (`token-exchange`, the parent's token is the
subject), the next token of a branch (`refresh_token`, which is its last token).
"""

from collections.abc import Mapping

from crewgate.api import access
from crewgate.api.call import Call
from crewgate.api.office import Grant, Office
from crewgate.api.words import IntrospectionAnswer, TokenAnswer
from crewgate.core.identity import Identity, Role
from crewgate.errors import ControlError, IssuerError

RUN = "client_credentials"
CHILD = "urn:ietf:params:oauth:grant-type:token-exchange"
NEXT = "refresh_token"
TOKEN_TYPE = "urn:ietf:params:oauth:token-type:jwt"
_ACCESS_TYPE = "urn:ietf:params:oauth:token-type:access_token"

FORM = {
    "grant_type": f"{RUN}, {CHILD} or {NEXT}",
    "scope": "tools and patterns, with spaces between (a refresh: as it was, if not given)",
    "credits": 'decimal text such as "2.50" (a refresh: as it was, if not given)',
    "role": "what the sub-agent does",
    "process": "what to call the process that will hold the token",
    "subject_token": f"the parent's token, with {CHILD}",
    "subject_token_type": f"{TOKEN_TYPE}, or {_ACCESS_TYPE}",
    "refresh_token": f"the branch's last token, expired or not, with {NEXT}",
    "orchestrator": "an operator only: <crew>/<name>, for whom",
}
INTROSPECT_FORM = {"token": "the token", "token_type_hint": "ignored"}


async def issue(office: Office, caller: Identity, call: Call) -> TokenAnswer:
    """Sign a token for the caller's branch; errors are those of RFC 6749 §5.2."""
    form = call.form()
    unknown = form.keys() - FORM.keys()
    if unknown:
        _fail("invalid_request", f"unknown fields: {', '.join(sorted(unknown))[:64]}")
    crew, name = _whose(caller, form)
    tools = tuple(form.get("scope", "").split())
    grant = Grant(tools, form.get("credits"), form.get("role", ""), form.get("process", ""))
    try:
        return await _issue(office, crew, name, form, grant)
    except IssuerError as error:
        raise ControlError(400, "invalid_grant", str(error)) from error


async def _issue(
    office: Office, crew: str, name: str, form: Mapping[str, str], grant: Grant
) -> TokenAnswer:
    kind = form.get("grant_type", "")
    if kind == NEXT:
        return await office.refresh(crew, name, _needed(form, "refresh_token"), grant)
    if kind not in {RUN, CHILD}:
        _fail("unsupported_grant_type", f"grant_type: expected {FORM['grant_type']}")
    for field in ("scope", "credits", "role"):
        _needed(form, field)
    if kind == RUN:
        return await office.start_run(crew, name, grant)
    if form.get("subject_token_type") not in {TOKEN_TYPE, _ACCESS_TYPE}:
        _fail("invalid_request", f"subject_token_type: expected {FORM['subject_token_type']}")
    return await office.spawn(crew, name, _needed(form, "subject_token"), grant)


async def introspect(office: Office, caller: Identity, call: Call) -> IntrospectionAnswer:
    """What a token says; to an orchestrator, another crew's is like no token (RFC 7662 §2.2)."""
    found = await office.introspect(_needed(call.form(), "token"))
    return found if access.sees(caller, found.crew) else IntrospectionAnswer(active=False)


def _whose(caller: Identity, form: Mapping[str, str]) -> tuple[str, str]:
    named = form.get("orchestrator", "")
    if caller.role is Role.ORCHESTRATOR:
        if named not in {"", caller.label}:
            access.refuse(f"{caller.label} gets tokens for itself alone")
        return caller.crew, caller.name
    crew, _, name = named.partition("/")
    if not crew or not name:
        _fail("invalid_request", "orchestrator: an operator says for whom, as <crew>/<name>")
    return crew, name


def _needed(form: Mapping[str, str], field: str) -> str:
    value = form.get(field, "")
    if not value:
        _fail("invalid_request", f"{field}: {FORM.get(field, 'needed')}")
    return value


def _fail(code: str, detail: str) -> None:
    raise ControlError(400, code, detail)
