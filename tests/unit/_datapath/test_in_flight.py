"""The registry of calls in flight: whom a key ends, and whom not."""

import gc
from collections.abc import Callable

import pytest
from gateway_world import BRANCH, EXPIRES, ROOT, SIBLING, FakePermit, grant_of
from hypothesis import given, settings
from hypothesis import strategies as st

from crewgate import limits
from crewgate._datapath.in_flight import InFlightCall, InFlightCalls
from crewgate.core.audit.records import CallOutcome
from crewgate.core.ids import branch_key
from crewgate.server.request import ClientInfo

CHILD = "0199c1d2-0000-7000-8000-000000000005"


class Flight(InFlightCall):
    def __init__(self, branch: str, *, parent: str = ROOT, expires: int = EXPIRES) -> None:
        self.permit = FakePermit(grant_of(branch, parent=parent, expires=expires), 0)
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
    assert len(live) == live.end_all() == 0
    live.remove(flights[0])  # a second time
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


def test_a_grant_counts_only_beside_calls_that_are_in_flight() -> None:
    """Once a branch has no call, its former grants extend none, and a sweep forgets the branch."""
    live = InFlightCalls(10)
    long, short = Flight(BRANCH, expires=EXPIRES + 900), Flight(BRANCH)
    live.add(long)
    (branches,) = [each for each in gc.get_referents(live) if isinstance(each, dict)]
    live.remove(long)
    live.add(short)
    assert live.sweep(EXPIRES, 0) == 1
    live.remove(short)
    assert (list(branches), live.sweep(EXPIRES, 0)) == ([_key(BRANCH)], 0)
    assert not branches


def test_a_push_that_comes_after_the_look_claims_its_calls() -> None:
    """A receipt counts each call that its revocation ended once, whether push or scan ended it."""
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


def test_a_call_that_fails_at_its_end_keeps_no_other_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever ends the calls: each failure is logged, and the receipt does not count that call."""

    class Failing(Flight):
        def end(self, outcome: CallOutcome) -> bool:
            super().end(outcome)
            raise ZeroDivisionError

    live, peer = InFlightCalls(10), ClientInfo("192.0.2.1", 4711)
    calls = [Flight(BRANCH), Failing(BRANCH), Flight(BRANCH)]
    for call in calls:
        live.add(call)
        call.permit.revoked, call.peer = True, peer
    ends: list[Callable[[], int]] = [
        lambda: live.terminate([_key(BRANCH)]),
        lambda: live.terminate_peers([peer]),
        live.terminate_revoked,
        lambda: live.end_revoked(1_000),
        live.end_all,
        lambda: live.sweep(EXPIRES, 0),
    ]
    for end in ends:
        for call in calls:
            call.outcomes.clear()
        caplog.clear()
        assert end() == 2
        assert caplog.text.count("cannot end a call as") == 1
    assert live.claim([_key(BRANCH)]) == (2, 1_000)


def test_a_call_takes_the_place_of_another_one() -> None:
    """The registry ends the new call, when it would have ended the old one."""
    live = InFlightCalls(10)
    calls = [Flight(BRANCH), Flight(BRANCH), Flight(BRANCH)]
    for call in calls:
        live.add(call)
    for at, old in enumerate(calls):
        new = Flight(BRANCH)
        live.replace(old, new)
        calls[at] = new
        assert old.outcomes == []
        with pytest.raises(ValueError, match="that is not in flight"):
            live.replace(old, Flight(BRANCH))
    with pytest.raises(ValueError, match="in flight already"):
        live.add(calls[0])
    assert len(live) == 3
    assert live.terminate([_key(ROOT)]) == 3
    for call in calls:
        live.remove(call)
    assert not live


def test_a_call_that_ends_others_of_its_branch() -> None:
    """Each call ends once, although the first one that ends removes all of them."""
    live = InFlightCalls(10)

    class Leader(Flight):
        def end(self, outcome: CallOutcome) -> bool:
            for call in calls:
                live.remove(call)
            return super().end(outcome)

    calls: list[Flight] = [Leader(BRANCH) for _ in range(3)]
    for call in calls:
        live.add(call)
    assert live.terminate([_key(BRANCH)]) == 3
    assert [call.outcomes for call in calls] == [[CallOutcome.REVOKED]] * 3
    assert not live


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([BRANCH, SIBLING, CHILD]))))
def test_the_registry_has_the_calls_that_a_set_would_have(steps: list[tuple[int, str]]) -> None:
    """Calls come and go in any order."""
    live, model = InFlightCalls(10), dict[int, Flight]()
    for number, branch in steps:
        if number in model:
            live.remove(model.pop(number))
        else:
            model[number] = Flight(branch)
            live.add(model[number])
        assert (len(live), bool(live)) == (len(model), bool(model))
    for branch in (BRANCH, SIBLING, CHILD):
        of_branch = [c for c in model.values() if c.permit.grant.branch == branch]
        assert live.terminate([_key(branch)]) == len(of_branch)
        assert all(call.outcomes == [CallOutcome.REVOKED] for call in of_branch)
