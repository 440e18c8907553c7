"""Checks that the grants which attached processes send are consistent.

The agent trusts an attached process to have verified the token. A bug there must still not charge
one crew's credit to a branch of another crew.
"""

import msgspec

from crewgate.core import ids
from crewgate.core.tokens.claims import Claims
from crewgate.core.tokens.grant import Grant
from crewgate.errors import ServiceConnectionError


def level_name(grant: Grant, level: int) -> str:
    """Return the account `level` steps above the branch: the UUID of a branch, or the crew."""
    upwards = (grant.branch, *(each.id for each in reversed(grant.claims.branch_path)))
    return upwards[level] if level < len(upwards) else grant.crew


def grant_of(claims: Claims, crew: str, kid: str) -> Grant:
    """Return the grant of a token with these claims. Raises ValueError for a bad branch id."""
    path = tuple(ids.branch_key(crew, each.id) for each in claims.branch_path)
    own = ids.branch_key(crew, claims.execution_branch_id)
    return Grant(claims, crew, kid, claims.credit_quota, own, path, ids.path_digest(path))


def check(grant: Grant) -> None:
    """Check that a grant's keys follow from its names, and its quota from its claims.

    Raises ServiceConnectionError if they do not.

    An inconsistent grant could open a branch with more credits than a record can hold.
    """
    if not 0 <= grant.quota <= grant.claims.credit_quota:
        raise ServiceConnectionError(
            f"a grant of {grant.quota} micro-credits, but its token has {grant.claims.credit_quota}"
        )
    try:
        expected = grant_of(grant.claims, grant.crew, grant.kid)
    except ValueError as error:
        raise ServiceConnectionError(f"a grant with an invalid branch id: {error}") from error
    if grant != msgspec.structs.replace(expected, quota=grant.quota):
        raise ServiceConnectionError("a grant whose keys do not follow from its names")
