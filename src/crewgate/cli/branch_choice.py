"""Finds the one branch that a person means by the beginning of its id, or by `CREW/ROLE`."""

from collections.abc import Sequence

from crewgate import limits
from crewgate.core.branch_reference import is_name
from crewgate.core.terminal_text import printable
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.cluster_tree import ClusterTreeRow


def the_only(reference: str, found: Sequence[ClusterTreeRow]) -> ClusterTreeRow:
    """Return the only branch that was found for a reference.

    Raises ServiceRefusedError if there is none or several; the text lists them.
    """
    if not found:
        what = "live branch" if is_name(reference) else "branch whose id begins with"
        raise ServiceRefusedError(
            f"no machine that answered knows a {what} {reference}; `crewgate tree` shows the "
            "branches"
        )
    if len(found) > 1:
        listed = [_candidate(row) for row in found[: limits.branch_candidates_max]]
        more = len(found) - len(listed)
        if more:
            listed.append(f"  and {more} more")
        ask = "write the id" if is_name(reference) else "write more of the id"
        raise ServiceRefusedError(
            "\n".join([f"{reference} may be one of {len(found)} branches; {ask}:", *listed])
        )
    return found[0]


def _candidate(row: ClusterTreeRow) -> str:
    role = row.role or ("ancestor" if row.parent else "run")
    where = ", ".join(each.machine for each in row.machines)
    return f"  {row.branch}  {printable(f'{row.crew}/{role}  {row.state}  on {where}')}"
