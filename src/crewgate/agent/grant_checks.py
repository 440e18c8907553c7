"""What guests say of grants, which they have verified: checked, and put into words.

A guest is trusted; a slip there must still not charge one crew's credit to another's branch.
"""

from crewgate.core import ids
from crewgate.core.tokens.grant import Grant
from crewgate.errors import LinkError


def level_name(grant: Grant, level: int) -> str:
    """The account `level` steps above the branch: a branch's UUID text, or the crew's name."""
    upwards = (grant.branch, *(each.id for each in reversed(grant.claims.branch_path)))
    return upwards[level] if level < len(upwards) else grant.crew


def check(grant: Grant) -> None:
    """LinkError unless the keys of a grant are those of its names, and its credits those it claims.

    A guest is trusted to have verified the token, but a slip there must not charge one crew's
    credit to another's branch, nor open one with credits that no record can hold.
    """
    if not 0 <= grant.quota <= grant.claims.credit_quota:
        raise LinkError(f"a grant of {grant.quota} micro-credits, which is not what it claims")
    try:
        path = tuple(ids.branch_key(grant.crew, each.id) for each in grant.claims.branch_path)
        branch = ids.branch_key(grant.crew, grant.branch)
    except ValueError as error:
        raise LinkError(f"a grant with a bad branch id: {error}") from error
    if (branch, path, ids.path_digest(path)) != (
        grant.branch_key,
        grant.path_keys,
        grant.path_digest,
    ):
        raise LinkError("a grant whose keys are not those of its names")
