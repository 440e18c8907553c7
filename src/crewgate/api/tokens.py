"""The token endpoint (RFC 6749, 8693) and introspection (RFC 7662), on a certificate's word.

For orchestrators that hold no signing key: the gateway's issuer signs for them. Three grants: a new
run (`client_credentials`), a child of a branch (`token-exchange`, the parent's token is the
subject), the next token of a branch (`refresh_token`, which is its last token).
"""

from collections.abc import Mapping

from crewgate.api import access
from crewgate.api.backend import Backend, TokenRequest
from crewgate.api.request import APIRequest
from crewgate.api.schemas import IntrospectionResponse, TokenResponse
from crewgate.core.credits import parse_credits
from crewgate.core.policy import scope
from crewgate.core.problem_types import (
    INVALID_GRANT,
    INVALID_SCOPE,
    JOURNAL_LOCKED,
    JOURNAL_UNAVAILABLE,
    UNSUPPORTED_GRANT_TYPE,
)
from crewgate.core.tokens.claims import is_text
from crewgate.core.x509.identity import Identity, Role
from crewgate.errors import IssuerError, JournalError, JournalLockedError, ScopeError

RUN = "client_credentials"
CHILD = "urn:ietf:params:oauth:grant-type:token-exchange"
NEXT = "refresh_token"
TOKEN_TYPE = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TYPE = "urn:ietf:params:oauth:token-type:access_token"

FORM = {
    "grant_type": f"{RUN}, {CHILD} or {NEXT}",
    "scope": "tools and patterns, with spaces between (a refresh: as it was, if not given)",
    "credits": 'decimal text such as "2.50" (a refresh: as it was, if not given)',
    "role": "what the sub-agent does",
    "process": "what to call the process that will hold the token",
    "subject_token": f"the parent's token, with {CHILD}",
    "subject_token_type": f"{TOKEN_TYPE}, or {ACCESS_TYPE}",
    "refresh_token": f"the branch's last token, expired or not, with {NEXT}",
    "orchestrator": "an operator only: <crew>/<name>, for whom",
}
INTROSPECT_FORM = {"token": "the token", "token_type_hint": "ignored (RFC 7662 §2.1)"}
# What each grant reads, and of that what it must be given.
_NEW = {"scope", "credits", "role"}
_READS: Mapping[str, tuple[set[str], set[str]]] = {
    RUN: (_NEW, {"process"}),
    CHILD: ({*_NEW, "subject_token", "subject_token_type"}, {"process"}),
    NEXT: ({"refresh_token"}, {"scope", "credits"}),
}


async def issue(backend: Backend, caller: Identity, call: APIRequest) -> TokenResponse:
    """Sign a token for the caller's branch; errors are those of RFC 6749 §5.2."""
    form = call.form()
    kind = _checked(form)
    crew, name = _whose(caller, form)
    try:
        return await _issue(backend, crew, name, kind, form)
    except JournalLockedError as error:
        raise JOURNAL_LOCKED.error(
            f"another process mints as {crew}/{name}; end it, or use another name"
        ) from error
    except JournalError as error:
        raise JOURNAL_UNAVAILABLE.error() from error
    except ScopeError as error:
        raise INVALID_SCOPE.error(str(error)) from error
    except IssuerError as error:
        raise INVALID_GRANT.error(str(error)) from error


async def _issue(
    backend: Backend, crew: str, name: str, kind: str, form: Mapping[str, str]
) -> TokenResponse:
    tools = tuple(form.get("scope", "").split())
    grant = TokenRequest(tools, form.get("credits"), form.get("role", ""), form.get("process", ""))
    if kind == NEXT:
        return await backend.refresh(crew, name, form["refresh_token"], grant)
    if kind == RUN:
        return await backend.start_run(crew, name, grant)
    return await backend.spawn(crew, name, form["subject_token"], grant)


async def introspect(backend: Backend, caller: Identity, call: APIRequest) -> IntrospectionResponse:
    """What a token says; to an orchestrator, another crew's is like no token (RFC 7662 §2.2)."""
    form = call.form()
    _known(form, set(INTROSPECT_FORM))
    if not form.get("token"):
        access.malformed(f"token: {INTROSPECT_FORM['token']}")
    found = await backend.introspect(form["token"])
    return found if access.sees(caller, found.crew) else IntrospectionResponse(active=False)


def _checked(form: Mapping[str, str]) -> str:
    """The grant type of a form whose fields can be read at all; ControlError 400."""
    _known(form, set(FORM))
    kind = form.get("grant_type", "")
    if not kind:
        access.malformed(f"grant_type: {FORM['grant_type']}")
    if kind not in _READS:
        raise UNSUPPORTED_GRANT_TYPE.error(f"grant_type: expected {FORM['grant_type']}")
    needed, others = _READS[kind]
    for field in sorted(needed):
        if not form.get(field):
            access.malformed(f"{field}: {FORM[field]}")
    _known(form, {*needed, *others, "grant_type", "orchestrator"}, f" with {kind}")
    if kind == CHILD and form["subject_token_type"] not in {TOKEN_TYPE, ACCESS_TYPE}:
        access.malformed(f"subject_token_type: expected {FORM['subject_token_type']}")
    _check_values(form)
    return kind


def _check_values(form: Mapping[str, str]) -> None:
    for field in ("role", "process"):
        if form.get(field) and not is_text(form[field]):
            access.malformed(f"{field}: expected characters of A-Z a-z 0-9 . _ : / @ -")
    if form.get("credits"):
        try:
            parse_credits(form["credits"])
        except ValueError:
            access.malformed('credits: expected decimal text such as "2.50"')
    for tool in form.get("scope", "").split():
        if not scope.is_pattern(tool):
            raise INVALID_SCOPE.error(
                f"scope: {tool[:64]!r} is neither a tool's name nor a pattern"
            )


def _known(form: Mapping[str, str], fields: set[str], where: str = "") -> None:
    unknown = sorted(form.keys() - fields)
    if unknown:
        access.malformed(f"{unknown[0][:64]!r} is not a field of this form{where}")


def _whose(caller: Identity, form: Mapping[str, str]) -> tuple[str, str]:
    named = form.get("orchestrator", "")
    if caller.role is Role.ORCHESTRATOR:
        if named not in {"", caller.label}:
            access.refuse(f"{caller.label} may get tokens for itself only")
        return caller.crew, caller.name
    if not named:
        access.malformed("orchestrator: name the one to get a token for, as <crew>/<name>")
    return access.orchestrator(named)
