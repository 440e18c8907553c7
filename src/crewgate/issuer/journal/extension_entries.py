"""Makes the journal's lines of a further grant, and of a refused request for one."""

from crewgate.core.tokens.claims import Claims
from crewgate.issuer.branches.branch_issuer import GrantChange
from crewgate.issuer.journal.journal_entries import ExtensionRecord, ExtensionRefused, new_tools


def extended(
    before: Claims, after: Claims, change: GrantChange, ends_at: int | None, now: float
) -> ExtensionRecord:
    """Make the line of a further grant: what `after` adds to `before`.

    `ends_at` is when the branch ends from now on; None is no such time.
    """
    return ExtensionRecord(
        at=now,
        claims=after,
        seconds=after.exp - before.exp,
        credits=after.credit_quota - before.credit_quota,
        tools=new_tools(before, after.allowed_tools),
        reason=change.reason,
        overcommit=change.overcommit,
        way=change.way,
        decided_by=change.decided_by,
        answer=change.answer,
        ends_at=ends_at,
        end_moved=0 if ends_at is None else change.seconds or 0,
    )


def refused(claims: Claims, change: GrantChange, by: str, now: float) -> ExtensionRefused:
    """Make the line of a refused request about the branch whose newest claims are `claims`."""
    more = 0 if change.quota is None else change.quota - claims.credit_quota
    return ExtensionRefused(
        at=now,
        branch=claims.execution_branch_id,
        by=by,
        grant=claims.jti,
        seconds=change.seconds or 0,
        credits=more + change.more_quota,
        tools=new_tools(claims, [*(change.tools or ()), *change.more_tools]),
        reason=change.reason,
        way=change.way,
        decided_by=change.decided_by,
        answer=change.answer,
    )
