"""Records of an imagined afternoon, made as a gateway makes them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from crewgate.core.audit.records import (
    BurnedReservationRecord,
    CallOutcome,
    CallRecord,
    GrantRecord,
    RuleStepRecord,
    StreamOpened,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROOT = "0199c1d2-0000-7000-8000-00000000000a"
CHILD = "0199c1d2-0000-7000-8000-00000000000b"
OTHER = "0199c1d2-0000-7000-8000-00000000000c"


def who(branch: str, role: str, crew: str = "article") -> dict[str, Any]:
    """Identity of a branch; `CHILD` hangs below `ROOT`."""
    return {
        "crew": crew,
        "orchestrator": f"{crew}/one",
        "process": "pid_1",
        "role": role,
        "branch": branch,
        "ancestry": (ROOT,) if branch == CHILD else (),
        "grant": f"grant-{role}",
        "subject": "user_1",
    }


def what(second: int, tool: str, request: str = "") -> dict[str, Any]:
    """A request of that tool, so many seconds after noon."""
    return {
        "time": NOON + timedelta(seconds=second),
        "request": request or f"request-{second}",
        "listener": "agents",
        "peer": "192.0.2.0/24",
        "tool": tool,
        "method": "POST",
    }


def permit(second: int, branch: str, role: str, tool: str, cost: int, **more: Any) -> CallRecord:
    """A call that was let through."""
    return CallRecord(
        **who(branch, role, more.pop("crew", "article")),
        **what(second, tool),
        verdict="permit",
        outcome=more.pop("outcome", CallOutcome.DONE),
        cost_micro=cost,
        quota_micro=2_500_000,
        duration_us=1_500,
        **more,
    )


def grant(branch: str, role: str, issued: int, **more: Any) -> GrantRecord:
    """A grant that was issued so many seconds after noon, and first used a second later."""
    identity = {**who(branch, role, more.pop("crew", "article")), **more.pop("who", {})}
    return GrantRecord(
        **identity,
        time=NOON + timedelta(seconds=issued + 1),
        kid="article-1",
        tools=("search.*",),
        quota_micro=2_500_000,
        issued=NOON + timedelta(seconds=issued),
        expires=NOON + timedelta(seconds=issued + 900),
        **more,
    )


def deny(second: int, branch: str, role: str, tool: str, reason: str, **more: Any) -> CallRecord:
    """A call that was refused."""
    return CallRecord(
        **who(branch, role),
        **what(second, tool),
        verdict="deny",
        outcome=CallOutcome.REFUSED,
        cost_micro=0,
        quota_micro=2_500_000,
        duration_us=30,
        reason=reason,
        **more,
    )


def opening(second: int, branch: str, role: str, tool: str, request: str) -> StreamOpened:
    """A stream that begins."""
    return StreamOpened(**who(branch, role), **what(second, tool, request), price_micro=10_000)


def burned(second: int, branch: str, role: str, tool: str, request: str) -> BurnedReservationRecord:
    """A reservation whose owner died."""
    return BurnedReservationRecord(
        **who(branch, role),
        time=NOON + timedelta(seconds=second),
        started=NOON,
        request=request,
        tool=tool,
        cost_micro=10_000,
        cause="owner-died",
        branch_key="00" * 16,
        grant_key="11" * 16,
        owner=3,
    )


def rule_step(
    second: int, branch: str, role: str, rule: str, step: str, count: int, **more: Any
) -> RuleStepRecord:
    """A step that a rule took for the call of this second."""
    return RuleStepRecord(
        **who(branch, role, more.pop("crew", "article")),
        time=NOON + timedelta(seconds=second),
        rule=rule,
        rule_kind=more.pop("rule_kind", "same-call"),
        step=step,
        mode=more.pop("mode", "enforce"),
        count=count,
        limit=more.pop("limit", count),
        tool="search.web",
        request=f"request-{second}",
        **more,
    )
