"""The authority behind one call: who asked for it, who signed, and what each branch was allowed."""

from typing import TYPE_CHECKING

import msgspec

from crewgate.audit.filters import AuditFilter
from crewgate.audit.query_results import CallRow, GrantRow, RecordedRuleStep

if TYPE_CHECKING:  # the engine of queries is large
    from crewgate.audit.queries import AuditQueries


class BranchAuthority(msgspec.Struct, frozen=True):
    """A branch on the path from the run to the call.

    `grant` is None if this machine has not recorded one. `stated_micro` is the quota that the grant
    of the call states for the branch; None if that grant is not recorded either.
    """

    branch: str
    stated_micro: int | None
    grant: GrantRow | None


class CallExplanation(msgspec.Struct, frozen=True):
    """A call, and the branches from its run down to the one that called.

    `same_id_grants` is the number of different recorded grants with the id of the call's grant. It
    is more than one only if their signer has used the id again; then the newest of them is shown.
    `rules` are the steps that rules on branches took for the call.
    """

    call: CallRow
    branches: list[BranchAuthority]
    same_id_grants: int
    rules: list[RecordedRuleStep]


def explanation(audit: "AuditQueries", question: AuditFilter) -> CallExplanation | None:
    """Return the explanation of the newest call that matches; None if there is none."""
    calls = audit.calls(question)
    if not calls:
        return None
    call = calls[-1]
    found = audit.grants(call)
    grants = {each.branch: each for each in found}  # the newest of several is the last
    own = grants.get(call.branch)
    stated: list[int] = [*own.path_quota_micro, own.quota_micro] if own else []
    path = [*call.ancestry, call.branch]
    quotas: list[int | None] = [*stated] if len(stated) == len(path) else [None] * len(path)
    return CallExplanation(
        call,
        [
            BranchAuthority(branch, quota, grants.get(branch))
            for branch, quota in zip(path, quotas, strict=True)
        ],
        sum((each.branch, each.grant) == (call.branch, call.grant) for each in found),
        audit.steps_of(call),
    )
