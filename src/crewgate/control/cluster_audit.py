"""Answers `GET /v1/audit`: the agent asks the audits of all machines, and this merges them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec

from crewgate import limits
from crewgate.audit.cluster_report import merged
from crewgate.audit.filters import AuditFilter, GroupBy, parse_serial, parse_since
from crewgate.audit.reports import AuditReport
from crewgate.core.problem_types import INVALID_REQUEST
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_view import collect
from crewgate.ipc.machine_messages import AuditMode, AuditQuestion

_TEXTS = (
    "branch", "crew", "role", "tool", "grant", "subject", "process", "orchestrator", "request",
)  # fmt: skip
_FLAGS = ("denied", "would_deny")


def read(state: Path, query: Mapping[str, str]) -> bytes:
    """Return a `ClusterAuditReport` in JSON, for the parameters of a request. Blocks.

    `limit` must be a number of rows that the API has checked.

    Raises ControlError 400 for a parameter that says nothing, ServiceConnectionError or
    ServiceRefusedError.
    """
    try:
        question, by = _question(query)
    except ValueError as error:
        raise INVALID_REQUEST.error(str(error)) from error
    mode: Any = query.get("list", "calls")
    if mode not in get_args(AuditMode):
        raise INVALID_REQUEST.error(f"list: expected one of {', '.join(get_args(AuditMode))}")
    asked = AuditQuestion(mode, msgspec.json.encode(question), by.value if by else "")
    seconds = limits.members_audit_seconds_max + limits.ipc_seconds_max
    with AdminClient(state, seconds) as agent:
        machine = query.get("machine", "")
        found = collect(agent.ask_machines(asked, machine), AuditReport)
    if mode == "history":
        by = GroupBy.MINUTE
    return msgspec.json.encode(merged({}, found, question.limit, by))


def _question(query: Mapping[str, str]) -> tuple[AuditFilter, GroupBy | None]:
    """Return the filters and the key of sums. Raises ValueError."""
    since, serial, by = (query.get(name) for name in ("since", "certificate", "by"))
    texts: dict[str, Any] = {name: query[name] for name in _TEXTS if name in query}
    flags: dict[str, Any] = {name: query.get(name) == "true" for name in _FLAGS}
    question = AuditFilter(
        **texts,
        **flags,
        certificate=None if serial is None else parse_serial(serial),
        since=None if since is None else parse_since(since, datetime.now(UTC)),
        limit=int(query["limit"]),
    )
    return question, GroupBy(by) if by else None
