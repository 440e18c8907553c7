"""`GET /api/branch`: what a branch has done, by the audits of all machines."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from crewgate import limits
from crewgate.audit.cluster_report import ClusterAuditReport, merged
from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.query_results import (
    CallGroup,
    CallRow,
    GrantRow,
    RecordedRuleStep,
    RevocationEvent,
)
from crewgate.audit.reports import AuditReport
from crewgate.core import cross_crew_accounts
from crewgate.core.problem_types import INVALID_REQUEST
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_view import SilentMachine, collect
from crewgate.ipc.machine_messages import AuditQuestion
from crewgate.ui.endpoint import PageEndpoint, PageRequest
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person, Right
from crewgate.ui.silent_machines import shown_to

_MINUTE_SECONDS: Final = 60
R = TypeVar("R", CallRow, GrantRow, RecordedRuleStep, RevocationEvent)


class BranchHistory(msgspec.Struct, frozen=True, kw_only=True):
    """The newest rows of each kind, the oldest first, of the `machines` that have answered.

    `spend` has the micro-credits of the branch and all below it, by minute since 1970.
    """

    calls: list[CallRow]
    grants: list[GrantRow]
    rules: list[RecordedRuleStep]
    revocations: list[RevocationEvent]
    spend: list[tuple[int, int]]
    machines: list[str]
    not_asked: Sequence[SilentMachine]


async def branch(state: PageState, person: Person, request: PageRequest) -> BranchHistory:
    """Return the history of a branch, or of a crew. Raises ControlError 400, 403 or 429."""
    crew, name = request.query.get("crew", ""), request.query.get("branch", "")
    if not crew:
        raise INVALID_REQUEST.error("crew: name the crew")
    person.demand(Right.VIEW, crew)
    # The audit names the crew that calls.
    caller = cross_crew_accounts.caller(crew)
    since = datetime.now(UTC) - timedelta(seconds=limits.ui_history_seconds)
    try:
        question = AuditFilter(
            branch=name or None, crew=caller, since=since, limit=limits.ui_history_rows_max
        )
    except ValueError as error:
        raise INVALID_REQUEST.error(f"branch: {error}") from error
    state.question_limit.take(person.name)
    work = partial(_read, state.folder, question)
    with state.questions_under_way.enter(person.name):
        found = await trio.to_thread.run_sync(work, limiter=state.question_threads)
    return _history(found, question, shown_to(person, found.not_asked))


def _read(folder: Path, question: AuditFilter) -> ClusterAuditReport:
    asked = AuditQuestion("history", msgspec.json.encode(question))
    seconds = limits.members_audit_seconds_max + limits.ipc_seconds_max
    with AdminClient(folder, seconds) as agent:
        found = collect(agent.ask_machines(asked), AuditReport)
    return merged({}, found, question.limit, GroupBy.MINUTE)


def _history(
    found: ClusterAuditReport, question: AuditFilter, not_asked: Sequence[SilentMachine]
) -> BranchHistory:
    """Return the rows of the crew; a machine that lies could send those of another one."""

    def own(rows: Sequence[R]) -> list[R]:
        return [row for row in rows if row.crew == question.crew]

    report = found.report
    spend = (_minute(group) for group in report.groups)
    return BranchHistory(
        calls=own(report.calls),
        grants=own(report.grants),
        rules=own(report.rules),
        revocations=own(report.revocations),
        spend=[each for each in spend if each is not None],
        machines=found.machines,
        not_asked=not_asked,
    )


def _minute(group: CallGroup) -> tuple[int, int] | None:
    """Return the minute of a sum, and what was spent; None for a key that is no minute."""
    try:
        moment = datetime.fromisoformat(group.key)
        minute = int(moment.timestamp()) // _MINUTE_SECONDS
    except (ValueError, OverflowError):
        return None
    return minute, group.cost_micro + group.burned_micro


BRANCH: Final = PageEndpoint(
    "GET",
    "/api/branch",
    branch,
    {"crew": "the crew", "branch": "the id of the branch; without it, the whole crew"},
)
