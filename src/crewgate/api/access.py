"""Who may do what over the control API, by the identity that a certificate proves.

An operator does everything, an orchestrator what concerns its own crew, a gateway what peers need.
What is not there for somebody looks to him like what is not there at all.
"""

from typing import NoReturn

from crewgate import limits
from crewgate.core import cross_crew_account, problem_types
from crewgate.core.x509.identity import INSTANCE_BYTES, Identity, Role, check

EVERYBODY = frozenset(Role)
STAFF = frozenset({Role.OPERATOR, Role.ORCHESTRATOR})


def permit(caller: Identity | None, roles: frozenset[Role]) -> Identity:
    """The caller, if its role may use an endpoint at all; ControlError 403."""
    if caller is None or caller.role not in roles:
        refuse("the role in the client certificate may not use this endpoint")
    return caller


def crew_for(caller: Identity, crew: str) -> str:
    """The crew that a request is about: the caller's own, or any that an operator names.

    An account of the crew's calls by certificate is its own too. ControlError 403 for another's,
    400 for what no crew is called.
    """
    if len(crew) > limits.name_chars_max:
        malformed(f"crew: at most {limits.name_chars_max} characters")
    if caller.role is Role.OPERATOR:
        return crew
    own = crew or caller.crew
    if caller.role is not Role.ORCHESTRATOR or cross_crew_account.caller(own) != caller.crew:
        refuse(f"{caller.label} may act for its own crew only")
    return own


def sees(caller: Identity, crew: str) -> bool:
    """Whether the caller may know what there is of a crew, or of an account that its calls made."""
    return caller.role is not Role.ORCHESTRATOR or cross_crew_account.caller(crew) == caller.crew


def orchestrator(text: str) -> tuple[str, str]:
    """Crew and name of `<crew>/<name>`; ControlError 400 for what is no orchestrator's."""
    crew, _, name = text.partition("/")
    try:
        check(Identity(Role.ORCHESTRATOR, name, bytes(INSTANCE_BYTES), crew))
    except ValueError:
        malformed("an orchestrator is named <crew>/<name>, of a-z, 0-9, - and _")
    return crew, name


def refuse(detail: str) -> NoReturn:
    """403: known, and not allowed."""
    raise problem_types.NOT_PERMITTED.error(detail)


def missing(what: str) -> NoReturn:
    """404: not there, or not for the caller to know."""
    raise problem_types.NOT_FOUND.error(f"there is no such {what}")


def unseen(detail: str) -> NoReturn:
    """409: perhaps there, and not to be acted upon without more."""
    raise problem_types.REFUSED.error(detail)


def malformed(detail: str) -> NoReturn:
    """400: what was sent cannot be understood."""
    raise problem_types.INVALID_REQUEST.error(detail)


def unsupported(detail: str) -> NoReturn:
    """415: another kind of body."""
    raise problem_types.UNSUPPORTED_MEDIA_TYPE.error(detail)


def ambiguous(detail: str) -> NoReturn:
    """409: more than one is meant, or another already has it."""
    raise problem_types.REFUSED.error(detail)
