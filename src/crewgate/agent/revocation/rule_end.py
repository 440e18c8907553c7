"""Ends a branch because a rule on branches says so. A worker reports it with each refused call."""

import logging

from crewgate.agent.grant_consistency_check import check, level_name
from crewgate.agent.revocation.automatic_end import end_branch
from crewgate.agent.revocation.types import RevocationCause
from crewgate.agent.state import AgentState
from crewgate.core.actors import ActorKind
from crewgate.core.audit.record_builder import of_level
from crewgate.core.ids import branch_key
from crewgate.core.rules.finding_text import end_reason
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.attach_messages import EndBranch

_log = logging.getLogger(__name__)


def end_by_rule(agent: AgentState, request: EndBranch) -> None:
    """End the branch `request.level` levels above that of a grant, unless it has ended.

    Raises ServiceConnectionError if the request is inconsistent.
    """
    grant = request.grant
    check(grant)
    if request.level > len(grant.claims.branch_path):
        raise ServiceConnectionError("a rule cannot end a branch above the run")
    branch = level_name(grant, request.level)
    if agent.table.is_revoked(branch_key(grant.crew, branch)):
        return
    reason = end_reason(request.rule, request.kind, request.count, request.limit)
    cause = RevocationCause(ActorKind.RULE.named(request.rule), reason)
    ended = end_branch(agent, grant.crew, of_level(grant, request.level), cause)
    _log.warning("branch %s is %s: %s", branch, ended, reason)
