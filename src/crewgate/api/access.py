"""Decides who may do what over the control API, by the identity that a certificate proves.

An operator may do everything, an orchestrator what concerns its own crew, and a gateway what
cluster members need. The response for an object that a caller may not see is the same as for one
that does not exist.
"""

from typing import NoReturn

from crewgate import limits
from crewgate.core import cross_crew_accounts, problem_types
from crewgate.core.x509.identity_extension import INSTANCE_BYTES, Identity, Role, check

# The sub-agent of a branch may not use this API: its orchestrator mints and revokes for it.
EVERYBODY = frozenset(Role) - {Role.AGENT}
STAFF = frozenset({Role.OPERATOR, Role.ORCHESTRATOR})


def permit(caller: Identity | None, roles: frozenset[Role]) -> Identity:
    """Return the caller if its role may use an endpoint. Raises ControlError 403."""
    if caller is None or caller.role not in roles:
        refuse("the role in the client certificate may not use this endpoint")
    return caller


def crew_for(caller: Identity, crew: str) -> str:
    """Return the crew that a request is about: the caller's own, or any that an operator names.

    An account of the crew's calls by certificate (`cross_crew_accounts`) belongs to the crew.
    Raises ControlError 403 for another crew, and 400 for a name that is too long.
    """
    if len(crew) > limits.name_chars_max:
        malformed(f"crew: at most {limits.name_chars_max} characters")
    if caller.role is Role.OPERATOR:
        return crew
    own = crew or caller.crew
    if caller.role is not Role.ORCHESTRATOR or cross_crew_accounts.caller(own) != caller.crew:
        refuse(f"{caller.label} may act for its own crew only")
    return own


def sees(caller: Identity, crew: str) -> bool:
    """Return whether the caller may see the objects of a crew, or of a cross-crew account."""
    is_own = bool(caller.crew) and cross_crew_accounts.caller(crew) == caller.crew
    return is_own or caller.role in {Role.OPERATOR, Role.GATEWAY}


def orchestrator(text: str) -> tuple[str, str]:
    """Split `<crew>/<name>`. Raises ControlError 400 if it cannot name an orchestrator."""
    crew, _, name = text.partition("/")
    try:
        check(Identity(Role.ORCHESTRATOR, name, bytes(INSTANCE_BYTES), crew))
    except ValueError:
        malformed("expected an orchestrator as <crew>/<name>, of a-z, 0-9, - and _")
    return crew, name


def refuse(detail: str) -> NoReturn:
    """Raise ControlError 403: the caller may not do this."""
    raise problem_types.NOT_PERMITTED.error(detail)


def missing(what: str) -> NoReturn:
    """Raise ControlError 404: it does not exist, or the caller may not see it."""
    raise problem_types.NOT_FOUND.error(f"there is no such {what}")


def unclear(detail: str) -> NoReturn:
    """Raise ControlError 409: no object or more than one matches, so the request must say more."""
    raise problem_types.REFUSED.error(detail)


def malformed(detail: str) -> NoReturn:
    """Raise ControlError 400: the request is malformed."""
    raise problem_types.INVALID_REQUEST.error(detail)


def unsupported(detail: str) -> NoReturn:
    """Raise ControlError 415: the body has another media type."""
    raise problem_types.UNSUPPORTED_MEDIA_TYPE.error(detail)
