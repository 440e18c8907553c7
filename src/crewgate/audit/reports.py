"""The whole answers to the questions of `crewgate audit`, for one machine."""

from typing import TYPE_CHECKING, Final

import msgspec

from crewgate import limits
from crewgate.audit.explanation import CallExplanation, explanation
from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.query_results import (
    AuditGaps,
    CallGroup,
    CallRow,
    GrantRow,
    MintingWatchEvent,
    RecordedRuleStep,
    RejectedConnection,
    RevocationEvent,
    UnauthenticatedRefusals,
)
from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.ipc.machine_messages import AuditMode

if TYPE_CHECKING:  # the engine of queries is large
    from crewgate.audit.queries import AuditQueries

_REASONS: Final = frozenset(reason.value for reason in ConnectionRefusalReason)


class AuditReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of one machine to a question about its audit; empty where nothing was asked.

    `total` and `health` are None for steps of the minting watch or of rules, for revocations,
    grants and a history, and for an explanation. `refusals` are those without a record of each; of
    a listing of calls, only if it is not filtered.
    """

    total: CallGroup | None = None
    health: AuditGaps | None = None
    refusals: list[UnauthenticatedRefusals] = []
    calls: list[CallRow] = []
    groups: list[CallGroup] = []
    connections: list[RejectedConnection] = []
    watch: list[MintingWatchEvent] = []
    rules: list[RecordedRuleStep] = []
    revocations: list[RevocationEvent] = []
    grants: list[GrantRow] = []
    explanation: CallExplanation | None = None


def report(
    audit: "AuditQueries", mode: AuditMode, question: AuditFilter, by: GroupBy | None = None
) -> AuditReport:
    """Query the audit once for each part of the answer; `by` asks for sums instead of calls."""
    if mode == "watch":
        return AuditReport(watch=audit.watched(question))
    if mode == "rules":
        return AuditReport(rules=audit.rule_steps(question))
    if mode == "revocations":
        return AuditReport(revocations=audit.revocations(question))
    if mode == "grants":
        return AuditReport(grants=audit.grant_list(question))
    if mode == "history":
        return _history(audit, question)
    if mode == "explain":
        return AuditReport(explanation=explanation(audit, question))
    if mode == "connections":
        is_unfiltered = question.crew is None and question.certificate is None
        counted = audit.refusals(question.since) if is_unfiltered else []
        return AuditReport(
            health=audit.health(question.since),
            refusals=[each for each in counted if each.reason in _REASONS],
            connections=audit.connections(question),
        )
    is_unfiltered = question == AuditFilter(since=question.since, limit=question.limit)
    return AuditReport(
        total=audit.total(question),
        health=audit.health(question.since),
        refusals=audit.refusals(question.since) if is_unfiltered else [],
        calls=[] if by else audit.calls(question),
        groups=audit.groups(question, by) if by else [],
    )


def _history(audit: "AuditQueries", question: AuditFilter) -> AuditReport:
    """Return what a branch, or a crew, has done, and the sums of its newest minutes."""
    minutes = msgspec.structs.replace(question, limit=limits.audit_minutes_max)
    return AuditReport(
        calls=audit.calls(question),
        groups=audit.groups(minutes, GroupBy.MINUTE),
        rules=audit.rule_steps(question),
        revocations=audit.revocations(question),
        grants=audit.grant_list(question),
    )
