"""The token endpoint (RFC 6749, RFC 8693) and introspection (RFC 7662).

They are for orchestrators without a signing key: a certificate authenticates the orchestrator, and
the gateway's issuer signs. There are three grant types: `client_credentials` for a new run,
`token-exchange` for a child of a branch (the subject token is the parent's) or for a new run on
behalf of a person (the subject token is an identity provider's), and `refresh_token` for the next
token of a branch (the refresh token is the branch's latest token).
"""

import re
from collections.abc import Mapping

import msgspec

from crewgate import limits
from crewgate.api import access
from crewgate.api.backend import Backend, TokenRequest
from crewgate.api.request import APIRequest
from crewgate.api.schemas import IntrospectionResponse, TokenResponse
from crewgate.core import problem_types
from crewgate.core.credits import parse_credits
from crewgate.core.policy import scope
from crewgate.core.tokens.claims import Confirmation, ProvenProcess, is_digest, is_text
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import (
    BranchRevokedError,
    ExtensionRefusedError,
    IssuerError,
    JournalError,
    JournalLockedError,
    ScopeError,
    SubjectTokenError,
)

RUN = "client_credentials"
CHILD = "urn:ietf:params:oauth:grant-type:token-exchange"
NEXT = "refresh_token"
TOKEN_TYPE = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TYPE = "urn:ietf:params:oauth:token-type:access_token"
ID_TYPE = "urn:ietf:params:oauth:token-type:id_token"

FORM = {
    "grant_type": f"{RUN}, {CHILD} or {NEXT}",
    "scope": "tools and patterns, separated by spaces (default for a refresh: unchanged)",
    "credits": 'decimal text such as "2.50" (default for a refresh: unchanged)',
    "role": "the role of the sub-agent",
    "process": "a name for the process that will hold the token",
    "process_proven": "true, if the kernel has named the process to the orchestrator",
    "dpop_jkt": "bind the tokens of the branch to the key with this thumbprint (RFC 7638)",
    "x5t_s256": "bind the tokens of the branch to the certificate with this SHA-256 digest "
    "(RFC 8705), in base64url (default for a refresh, if it has neither: unchanged)",
    "seconds": "when a new branch ends, in seconds from now (default: no such time), or by how "
    "many seconds a branch ends later",
    "reason": "why, for the journal: at most 500 characters",
    "decided_by": "of a refresh for a sub-agent: `callback` if the orchestrator has decided it, "
    "`policy` if the crew's limits alone decide",
    "subject": f"on whose behalf the run acts (default: the orchestrator itself); for {RUN}",
    "subject_token": "the parent's token, or the token of an identity provider that names the "
    f"person on whose behalf a new run acts; for {CHILD}",
    "subject_token_type": f"{TOKEN_TYPE}, {ACCESS_TYPE}, or {ID_TYPE} of an identity provider",
    "refresh_token": f"the branch's latest token, expired or not; for {NEXT}",
    "orchestrator": "the orchestrator to act for, as <crew>/<name>; only for operators",
}
_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)
INTROSPECT_FORM = {"token": "the token", "token_type_hint": "ignored (RFC 7662 §2.1)"}
# For each grant type: its required fields, and its optional ones.
_NEW = {"scope", "credits", "role"}
_BINDING = {"dpop_jkt", "x5t_s256"}
_NEW_OPTIONAL = {"process", "process_proven", "seconds", "reason", *_BINDING}
_FIELDS: Mapping[str, tuple[set[str], set[str]]] = {
    RUN: (_NEW, {*_NEW_OPTIONAL, "subject"}),
    CHILD: ({*_NEW, "subject_token", "subject_token_type"}, _NEW_OPTIONAL),
    NEXT: ({"refresh_token"}, {"scope", "credits", "seconds", "reason", "decided_by", *_BINDING}),
}


async def issue(backend: Backend, caller: Identity, request: APIRequest) -> TokenResponse:
    """Return a new token for the caller; errors are those of RFC 6749, section 5.2."""
    form = request.form()
    kind = _grant_type(form)
    crew, name = _orchestrator(caller, form)
    try:
        return await _issue(backend, crew, name, kind, form)
    except JournalLockedError as error:
        raise problem_types.JOURNAL_LOCKED.error(
            f"another process mints tokens as {crew}/{name}; stop it, or use another name"
        ) from error
    except JournalError as error:
        raise problem_types.JOURNAL_UNAVAILABLE.error() from error
    except ExtensionRefusedError as error:
        raise problem_types.EXTENSION_REFUSED.error(str(error)) from error
    except ScopeError as error:
        raise problem_types.INVALID_SCOPE.error(str(error)) from error
    except BranchRevokedError as error:
        raise problem_types.NO_FURTHER_TOKEN.error(str(error)) from error
    except SubjectTokenError as error:  # as RFC 8693 says, section 2.2.2
        raise problem_types.INVALID_REQUEST.error(str(error)) from error
    except IssuerError as error:
        raise problem_types.INVALID_GRANT.error(str(error)) from error


async def _issue(
    backend: Backend, crew: str, name: str, kind: str, form: Mapping[str, str]
) -> TokenResponse:
    tools = tuple(form.get("scope", "").split())
    grant = TokenRequest(
        tools,
        form.get("credits"),
        form.get("role", ""),
        _process(form.get("process", ""), is_proven=bool(form.get("process_proven"))),
        _binding(form.get("dpop_jkt"), form.get("x5t_s256")),
        _seconds(form),
        form.get("reason", ""),
        form.get("decided_by", ""),
        form.get("subject"),
    )
    if kind == NEXT:
        return await backend.refresh(crew, name, form["refresh_token"], grant)
    if kind == RUN:
        return await backend.start_run(crew, name, grant)
    token = form["subject_token"]
    if form["subject_token_type"] == ID_TYPE or backend.claims_known_provider(token):
        grant = msgspec.structs.replace(grant, subject_token=token)
        return await backend.start_run(crew, name, grant)
    return await backend.spawn(crew, name, token, grant)


def _seconds(form: Mapping[str, str]) -> int | None:
    text = form.get("seconds", "")
    seconds = int(text) if _NUMBER.fullmatch(text) else 0
    return seconds if 1 <= seconds <= limits.branch_seconds_max else None


def _process(name: str, *, is_proven: bool) -> str | ProvenProcess | None:
    return ProvenProcess(name) if is_proven else name or None


def _binding(jkt: str | None, x5t: str | None) -> Confirmation | None:
    return Confirmation(jkt, x5t) if jkt or x5t else None


async def introspect(
    backend: Backend, caller: Identity, request: APIRequest
) -> IntrospectionResponse:
    """Return the claims of a token.

    To an orchestrator, another crew's token is not active (RFC 7662, section 2.2).
    """
    form = request.form()
    _check_fields(form, set(INTROSPECT_FORM))
    if not form.get("token"):
        access.malformed(f"token: {INTROSPECT_FORM['token']}")
    claims = await backend.introspect(form["token"])
    return claims if access.sees(caller, claims.crew) else IntrospectionResponse(active=False)


def _grant_type(form: Mapping[str, str]) -> str:
    """Check the fields of a form and return its grant type. Raises ControlError 400."""
    _check_fields(form, set(FORM))
    kind = form.get("grant_type", "")
    if not kind:
        access.malformed(f"grant_type: {FORM['grant_type']}")
    if kind not in _FIELDS:
        raise problem_types.UNSUPPORTED_GRANT_TYPE.error(
            f"grant_type: expected {FORM['grant_type']}"
        )
    required, optional = _FIELDS[kind]
    for field in sorted(required):
        if not form.get(field):
            access.malformed(f"{field}: {FORM[field]}")
    _check_fields(form, {*required, *optional, "grant_type", "orchestrator"}, f" with {kind}")
    if kind == CHILD and form["subject_token_type"] not in {TOKEN_TYPE, ACCESS_TYPE, ID_TYPE}:
        access.malformed(f"subject_token_type: expected {FORM['subject_token_type']}")
    _check_values(form)
    return kind


def _check_values(form: Mapping[str, str]) -> None:
    for field in ("role", "process", "subject"):
        if form.get(field) and not is_text(form[field]):
            access.malformed(f"{field}: expected characters of A-Z a-z 0-9 . _ : / @ -")
    for field in sorted(_BINDING):
        if form.get(field) and not is_digest(form[field]):
            access.malformed(f"{field}: expected the base64url of 32 bytes: 43 characters")
    _check_extension(form)
    if form.get("process_proven", "true") != "true" or not (
        form.get("process") or "process_proven" not in form
    ):
        access.malformed("process_proven: expected true, together with process")
    if form.get("credits"):
        try:
            parse_credits(form["credits"])
        except ValueError:
            access.malformed('credits: expected decimal text such as "2.50"')
    for tool in form.get("scope", "").split():
        if not scope.is_pattern(tool):
            raise problem_types.INVALID_SCOPE.error(
                f"scope: {tool[:64]!r} is neither a tool's name nor a pattern"
            )


def _check_extension(form: Mapping[str, str]) -> None:
    if "seconds" in form and _seconds(form) is None:
        access.malformed(f"seconds: expected a whole number from 1 to {limits.branch_seconds_max}")
    if len(form.get("reason", "")) > limits.reason_chars_max:
        access.malformed(f"reason: expected at most {limits.reason_chars_max} characters")
    if form.get("decided_by", "policy") not in {"policy", "callback"}:
        access.malformed(f"decided_by: {FORM['decided_by']}")


def _check_fields(form: Mapping[str, str], fields: set[str], where: str = "") -> None:
    unknown = sorted(form.keys() - fields)
    if unknown:
        access.malformed(f"{unknown[0][:64]!r} is not a field of this form{where}")


def _orchestrator(caller: Identity, form: Mapping[str, str]) -> tuple[str, str]:
    label = form.get("orchestrator", "")
    if caller.role is Role.ORCHESTRATOR:
        if label not in {"", caller.label}:
            access.refuse(f"{caller.label} may get tokens for itself only")
        return caller.crew, caller.name
    if not label:
        access.malformed("orchestrator: name the one to get a token for, as <crew>/<name>")
    return access.orchestrator(label)
