"""The registry of calls in flight: whom a key ends, and whom not."""

from gateway_world import BRANCH, EXPIRES, ROOT, SIBLING, FakePermit, grant_of

from crewgate import limits
from crewgate.core.audit.records import CallOutcome
from crewgate.core.ids import branch_key
from crewgate.gateway.call.in_flight import InFlightCalls

CHILD = "0199c1d2-0000-7000-8000-000000000005"


class Flight:
    def __init__(self, branch: str, *, parent: str = ROOT, expires: int = EXPIRES) -> None:
        self.permit = FakePermit(grant_of(branch, parent=parent, expires=expires), 0)
        self.extend_after_ns = 0
        self.outcomes: list[CallOutcome] = []

    def end(self, outcome: CallOutcome) -> bool:
        self.outcomes.append(outcome)
        return len(self.outcomes) == 1


def _key(branch: str) -> bytes:
    return branch_key("article", branch)


def test_cut_ends_a_branch_and_what_is_below_it() -> None:
    """Branch, children and nobody else; the crew of another name has other keys."""
    live = InFlightCalls(10)
    branch, child, sibling = Flight(BRANCH), Flight(CHILD, parent=BRANCH), Flight(SIBLING)
    for flight in (branch, child, sibling):
        live.add(flight)
    assert live.terminate([branch_key("finance", BRANCH)]) == 0
    assert live.terminate([_key(BRANCH), _key(BRANCH)]) == 2
    branch.permit.revoked = True
    assert live.terminate_revoked() == 0  # it is ending already
    branch.outcomes.pop()
    assert (branch.outcomes, child.outcomes, sibling.outcomes) == (
        [CallOutcome.REVOKED],
        [CallOutcome.REVOKED],
        [],
    )


def test_nothing_is_left_of_calls_that_are_over() -> None:
    """The registry is empty when its calls are, whatever the order in which they end."""
    live = InFlightCalls(10)
    flights = [Flight(BRANCH), Flight(CHILD, parent=BRANCH), Flight(BRANCH), Flight(SIBLING)]
    for flight in flights:
        live.add(flight)
    for flight in flights:
        live.remove(flight)
    assert not live
    assert not live._below
    assert not live._branches
    assert live.terminate([_key(BRANCH), _key(ROOT)]) == 0


def test_any_revocation_is_seen_by_looking() -> None:
    """Permits whose process, key or grant was revoked are found without their keys."""
    live = InFlightCalls(10)
    dead, alive = Flight(BRANCH), Flight(BRANCH)
    live.add(dead)
    live.add(alive)
    dead.permit.revoked = True
    assert live.terminate_revoked() == 1
    assert (dead.outcomes, alive.outcomes) == ([CallOutcome.REVOKED], [])


def test_newest_grant_of_a_branch_counts_for_its_calls() -> None:
    """A later `exp` extends the branch's calls, an earlier one does not shorten them."""
    live = InFlightCalls(10)
    old, new, other = (
        Flight(BRANCH),
        Flight(BRANCH, expires=EXPIRES + 900),
        Flight(SIBLING),
    )
    live.add(new)
    live.add(old)
    live.add(other)
    assert live.sweep(EXPIRES, 0) == 1
    assert other.outcomes == [CallOutcome.EXPIRED]
    live.remove(other)
    assert live.sweep(EXPIRES + 899, 0) == 0
    assert live.sweep(EXPIRES + 900, 0) == 2


def test_a_push_that_comes_after_the_look_claims_its_calls() -> None:
    """A receipt counts every call that its revocation ended, each once, whoever was faster."""
    live = InFlightCalls(10)
    flights = [Flight(BRANCH), Flight(CHILD, parent=BRANCH), Flight(SIBLING)]
    for flight in flights:
        live.add(flight)
        flight.permit.revoked = True
    assert live.end_revoked(1_000) == 3
    assert live.claim([_key(BRANCH)]) == (2, 1_000)
    assert live.claim([_key(BRANCH)]) == (0, 0)
    assert live.end_revoked(1_000 + int(limits.cut_memory_seconds * 1e9) + 1) == 0
    assert live.claim([_key(SIBLING)]) == (0, 0)


def test_what_a_look_has_cut_is_claimed_by_all_that_its_token_names() -> None:
    """A grant, a process or a crew ends calls whose branch no push will name."""
    live, grant, process = InFlightCalls(10), b"g" * 16, b"p" * 16
    one, other = Flight(BRANCH), Flight(SIBLING)
    one.permit.revocable += (grant, process)
    other.permit.revocable += (process,)
    for flight in (one, other):
        live.add(flight)
        flight.permit.revoked = True
    assert live.end_revoked(1_000) == 2
    assert live.claim([grant]) == (1, 1_000)
    assert live.claim([process]) == (1, 1_000)
    assert live.claim([process, _key(BRANCH), _key(SIBLING)]) == (0, 0)


def test_a_call_that_comes_first_is_told_of() -> None:
    """Each time that there was none before it."""
    told: list[int] = []
    live = InFlightCalls(10, lambda: told.append(bool(live)))
    first, second = Flight(BRANCH), Flight(SIBLING)
    for flight in (first, second):
        live.add(flight)
    assert told == [0]
    for flight in (first, second):
        assert live
        live.remove(flight)
    assert not live
    live.add(first)
    assert told == [0, 0]
