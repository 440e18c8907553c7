import math
from dataclasses import replace

import pytest
from grant_builders import CREW, NOW, POLICY, grant, key
from lease_world import New, siblings

from crewgate import limits
from crewgate._native.records import TableCapacities
from crewgate.core import ids
from crewgate.core.budget.ledger_protocol import ReportLeaseUsage
from crewgate.core.policy.policy import CrewPolicy, Policy
from crewgate.errors import InvalidLedgerOperationError
from crewgate.leases.lease_client import DrawResult, OtherNeeds
from crewgate.leases.lease_index import LeaseIndex, lease_record_of
from crewgate.leases.lease_returns import LeaseReturns

GEOMETRY = TableCapacities(64, 64, 64, 4)
CREW_KEY = ids.crew_key("article")


def test_a_first_draw_opens_the_crew_the_ancestors_and_the_branch(
    new_machine: New,
) -> None:
    """Records stand crew first, with the path that the grant names."""
    machine = new_machine()
    of = grant(1, 30, (2, 100, None), (3, 50, int(NOW)))
    assert machine.draw(of, 10) is DrawResult.GRANTED
    records = machine.table.scan(0, 64)
    assert [r.key for r in records] == [CREW_KEY, key(2), key(3), key(1)]
    assert [r.parents for r in records] == [(), (0,), (0, 1), (0, 1, 2)]
    assert records[3].path_digest == of.path_digest
    assert [r.quota for r in records[1:]] == [100, 50, 30]
    assert [r.quota_iat for r in records[1:]] == [0, int(NOW), int(NOW)]
    assert (records[3].available, records[3].pending) == (10, 0)


def test_a_draw_brings_the_lease_to_the_need_and_no_further(new_machine: New) -> None:
    """What is there already is not drawn again; a need of nothing only opens."""
    machine = new_machine()
    of = grant(1, 30)
    assert machine.draw(of, 0) is DrawResult.GRANTED
    assert machine.draw(of, 10) is DrawResult.GRANTED
    assert machine.draw(of, 10) is DrawResult.GRANTED
    assert machine.draw(of, 15) is DrawResult.GRANTED
    assert machine.consumed(key(1)) == 15


def test_a_branch_spends_its_quota_exactly_and_is_then_refused_inline(
    new_machine: New,
) -> None:
    """Fifty calls at one credit each on fifty credits; the table says why the next is refused."""
    machine = new_machine()
    of = grant(1, 50)
    assert sum(machine.call(of, 1) for _ in range(60)) == 50
    assert machine.draw(of, 1) is DrawResult.EXHAUSTED
    assert machine.refused(of) == (1, 0, 50, 50)


def test_a_report_during_a_draw_does_not_leave_its_refusal_out_of_date(new_machine: New) -> None:
    """The scan reports the lease after the ledger has answered: the ledger is asked again."""
    machine = new_machine()
    of = grant(1, 1)
    assert machine.call(of, 1)
    steps = machine.lessor.steps(of, 1, machine.now, machine.boot_ns)
    answer = machine.ledger.do(next(steps), machine.now)
    machine.look()
    again = steps.send(answer)
    answer = machine.ledger.do(again, machine.now)
    with pytest.raises(StopIteration, match="EXHAUSTED"):
        steps.send(answer)
    assert machine.refused(of) == (1, 0, 1, 1)


def test_calls_in_flight_count_as_spent_and_their_release_ends_the_refusal(
    new_machine: New,
) -> None:
    """Exhausted while reserved; once released, the credit is there again."""
    machine = new_machine()
    one, two = siblings(2, parent=10, quota=10)
    slot = machine.reserve(one, 10)
    assert slot is not None
    assert machine.draw(two, 4) is DrawResult.EXHAUSTED
    assert machine.refused(two) == (4, 1, 10, 10)
    machine.gate.settle(one, slot, 0)
    assert machine.refused(two) is None
    assert machine.call(two, 4)
    assert machine.call(one, 6)


def test_an_undone_embedded_call_can_be_drawn_by_a_sibling(new_machine: New) -> None:
    """A price that was settled in `decide` and given back is not lost to the parent."""
    machine = new_machine()
    one, two = siblings(2, parent=10, quota=10)
    charged = machine.charge(one, 10)
    assert charged is not None
    assert machine.draw(two, 10) is DrawResult.EXHAUSTED
    machine.gate.undo(one, charged)
    assert machine.call(two, 10)


@pytest.mark.parametrize("price", [1, 3, 7])
def test_twenty_siblings_under_one_tight_parent_admit_its_cap(new_machine: New, price: int) -> None:
    """No false denial: leases of siblings are recalled until the last credit is spent."""
    machine = new_machine()
    machine.step_ns = 10**6  # a brisk rate, so that leases hold more than one call
    children = siblings(20, parent=50 * price, quota=50 * price)
    admitted = 0
    for _ in range(20):
        for child in children:
            admitted += machine.call(child, price)
    assert admitted == 50
    assert all(machine.draw(child, price) is DrawResult.EXHAUSTED for child in children)
    assert {machine.refused(child) for child in children} == {(price, 1, 50 * price, 50 * price)}


def test_a_recall_takes_exactly_what_is_missing(new_machine: New) -> None:
    """A sibling keeps the rest of its lease."""
    machine = new_machine()
    one, two = siblings(2, parent=10, quota=10)
    machine.draw(one, 10)
    assert machine.draw(two, 3) is DrawResult.GRANTED
    record = machine.table.branch(machine.table.find(one.branch_key))
    assert record is not None
    assert (record.available, record.given_back) == (7, 3)


def test_a_lease_that_grew_after_a_recall_for_nothing_is_found(new_machine: New) -> None:
    """No recall is repeated in vain, and none is left out."""
    machine = new_machine()
    one, two = siblings(2, parent=10, quota=10)
    held = machine.reserve(one, 6)
    assert machine.draw(two, 5) is DrawResult.EXHAUSTED
    assert machine.draw(two, 5) is DrawResult.EXHAUSTED
    assert machine.draw(one, 3) is DrawResult.GRANTED
    assert machine.draw(two, 4) is DrawResult.GRANTED
    machine.gate.settle(one, held, 6)


def test_credit_held_by_another_machine_is_contended(new_machine: New) -> None:
    """The ledger knows of idle credit elsewhere: try again, it is not exhausted."""
    machine = new_machine()
    other = new_machine(name="two")
    other.join(machine.ledger)
    one, two = siblings(2, parent=10, quota=10)
    assert other.draw(one, 8) is DrawResult.GRANTED
    assert machine.draw(two, 5) is DrawResult.CONTENDED
    assert machine.refused(two) is None
    record = machine.table.branch(machine.table.find(two.branch_key))
    assert record is not None
    assert record.pending == 0
    assert other.rest() == 8
    assert machine.draw(two, 5) is DrawResult.GRANTED


def test_a_newer_grant_raises_the_quota_and_ends_the_refusal(new_machine: New) -> None:
    """A refresh with more credits serves the branch, and siblings that its parent had refused."""
    machine = new_machine()
    one, two = siblings(2, parent=10, quota=10)
    assert machine.call(one, 10)
    assert machine.draw(two, 1) is DrawResult.EXHAUSTED
    later = int(NOW) + 60
    again = grant(0, 10, (100, 30, later), iat=later)
    assert machine.draw(again, 0) is DrawResult.GRANTED
    assert machine.refused(two) is None
    assert machine.call(two, 10)


def test_a_lower_quota_takes_back_what_lies_idle(new_machine: New) -> None:
    """The newest grant governs; what was spent stays spent."""
    machine = new_machine()
    of = grant(1, 100)
    machine.call(of, 20)
    machine.draw(of, 60)
    assert machine.draw(grant(1, 50, iat=int(NOW) + 1), 30) is DrawResult.GRANTED
    assert machine.consumed(key(1)) == 50
    assert machine.draw(grant(1, 50, iat=int(NOW) + 1), 31) is DrawResult.EXHAUSTED


def test_an_ancestor_of_another_path_is_a_mismatch(new_machine: New) -> None:
    """A path is fixed when it is first seen; nothing is opened."""
    machine = new_machine()
    machine.draw(grant(1, 10, (2, 100, None)), 1)
    before = machine.table.scan(0, 64)
    assert machine.draw(grant(1, 10), 1) is DrawResult.MISMATCH
    assert machine.draw(grant(9, 10, (1, 10, None)), 1) is DrawResult.MISMATCH
    assert machine.table.scan(0, 64) == before


def test_a_crew_cannot_touch_a_branch_of_another_crew(new_machine: New) -> None:
    """The same UUIDs under two crews are different branches with different credit."""
    other = CrewPolicy("finance", "https://orchestrator.example")
    machine = new_machine(Policy("https://gateway.example", (), (CREW, other), ()))
    assert machine.draw(grant(1, 10), 10) is DrawResult.GRANTED
    assert machine.call(grant(1, 99, crew="finance"), 99)
    assert (
        machine.draw(grant(5, 9, (1, 9, int(NOW) + 9), crew="finance"), 9) is DrawResult.EXHAUSTED
    )
    assert machine.consumed(key(1)) == 10


def test_a_crew_that_the_policy_does_not_know_draws_nothing(new_machine: New) -> None:
    """It was removed from the configuration since the token was judged."""
    assert new_machine().draw(grant(1, 10, crew="gone"), 1) is DrawResult.CLOSED


@pytest.mark.parametrize("need", [-1, limits.price_micro_max + 1])
def test_a_need_out_of_bounds_is_an_error(new_machine: New, need: int) -> None:
    """A lease could not hold it."""
    with pytest.raises(InvalidLedgerOperationError):
        new_machine().draw(grant(1, 10), need)


def test_ceilings_hold_for_ancestors_too(new_machine: New) -> None:
    """A token cannot open its parent with more than the crew may give a branch."""
    crew = CrewPolicy("article", "https://orchestrator.example", quota_max=20)
    machine = new_machine(Policy("https://gateway.example", (), (crew,), ()))
    assert machine.draw(grant(1, 10**6, (2, 10**6, None)), 21) is DrawResult.EXHAUSTED
    assert machine.draw(grant(1, 10**6, (2, 10**6, None)), 20) is DrawResult.GRANTED


def test_closing_gives_back_what_is_idle_at_and_below_the_branch(
    new_machine: New,
) -> None:
    """The parent has it again; nothing below the closed branch draws any more."""
    machine = new_machine()
    child, grandchild = grant(1, 50, (9, 100, 1)), grant(2, 50, (9, 100, 1), (1, 50, 1))
    machine.call(child, 5)
    machine.draw(child, 10)
    machine.draw(grandchild, 20)
    assert machine.lessor.close(key(1)) == 30
    assert machine.consumed(key(9)) == 5
    assert machine.draw(child, 1) is DrawResult.CLOSED
    assert machine.draw(grandchild, 1) is DrawResult.CLOSED
    assert machine.draw(grant(3, 95, (9, 100, 1)), 95) is DrawResult.GRANTED
    assert machine.lessor.close(key(1)) == 0
    assert machine.lessor.close(key(77)) == 0


def test_a_call_released_after_its_branch_was_closed_returns_its_credit(
    new_machine: New,
) -> None:
    """At the next look, without waiting to see it idle."""
    machine = new_machine()
    of = grant(1, 50, (9, 100, 1))
    slot = machine.reserve(of, 5)
    assert slot is not None
    machine.lessor.close(key(1))
    machine.gate.settle(of, slot, 0)
    assert machine.look() == 5
    assert machine.consumed(key(9)) == 0


def test_the_crews_hour_refuses_and_the_next_hour_serves(new_machine: New) -> None:
    """Refused inline until the hour turns, without anybody drawing."""
    crew = CrewPolicy("article", "https://orchestrator.example", hourly_max=10)
    machine = new_machine(Policy("https://gateway.example", (), (crew,), ()))
    one, two = grant(1, 50), grant(2, 50)
    assert machine.call(one, 10)
    assert machine.draw(two, 1) is DrawResult.EXHAUSTED
    assert machine.refused(two) == (1, 1, 10, 10)
    machine.now += 3600
    machine.lessor.roll_windows(machine.now)
    assert machine.refused(two) is None
    assert machine.call(grant(2, 50, iat=int(machine.now)), 10)


def test_a_raised_allowance_serves_at_once(new_machine: New) -> None:
    """A reload of the configuration ends refusals at the crew's level."""
    crew = CrewPolicy("article", "https://orchestrator.example", daily_max=10)
    machine = new_machine(Policy("https://gateway.example", (), (crew,), ()))
    of = grant(1, 50)
    assert machine.call(of, 10)
    assert machine.draw(of, 1) is DrawResult.EXHAUSTED
    machine.lessor.load(POLICY)
    assert machine.refused(of) is None
    assert machine.call(of, 1)


def test_a_lease_that_spends_nothing_for_a_minute_is_given_back(new_machine: New) -> None:
    """Not earlier, unless another branch needs the credit; a lease in use stays."""
    machine = new_machine()
    idle, busy, other = siblings(3, parent=100, quota=100)
    for of in (idle, busy):
        machine.draw(of, 10)
    assert machine.look(59) == 0
    machine.call(busy, 1)
    assert machine.draw(other, 83) is DrawResult.GRANTED  # 3 of them were idle
    machine.rest()  # the last look before this one was the first that saw the 7 left
    assert machine.consumed(key(100)) == 1


def test_after_a_pause_calls_spend_the_lease_that_they_had(new_machine: New) -> None:
    """The ledger is not asked: a draw would make each of these calls wait."""
    machine = new_machine()
    machine.step_ns = 10**6
    of = grant(1, 10_000)
    number = -1
    for _ in range(200):
        machine.call(of, 1)
        number = machine.table.find(of.branch_key)
    machine.look(5)
    before = machine.table.branch(number)
    assert before is not None
    assert before.available > 20
    assert all(machine.call(of, 1) for _ in range(before.available))
    after = machine.table.branch(number)
    assert after is not None
    assert (after.sequence, after.available) == (before.sequence, 0)


def test_no_credit_of_an_hour_lies_idle_when_it_ends(new_machine: New) -> None:
    """If the crew has credits per hour; otherwise calls of the next hour could spend it."""
    crew = CrewPolicy("article", "https://orchestrator.example", hourly_max=100)
    hourly = new_machine(Policy("https://gateway.example", (), (crew,), ()))
    other = new_machine(name="two")
    for machine in (hourly, other):
        machine.now += 3600 - limits.lease_idle_seconds - 1
        machine.draw(grant(1, 50, iat=int(machine.now)), 10)
        assert machine.look(2) == 0
        machine.now += 1
    assert hourly.look() == 10
    assert other.look() == 0


def test_a_lease_whose_grants_have_ended_is_not_kept(new_machine: New) -> None:
    """No branch may spend it."""
    machine = new_machine()
    machine.draw(grant(1, 50, lifetime=100), 10)
    assert machine.look(2) == 0
    machine.now += 100 + limits.leeway_seconds + 1
    assert machine.look() == 10


def test_one_draw_serves_all_calls_that_wait(new_machine: New) -> None:
    """Also those that were granted the lease a moment ago; if it is free, and only then."""
    machine = new_machine()
    of, sibling = siblings(2, parent=100, quota=100)
    machine.draw(of, 0)

    def draw(need: int, before: int, behind: int) -> int:
        """The available credit afterwards."""
        others = OtherNeeds(before, behind)
        steps = machine.lessor.steps(of, need, machine.now, machine.boot_ns, others)
        assert machine.lessor._at_once(steps, machine.now) is DrawResult.GRANTED
        record = machine.table.branch(machine.table.find(of.branch_key))
        assert record is not None
        return record.available

    assert draw(3, 0, 9) == 12
    assert draw(3, 6, 3) == 12  # the lease has enough for all
    assert draw(3, 6, 13) == 12  # and enough for this call
    assert draw(3, 10, 5) == 18
    machine.draw(sibling, 80)
    assert draw(3, 18, 7) == 19  # of the 2 that are left, its share is less than one
    assert draw(20, 0, 50) == 20


def test_a_look_tells_the_ledger_what_became_of_every_lease(new_machine: New) -> None:
    """Spent, in flight and burned are told apart."""
    machine = new_machine()
    of = grant(1, 100)
    machine.call(of, 7)
    held = machine.reserve(of, 5)
    machine.lose(of, 3)
    machine.look()
    (line,) = machine.ledger.report(key(1))
    assert (line.settled, line.reserved, line.burned, line.leased) == (7, 5, 3, 0)
    machine.gate.settle(of, held, 5)


def test_what_is_burned_is_told_before_what_was_spent_when_last_looked_at(new_machine: New) -> None:
    """A refund since then makes less of what was spent, and nothing of what is lost."""
    machine = new_machine()
    of, said = grant(1, 100), list[object]()
    charged = machine.charge(of, 5)
    machine.lose(of, 3)
    record = machine.table.branch(machine.table.find(of.branch_key))
    assert record is not None
    holdings, holding = LeaseIndex(), lease_record_of(record, (CREW_KEY,))
    holdings.add(holding)
    holdings.lease(holding)
    machine.gate.undo(of, charged)
    returns = LeaseReturns(machine.table, said.append, holdings, "one")  # type: ignore[arg-type]
    returns.recall_for(CREW_KEY, 10, replace(holding, number=0), machine.boot_ns)
    settle = said[-1]
    assert isinstance(settle, ReportLeaseUsage)
    assert (settle.spent, settle.reserved, settle.burned) == (0, 0, 3)


def test_recent_spend_makes_the_lease_larger(new_machine: New) -> None:
    """Each draw brings as much as was spent in the last quarter second: leases double."""
    machine = new_machine()
    machine.step_ns = 10**6
    of = grant(1, 10_000)
    leases = []
    for _ in range(200):
        machine.call(of, 1)
        record = machine.table.branch(machine.table.find(of.branch_key))
        assert record is not None
        leases.append(record.available)
    assert leases[:2] == [0, 0]
    assert 40 < max(leases) < 200


def test_a_busy_branch_is_drawn_for_before_its_lease_is_empty(new_machine: New) -> None:
    """Up to what it spends in a quarter second, and not for one that is idle or closed."""
    machine = new_machine()
    machine.step_ns = 10**6
    of = grant(1, 10_000)

    def ahead() -> DrawResult:
        return machine.lessor._at_once(
            machine.lessor.prefetch(of.branch_key, machine.boot_ns), machine.now
        )

    def available() -> int:
        number = machine.table.find(of.branch_key)
        record = machine.table.branch(number) if number >= 0 else None
        return 0 if record is None else record.available

    assert ahead() is DrawResult.CLOSED
    assert machine.lessor.seconds_left(of.branch_key) == math.inf
    while available() < 100:
        assert machine.call(of, 1)
    before = available()
    while available() > before // 2:
        machine.call(of, 1)
    assert machine.lessor.seconds_left(of.branch_key) < 0.25
    assert ahead() is DrawResult.GRANTED
    assert available() > before // 2
    full = available()
    assert ahead() is DrawResult.GRANTED
    assert available() <= full + 1
    machine.boot_ns += 5 * 10**9
    assert ahead() is DrawResult.GRANTED
    assert machine.lessor.seconds_left(of.branch_key) == math.inf
    machine.lessor.close(of.branch_key)
    assert ahead() is DrawResult.CLOSED


def test_a_lease_never_outgrows_its_word(new_machine: New) -> None:
    """While calls in flight hold nearly all that a lease can hold, a further one must wait."""
    machine = new_machine()
    most = limits.price_micro_max
    of = grant(1, 5 * most)
    held = [machine.reserve(of, most), machine.reserve(of, most)]
    assert None not in held
    assert machine.draw(of, most) is DrawResult.CONTENDED
    machine.gate.settle(of, held[0], most)
    assert machine.draw(of, most) is DrawResult.GRANTED
    machine.gate.settle(of, held[1], most)
