"""Makes the audit records of a call from its request, its grant and its verdict."""

from datetime import datetime
from typing import NotRequired, TypedDict

import msgspec

from crewgate.core.audit import records
from crewgate.core.audit.digest_texts import call_text
from crewgate.core.reasons import Reason
from crewgate.core.rules.rule import StepFinding
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial, problem_type


class IdentityFields(TypedDict):
    """The fields of `AttributedRecord`, as keyword arguments of a record."""

    crew: str
    orchestrator: str
    process: str
    role: str
    branch: str
    ancestry: tuple[str, ...]
    grant: str
    subject: str
    process_proven: NotRequired[bool]


class CallFields(TypedDict):
    """The fields that `CallRecord` and `StreamOpened` share, as keyword arguments."""

    time: datetime
    request: str
    listener: str
    peer: str
    tool: str
    method: str


def who(grant: Grant) -> IdentityFields:
    """Return the identity that a verified grant proves."""
    claims = grant.claims
    return {
        "crew": grant.caller,
        "orchestrator": claims.client_id,
        "process": claims.process_id,
        "role": claims.agent_role,
        "branch": claims.execution_branch_id,
        "ancestry": tuple([element.id for element in claims.branch_path]),
        "grant": claims.jti,
        "subject": claims.sub,
        "process_proven": claims.process_proven is True,
    }


def of_level(grant: Grant, level: int) -> IdentityFields:
    """Return what a grant proves about the branch `level` levels above its own; 0 is its own."""
    identity = who(grant)
    if level == 0:
        return identity
    above = identity["ancestry"][: len(identity["ancestry"]) - level + 1]
    return {
        "crew": identity["crew"],
        "orchestrator": identity["orchestrator"],
        "process": "",
        "role": "",
        "branch": above[-1],
        "ancestry": above[:-1],
        "grant": "",
        "subject": identity["subject"],
    }


def rule_step(
    grant: Grant, finding: StepFinding, request: bytes, time_ns: int, tool: str
) -> records.RuleStepRecord:
    """Return the record of a step that a rule on branches took for a call of a tool."""
    rule = finding.rule
    return records.RuleStepRecord(
        **of_level(grant, finding.level),
        time=records.when(time_ns),
        rule=rule.name,
        rule_kind=rule.kind.value,
        step=finding.step.value,
        mode=rule.mode.value,
        count=finding.count,
        limit=finding.limit,
        tool=tool,
        request=records.request_text(request),
        caller=grant.branch if finding.level else "",
    )


def granted(grant: Grant, time_ns: int) -> records.GrantRecord:
    """Return the record of a grant that was admitted at `time_ns` for the first time."""
    claims = grant.claims
    return records.GrantRecord(
        **who(grant),
        time=records.when(time_ns),
        account="" if grant.crew == grant.caller else grant.crew,
        kid=grant.kid,
        tools=tuple(claims.allowed_tools),
        quota_micro=grant.quota,
        path_quota_micro=tuple([element.credit_quota for element in claims.branch_path]),
        issued=records.when(claims.iat * 10**9),
        expires=records.when(claims.exp * 10**9),
        jkt=(claims.cnf and claims.cnf.jkt) or "",
        x5t=(claims.cnf and claims.cnf.x5t) or "",
    )


def what(request: records.CallInfo) -> CallFields:
    """Return the facts of a request that its records repeat."""
    return {
        "time": records.when(request.time_ns),
        "request": records.request_text(request.id),
        "listener": request.listener,
        "peer": request.peer,
        "tool": request.tool,
        "method": request.method,
    }


def permitted(
    request: records.CallInfo,
    grant: Grant,
    end: records.CallEnd,
    *,
    remaining_micro: int | None = None,
    would: Reason | None = None,
) -> records.CallRecord:
    """Return the record of a permitted call that has ended."""
    return records.CallRecord(
        **who(grant),
        **what(request),
        **msgspec.structs.asdict(end),
        verdict="permit",
        remaining_micro=remaining_micro,
        quota_micro=grant.quota,
        would=would.value if would else "",
        certificate=request.certificate,
        trace=request.trace,
    )


def denied(request: records.CallInfo, denial: Denial) -> records.CallRecord:
    """Return the record of a refusal after a good signature.

    Raises ValueError for a denial without a grant: without a proven identity, a refusal is only
    counted (`audit/refusal_counts`).
    """
    grant = denial.grant
    if grant is None:
        message = f"a refusal without a grant ({denial.reason.value}) is counted, not recorded"
        raise ValueError(message)
    return records.CallRecord(
        **who(grant),
        **what(request),
        verdict="deny",
        outcome=records.CallOutcome.REFUSED,
        cost_micro=0,
        quota_micro=grant.quota,
        duration_us=0,
        reason=problem_type(denial).slug,
        call_digest=call_text(denial.call_digest),
        level=denial.level,
        level_used_micro=denial.used_micro,
        level_quota_micro=denial.quota_micro,
        call_limit="" if denial.limit is None else denial.limit.name,
        certificate=request.certificate,
        trace=request.trace,
    )


def opened(
    request: records.CallInfo,
    grant: Grant,
    price_micro: int,
    *,
    status: int,
    would: Reason | None = None,
) -> records.StreamOpened:
    """Return the record of a stream that has begun."""
    return records.StreamOpened(
        **who(grant),
        **what(request),
        price_micro=price_micro,
        status=status,
        would=would.value if would else "",
        certificate=request.certificate,
        trace=request.trace,
    )
