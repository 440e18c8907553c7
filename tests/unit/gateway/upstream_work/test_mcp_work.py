"""Each kind of work that an MCP call begins is cancelled in its way; work that has ended is not."""

from collections.abc import Iterable

from gateway_world import BRANCH, FakePermit, grant_of

from crewgate.core.mcp.methods import Revision
from crewgate.gateway.upstream_work.mcp_work import MCPWork
from crewgate.gateway.upstream_work.registry import Cancellation, WorkRegistry
from crewgate.upstream.buffered_request import OwnRequest


class Cancelled:
    def __init__(self) -> None:
        self.requests: list[list[OwnRequest]] = []

    def __call__(self, cancellations: Iterable[Cancellation]) -> None:
        self.requests += [[each.request for each in one] for one in cancellations]


def test_a_session_and_its_tasks_are_cancelled() -> None:
    """Under the server's ids, and the session last."""
    cancelled, permit = Cancelled(), FakePermit(grant_of(BRANCH), 0)
    registry = WorkRegistry(cancelled)
    place = (registry, permit, "files", b"/mcp", Revision.LEGACY)
    MCPWork(*place).session_runs("s")  # type: ignore[arg-type]
    later = MCPWork(*place, session="s", version=b"2025-11-25")  # type: ignore[arg-type]
    later.session_runs()
    later.task_runs("a", 1000)
    later.task_runs("b", None)
    later.task_ended("a")
    permit.revoked = True
    assert registry.cancel_revoked() == 2
    ((task, session),) = cancelled.requests
    assert (task.method, task.target, session.method) == (b"POST", b"/mcp", b"DELETE")
    assert b'"taskId":"b"' in task.body
    for each in (task, session):
        assert dict(each.fields)[b"mcp-session-id"] == b"s"


def test_what_the_client_has_ended_is_forgotten() -> None:
    registry, permit = WorkRegistry(Cancelled()), FakePermit(grant_of(BRANCH), 0)
    place = (registry, permit, "files", b"/mcp", Revision.LEGACY)
    MCPWork(*place).session_runs("s")  # type: ignore[arg-type]
    MCPWork(*place).session_runs()  # type: ignore[arg-type]
    assert len(registry) == 1
    MCPWork(*place, session="s").session_ended()  # type: ignore[arg-type]
    assert len(registry) == 0


def test_a_modern_task_needs_no_session() -> None:
    cancelled, permit = Cancelled(), FakePermit(grant_of(BRANCH), 0)
    registry = WorkRegistry(cancelled)
    work = MCPWork(registry, permit, "files", b"/mcp", Revision.MODERN)  # type: ignore[arg-type]
    work.task_runs("a", None)
    registry.cancel_branch(permit.grant.branch_key)
    (((request),),) = cancelled.requests
    assert dict(request.fields)[b"mcp-name"] == b"a"
