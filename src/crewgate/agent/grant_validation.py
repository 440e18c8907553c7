"""Checks that the grants which attached processes send are consistent.

The agent trusts an attached process to have verified the token. A bug there must still not charge
one crew's credit to a branch of another crew.
"""

from crewgate.core import ids
from crewgate.core.tokens.grant import Grant
from crewgate.errors import LinkError


def level_name(grant: Grant, level: int) -> str:
    """Return the account `level` steps above the branch: the UUID of a branch, or the crew."""
    upwards = (grant.branch, *(each.id for each in reversed(grant.claims.branch_path)))
    return upwards[level] if level < len(upwards) else grant.crew


def check(grant: Grant) -> None:
    """Raise LinkError unless a grant's keys follow from its names, and its quota from its claims.

    An inconsistent grant could open a branch with more credits than a record can hold.
    """
    if not 0 <= grant.quota <= grant.claims.credit_quota:
        raise LinkError(
            f"a grant of {grant.quota} micro-credits, but its token has {grant.claims.credit_quota}"
        )
    try:
        path = tuple(ids.branch_key(grant.crew, each.id) for each in grant.claims.branch_path)
        branch = ids.branch_key(grant.crew, grant.branch)
    except ValueError as error:
        raise LinkError(f"a grant with an invalid branch id: {error}") from error
    if (branch, path, ids.path_digest(path)) != (
        grant.branch_key,
        grant.path_keys,
        grant.path_digest,
    ):
        raise LinkError("a grant whose keys do not follow from its names")
