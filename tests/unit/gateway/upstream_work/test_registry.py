"""The registry of work at servers: what a revocation cancels, in which order, and what is kept."""

from collections.abc import Iterable

import msgspec
import pytest
from gateway_world import BRANCH, SIBLING, FakePermit, grant_of
from upstream_work import work

from crewgate import limits
from crewgate.core.ids import branch_key
from crewgate.core.sealed_ids import IdKind
from crewgate.gateway.upstream_work.registry import Cancellation, WorkRegistry, expires_at


class Cancelled:
    """The ids of the work that was cancelled, in the order of the server's requests."""

    def __init__(self) -> None:
        self.ids: list[tuple[str, ...]] = []

    def __call__(self, cancellations: Iterable[Cancellation]) -> None:
        self.ids += [tuple(each.key.id for each in one) for one in cancellations]


@pytest.fixture
def cancelled() -> Cancelled:
    return Cancelled()


@pytest.fixture
def registry(cancelled: Cancelled) -> WorkRegistry:
    return WorkRegistry(cancelled)


def of(branch: str, crew: str = "article") -> FakePermit:
    return FakePermit(msgspec.structs.replace(grant_of(branch), crew=crew), 0)


def test_a_revocation_cancels_what_it_revokes(registry: WorkRegistry, cancelled: Cancelled) -> None:
    """The work of a sibling goes on, and nothing is cancelled twice."""
    revoked, sibling = of(BRANCH), of(SIBLING)
    for name, permit in (("a", revoked), ("b", sibling), ("c", revoked)):
        registry.add(work(name, permit))
    assert registry.cancel_revoked() == 0
    revoked.revoked = True
    assert registry.cancel_revoked() == 2
    assert (cancelled.ids, len(registry)) == ([("a",), ("c",)], 1)
    assert registry.cancel_revoked() == 0
    assert registry.cancel_branch(branch_key("article", SIBLING)) == 1
    assert (len(registry), registry._by_branch, registry._by_crew) == (0, {}, {})


def test_work_that_has_ended_is_not_cancelled(registry: WorkRegistry, cancelled: Cancelled) -> None:
    """Its client saw the end, or its time has passed."""
    permit = of(BRANCH)
    ended, old, running = work("a", permit), work("b", permit, expires=5.0), work("c", permit)
    for each in (ended, old, running):
        registry.add(each)
    registry.remove(ended.key)
    registry.remove(ended.key)
    registry.sweep(5.0)
    permit.revoked = True
    assert registry.cancel_revoked() == 1
    assert cancelled.ids == [("c",)]


def test_a_session_ends_after_its_tasks(registry: WorkRegistry, cancelled: Cancelled) -> None:
    """A server refuses `tasks/cancel` in a session that has ended."""
    permit = of(BRANCH)
    registry.add(work("s", permit, kind=IdKind.MCP_SESSION))
    for name, session in (("a", "s"), ("b", ""), ("c", "s")):
        registry.add(work(name, permit, session=session))
    registry.add(work("s", permit, kind=IdKind.MCP_SESSION, endpoint="other"))
    permit.revoked = True
    assert registry.cancel_revoked() == 5
    assert sorted(cancelled.ids) == [("b",), ("c", "a", "s"), ("s",)]


def test_the_latest_call_counts(registry: WorkRegistry, cancelled: Cancelled) -> None:
    """A branch that polls with its next token is not revoked with the one before."""
    before, after = of(BRANCH), of(BRANCH)
    registry.add(work("a", before))
    registry.add(work("a", after))
    before.revoked = True
    assert (registry.cancel_revoked(), len(registry)) == (0, 1)


def test_a_crew_displaces_its_own_work(
    registry: WorkRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tasks one crew begins, those of another are still cancelled in a kill."""
    monkeypatch.setattr(limits, "upstream_work_max", 8)
    monkeypatch.setattr(limits, "upstream_work_each_max", 4)
    quiet = of(BRANCH, "quiet")
    registry.add(work("first", quiet))
    for number in range(40):
        loud = of(f"0199c1d2-0000-7000-8000-0000000001{number // 5:02}", "loud")
        registry.add(work(f"{number}", loud))
        assert max(map(len, registry._by_branch.values())) <= 4
    assert len(registry) == 8
    assert registry.cancel_branch(quiet.grant.branch_key) == 1
    left = {key.id for of_crew in registry._by_crew.values() for key in of_crew}
    assert left == {"32", "33", "34", "36", "37", "38", "39"}


@pytest.mark.parametrize(
    ("ttl_ms", "seconds"),
    [(None, 86_400), (60_000, 60), (1e300, 86_400), (-5, 0), (10**400, 86_400)],
)
def test_no_work_is_remembered_for_ever(ttl_ms: float | None, seconds: float) -> None:
    assert expires_at(1.0, ttl_ms) == 1.0 + seconds


def test_the_worker_is_woken_for_the_first_work() -> None:
    woken: list[int] = []
    registry = WorkRegistry(lambda _: None, lambda: woken.append(1))
    first = work("the id")
    for _ in range(2):
        registry.add(first)
        registry.add(work("b"))
    assert len(woken) == 1
    assert "the id" not in repr(first)
