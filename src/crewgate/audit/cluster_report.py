"""Merges what the audits of several machines answer to one question.

Each machine has the records of its own calls, so sums are added. A row of another machine gets the
name of this machine, whatever the row says.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from crewgate import limits
from crewgate.audit.filters import GroupBy
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
from crewgate.audit.reports import AuditReport
from crewgate.ipc.cluster_view import MachineAnswers, SilentMachine

R = TypeVar(
    "R", CallRow, RejectedConnection, MintingWatchEvent, RecordedRuleStep, RevocationEvent, GrantRow
)
_SUMS = (
    "calls", "permitted", "denied", "would_deny", "open", "burned", "cost_micro", "burned_micro",
    "overrun_micro",
)  # fmt: skip


class ClusterAuditReport(msgspec.Struct, frozen=True):
    """The merged report, the machines whose audits it is of, and those that gave no answer.

    It is also the answer of `GET /v1/audit`.
    """

    report: AuditReport
    machines: list[str]
    not_asked: Sequence[SilentMachine]

    @property
    def is_of_one(self) -> bool:
        """Whether no other machine was asked."""
        return len(self.machines) + len(self.not_asked) <= 1


def merged(
    own: Mapping[str, AuditReport],
    others: MachineAnswers[AuditReport],
    limit: int,
    by: GroupBy | None,
) -> ClusterAuditReport:
    """Merge the report of this machine, by its name, with those of others.

    Keep the newest `limit` rows of each listing.
    """
    named = {name: [_named(part, name) for part in parts] for name, parts in others.parts.items()}
    parts = [*own.values(), *(part for each in named.values() for part in each)]
    totals = [part.total for part in parts if part.total is not None]
    gaps = [part.health for part in parts if part.health is not None]
    report = AuditReport(
        total=_sum(totals) if totals else None,
        health=_gaps(gaps) if gaps else None,
        refusals=_refusals(each for part in parts for each in part.refusals),
        calls=_newest([row for part in parts for row in part.calls], limit),
        groups=_groups([group for part in parts for group in part.groups], by),
        grants=_newest([row for part in parts for row in part.grants], limit),
        connections=_newest([row for part in parts for row in part.connections], limit),
        watch=_newest([row for part in parts for row in part.watch], limit),
        rules=_newest([row for part in parts for row in part.rules], limit),
        revocations=_newest([row for part in parts for row in part.revocations], limit),
        explanation=next((part.explanation for part in parts if part.explanation), None),
    )
    return ClusterAuditReport(report, [*own, *named], others.not_asked)


def _named(part: AuditReport, machine: str) -> AuditReport:
    def rows(found: Sequence[R]) -> list[R]:
        return [msgspec.structs.replace(row, machine=machine) for row in found]

    explanation = part.explanation
    if explanation is not None:
        call = msgspec.structs.replace(explanation.call, machine=machine)
        explanation = msgspec.structs.replace(explanation, call=call)
    return msgspec.structs.replace(
        part,
        calls=rows(part.calls),
        connections=rows(part.connections),
        watch=rows(part.watch),
        rules=rows(part.rules),
        revocations=rows(part.revocations),
        grants=rows(part.grants),
        explanation=explanation,
    )


def _newest(rows: list[R], limit: int) -> list[R]:
    """Return the newest rows, the oldest of them first; rows of one time stay in their order."""
    return sorted(rows, key=lambda row: row.time)[len(rows) - min(limit, len(rows)) :]


def _sum(groups: Sequence[CallGroup]) -> CallGroup:
    first = groups[0]

    def shared(name: str) -> str:
        found = {getattr(each, name) for each in groups}
        return found.pop() if len(found) == 1 else ""

    quotas = [each.quota_micro for each in groups if each.quota_micro is not None]
    return CallGroup(
        key=first.key,
        crew=shared("crew"),
        role=shared("role"),
        parent=shared("parent"),
        quota_micro=max(quotas, default=None),
        first=min(_times(each.first for each in groups), default=None),
        last=max(_times(each.last for each in groups), default=None),
        **{name: sum(getattr(each, name) for each in groups) for name in _SUMS},
    )


def _times(found: Iterable[datetime | None]) -> list[datetime]:
    return [each for each in found if each is not None]


def _groups(groups: Sequence[CallGroup], by: GroupBy | None) -> list[CallGroup]:
    """Return one group for each key; of branches and crews, for each key and crew.

    Machines have other minutes, so all of them together may be more than one machine lists.
    """
    found: dict[tuple[str, str], list[CallGroup]] = {}
    for each in groups:
        crew = each.crew if by in {GroupBy.BRANCH, GroupBy.CREW} else ""
        found.setdefault((each.key, crew), []).append(each)
    sums = map(_sum, found.values())
    if by is not None and by.is_time:
        return sorted(sums, key=lambda each: each.key)[-limits.audit_minutes_max :]
    return sorted(sums, key=lambda each: (-each.cost_micro, -each.calls, each.key))


def _gaps(gaps: Sequence[AuditGaps]) -> AuditGaps:
    names = AuditGaps.__struct_fields__
    return AuditGaps(**{name: sum(getattr(each, name) for each in gaps) for name in names})


def _refusals(rows: Iterable[UnauthenticatedRefusals]) -> list[UnauthenticatedRefusals]:
    found: dict[tuple[str, str, str], UnauthenticatedRefusals] = {}
    for row in rows:
        key = row.listener, row.reason, row.peer
        other = found.get(key)
        found[key] = row if other is None else _both(row, other)
    return sorted(found.values(), key=lambda row: (-row.count, row.listener, row.reason, row.peer))


def _both(row: UnauthenticatedRefusals, other: UnauthenticatedRefusals) -> UnauthenticatedRefusals:
    return msgspec.structs.replace(
        row,
        count=row.count + other.count,
        first=min(row.first, other.first),
        last=max(row.last, other.last),
    )
