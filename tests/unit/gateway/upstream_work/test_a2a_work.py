"""A worker remembers the work of an A2A call until the agent has shown how it ended."""

from collections.abc import Iterable

from gateway_world import BRANCH, FakePermit, grant_of

from crewgate.core.a2a.methods import Binding, Version
from crewgate.gateway.upstream_work.a2a_work import A2AWork, AgentInterface
from crewgate.gateway.upstream_work.registry import Cancellation, UpstreamWork, WorkRegistry
from crewgate.upstream.buffered_request import BufferedResponse, OwnRequest


class World:
    """A registry, a permit, and what was given to the canceller."""

    def __init__(self) -> None:
        self.permit = FakePermit(grant_of(BRANCH), 0)
        self.ended: list[UpstreamWork] = []
        self.registry = WorkRegistry(self._end)

    def _end(self, cancellations: Iterable[Cancellation]) -> None:
        self.ended += [work for each in cancellations for work in each]

    def call(self, context: str) -> A2AWork:
        """A message that is sent in a context."""
        interface = AgentInterface("agent", b"/rest", Binding.HTTP_JSON, Version.V1_0, "acme")
        work = A2AWork(self.registry, self.permit, interface)  # type: ignore[arg-type]
        work.message_goes(context)
        return work


def test_a_message_is_searched_for_until_its_task_shows() -> None:
    """Each call of a context for itself."""
    world = World()
    first, second, third = world.call("c"), world.call("c"), world.call("c")
    first.task_runs("a")
    first.task_ended("a")
    second.answered()
    third.answered()
    assert len(world.registry) == 0
    world.call("c").task_runs("b")
    world.registry.cancel_branch(world.permit.grant.branch_key)
    (task,) = world.ended
    assert isinstance(task.request, OwnRequest)
    assert task.request.target == b"/rest/acme/tasks/b:cancel"


def test_a_search_leads_to_the_task() -> None:
    """It has the path and the tenant of the call."""
    world = World()
    world.call("c")
    world.permit.revoked = True
    assert world.registry.cancel_revoked() == 1
    search = world.ended[0].request
    assert not isinstance(search, OwnRequest)
    assert search.request().target.startswith(b"/rest/acme/tasks?contextId=c&")
    body = b'{"tasks":[{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}]}'
    (task,) = search.found(BufferedResponse(200, [], body)) or ()
    assert isinstance(task.request, OwnRequest)
    assert task.request.target == b"/rest/acme/tasks/t:cancel"
    assert task.key.id == "t"
    assert search.found(BufferedResponse(200, [], b'{"tasks":[]}')) is None
