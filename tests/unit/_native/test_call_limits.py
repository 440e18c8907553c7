"""The gate counts calls in limits: rates, and calls under way."""

import msgspec
import pytest
from crew_world import CREW, ROOT, World
from gate_world import NS, Gatehouse
from limit_worlds import (
    EMBED,
    PING,
    SEARCH,
    after,
    limited,
    places,
    rate,
    with_limits,
)

from crewgate import limits
from crewgate._native.limit_words import give_words, words_by_key
from crewgate._native.permit import Permit
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core.policy.call_limits import LimitScopes, limit_reached
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.errors import AlreadySettledError, TableFullError

OTHER = "0199c1d2-0000-7000-8000-000000000009"


def _call(house: Gatehouse, token: bytes | None = None, tool: int = SEARCH) -> Reason | None:
    """Make a call and end it; why it was refused."""
    verdict = house.judge(token or house.world.token, tool)
    if isinstance(verdict, Denial):
        return verdict.reason
    verdict.settle()
    return None


def test_a_burst_passes_and_then_one_call_an_interval() -> None:
    """The refusal names the limit, and says when to try again; the call costs nothing."""
    house = limited(rate(calls=2, seconds=3, burst=3))
    assert [_call(house) for _ in range(3)] == [None] * 3
    spent = house.record().settled
    denial = house.denial(house.world.token)
    assert denial.reason is Reason.RATE_LIMITED
    assert denial.limit is not None
    assert (denial.limit.name, denial.limit.left_seconds, denial.retry) == ("slow", 2, False)
    assert (house.record().settled, house.record().reserved) == (spent, 0)
    after(house, 1.4999)
    assert _call(house) is Reason.RATE_LIMITED
    after(house, 0.0001)
    assert [_call(house), _call(house)] == [None, Reason.RATE_LIMITED]


def test_a_full_bucket_gains_nothing() -> None:
    """After an hour without calls, it has a burst, and no more."""
    house = limited(rate(burst=2))
    after(house, 3600)
    assert [_call(house) for _ in range(3)] == [None, None, Reason.RATE_LIMITED]


@pytest.mark.parametrize(
    ("per", "other", "shares"),
    [
        ("tool", {}, False),
        ("crew", {"execution_branch_id": OTHER}, True),
        ("role", {"agent_role": "writer"}, False),
        ("role", {"execution_branch_id": OTHER}, True),
        ("branch", {"execution_branch_id": OTHER}, False),
        ("branch", {}, True),
        ("run", {"execution_branch_id": OTHER}, True),
        ("run", {"execution_branch_id": OTHER, "branch_path": []}, False),
        ("machine", {"execution_branch_id": OTHER}, True),
    ],
)
@pytest.mark.parametrize("kind", ["rate", "places"])
def test_what_has_a_bucket_of_its_own(
    per: str, other: dict[str, object], shares: bool, kind: str
) -> None:
    """Calls with the same scope share a bucket, or places; other calls do not."""
    limit = rate(per=per, burst=1) if kind == "rate" else places(1, per=per)
    world = with_limits(World.make(), limit)
    roles = {"researcher": world.policy.crews[0], "writer": world.policy.crews[0]}
    crew = msgspec.structs.replace(world.policy.crews[0], roles=roles)  # type: ignore[type-var]
    world.policy = msgspec.structs.replace(world.policy, crews=(crew,))
    house = Gatehouse(world)
    held = house.permit(house.world.token)
    token = house.world.mint(**other)
    tool = EMBED if per == "tool" else SEARCH
    assert (_call(house, token, tool) is not None) == shares
    held.settle()


def test_a_run_is_its_root_and_all_below() -> None:
    """The root itself counts in the bucket of its run."""
    house = limited(rate(per="run", burst=1))
    root = house.world.mint(execution_branch_id=ROOT, branch_path=[], credit_quota=10_000_000)
    assert [_call(house, root), _call(house)] == [None, Reason.RATE_LIMITED]


def test_a_limit_is_about_some_calls_only() -> None:
    """Those of its crew, its role and its tools."""
    house = limited(
        rate("a", burst=1, tools=("search.*",)),
        rate("b", burst=1, role="writer"),
        rate("c", burst=1, crew="finance"),
    )
    assert [_call(house, tool=EMBED) for _ in range(3)] == [None] * 3
    assert [_call(house), _call(house)] == [None, Reason.RATE_LIMITED]
    writer = house.world.mint(agent_role="writer")
    assert _call(house, writer, EMBED) is None
    assert _call(house, writer, EMBED) is Reason.RATE_LIMITED


def test_a_refused_call_takes_nothing_from_other_limits() -> None:
    """The longest wait is told, since the call can pass only after it."""
    house = limited(rate("a", burst=4), rate("b", seconds=60, burst=2), places(3))
    assert [_call(house), _call(house)] == [None, None]
    for _ in range(5):
        denial = house.denial(house.world.token)
        assert denial.limit is not None
        assert denial.limit.name == "b"
    house.load(
        msgspec.structs.replace(
            house.world.policy, limits=(rate("a", burst=4), places(3)), generation=2
        )
    )
    held = [house.permit(house.world.token) for _ in range(2)]
    assert house.denial(house.world.token).limit is not None
    after(house, 2)
    held.append(house.permit(house.world.token))
    denial = house.denial(house.world.token)  # three calls under way
    assert denial.reason is Reason.TOO_MANY_CALLS
    for each in held:
        each.settle()
    assert [_call(house), _call(house)] == [None, Reason.RATE_LIMITED]


def test_calls_under_way_are_counted_until_they_end() -> None:
    """However they end: settled, released, dropped, or burned by the agent."""
    house = limited(places(2))
    token = house.world.token
    first, second = house.permit(token), house.permit(token)
    denial = house.denial(token)
    assert denial.reason is Reason.TOO_MANY_CALLS
    assert denial.limit is not None
    assert (denial.limit.quota, denial.limit.left_seconds) == (2, 1)
    first.settle()
    third = house.permit(token)
    second.release()
    fourth = house.permit(token)
    assert house.denial(token).reason is Reason.TOO_MANY_CALLS
    with pytest.warns(ResourceWarning):
        del third
    fifth = house.permit(token)
    burned = house.table.burn_overdue(house.boot_ns + 10**12)
    assert len(burned) == 2
    sixth, seventh = house.permit(token), house.permit(token)
    assert house.denial(token).reason is Reason.TOO_MANY_CALLS
    house.table.drop_attachment(house.attachment)  # the process has died
    house.attach()
    held = house.permit(token), house.permit(token)
    assert house.denial(token).reason is Reason.TOO_MANY_CALLS
    for each in held:
        each.settle()
    for lost in (fourth, fifth, sixth, seventh):
        with pytest.raises(AlreadySettledError):
            lost.settle()


def test_a_limit_may_have_more_places_than_a_cell() -> None:
    """Each place is found, also that of the last cell."""
    house = limited(places(100), geometry=TableCapacities(64, 64, 512, 4))
    held = [house.permit(house.world.token, PING) for _ in range(100)]
    assert house.denial(house.world.token, PING).reason is Reason.TOO_MANY_CALLS
    held.pop(37).settle()
    held.append(house.permit(house.world.token, PING))
    assert house.denial(house.world.token, PING).reason is Reason.TOO_MANY_CALLS
    for each in held:
        each.settle()


def test_a_call_that_asks_twice_counts_once() -> None:
    """Without credit at first, it is drawn; what the first verdict took has gone back."""
    house = limited(rate(burst=2), places(1))
    assert isinstance(house.gate.decide(house.world.token, SEARCH), Denial)
    assert [_call(house), _call(house), _call(house)] == [None, None, Reason.RATE_LIMITED]


def test_a_released_permit_does_not_count() -> None:
    """But what time has given back by then does not come back twice."""
    house = limited(rate(burst=2))
    for _ in range(10):
        house.permit(house.world.token).release()
    permit = house.permit(house.world.token)
    assert _call(house) is None
    after(house, 0.75)
    permit.release()
    assert [_call(house), _call(house)] == [None, Reason.RATE_LIMITED]
    after(house, 0.5)
    assert _call(house) is Reason.RATE_LIMITED
    after(house, 0.5)
    assert _call(house) is None


def test_a_verdict_about_no_call_counts_nowhere() -> None:
    """The gateway asks for one before it knows what the body uses."""
    house = limited(rate(burst=1))
    for _ in range(3):
        house.permit(house.world.token, counts=False).settle()
    assert _call(house) is None
    house.permit(house.world.token, counts=False).settle()


def test_a_limit_may_only_observe() -> None:
    """Its calls pass and are charged; those beyond it are marked, and do not count."""
    house = limited(rate(burst=1, observe=True), places(2, observe=True))
    token = house.world.token
    seen = [house.permit(token) for _ in range(3)]
    assert [each.observed_reason for each in seen] == [
        None,
        Reason.RATE_LIMITED,
        Reason.TOO_MANY_CALLS,
    ]
    assert not any(each.in_observe_mode for each in seen)
    for each in seen:
        each.settle()
    assert house.record().settled == 30
    after(house, 1)
    permit = house.permit(token)
    assert permit.observed_reason is None
    permit.settle()


def test_observe_mode_passes_a_limit() -> None:
    """A crew, tool or listener in observe mode is refused nothing; the call costs nothing."""
    house = limited(rate(burst=1))
    _call(house)
    permit = house.permit(house.world.token, observe=True)
    assert permit.observed_reason is Reason.RATE_LIMITED
    assert permit.price_micro == 0
    permit.release()


def test_an_embedded_gate_counts_rates_and_no_places() -> None:
    """It does not know when a call ends."""
    house = limited(rate(burst=2), places(1), holds=False)
    assert isinstance(house.judge(house.world.token), Permit)
    house.permit(house.world.token, PING)
    assert house.reason(house.world.token) is Reason.RATE_LIMITED
    assert house.reason(house.world.token, PING) is Reason.RATE_LIMITED


def test_a_new_policy_keeps_the_buckets_of_limits_that_it_does_not_change() -> None:
    """Others begin with full buckets; calls under way stay counted, also by another number."""
    kept, changed = rate("kept", burst=2), rate("changed", burst=2)
    house = limited(kept, changed, places(2))
    _call(house)
    held = [house.permit(house.world.token)]
    policy = msgspec.structs.replace(
        house.world.policy,
        generation=2,
        limits=(
            msgspec.structs.replace(kept, observe=True),
            rate("changed", burst=5),
            places(3),
        ),
    )
    house.load(policy)
    held += [house.permit(house.world.token) for _ in range(2)]
    assert [each.observed_reason for each in held[1:]] == [Reason.RATE_LIMITED] * 2
    denial = house.denial(house.world.token)
    assert denial.reason is Reason.TOO_MANY_CALLS
    for each in held:
        each.settle()
    assert [_call(house) for _ in range(4)] == [None, None, None, Reason.RATE_LIMITED]


def test_a_limit_without_words_refuses() -> None:
    """A gate may load a policy before the agent has given its limits their words."""
    house = limited()
    policy = msgspec.structs.replace(house.world.policy, limits=(rate(),))
    house.permit(house.world.token).settle()
    house.gate.load(policy)
    assert _call(house) is Reason.REVOCATION_UNAVAILABLE


def test_words_of_old_limits_are_used_again() -> None:
    """Then no gate decides until the new policy is in force, and the words begin anew."""
    table = OwnedTable.private(TableCapacities(64, 64, 64, 2))
    table.set_policy_generation(1)
    most = limits.table_branch_limit_words
    give_words(table, [1, 2], range(10, 10 + most), 7)
    assert table.policy_generation == 1
    give_words(table, [2, 3], range(12, 12 + most), 8)
    assert table.policy_generation == 2**64 - 1
    found = words_by_key(table)
    assert sorted(found) == [1, 2, 3, *range(12, 12 + most)]
    with pytest.raises(TableFullError, match="13 of the 12 words"):
        give_words(table, [], range(13), 9)


@pytest.mark.parametrize("per", ["crew", "branch"])
def test_a_damaged_bucket_becomes_full(per: str) -> None:
    """At the next start of the agent, or with the next policy; a good one stays as it is."""
    damaged, good = rate("damaged", per=per, burst=1), rate("good", per=per, burst=1)
    house = limited(good, damaged)
    house.permit(house.world.token, counts=False).release()
    policy = house.world.policy
    house.load(msgspec.structs.replace(policy, limits=(damaged,)))
    after(house, 30 * 86_400)
    assert _call(house) is None
    after(house, -30 * 86_400)
    house.gate.load(msgspec.structs.replace(policy, limits=(good,)))
    assert _call(house) is None
    house.gate.load(policy)
    assert house.denial(house.world.token).limit == limit_reached(damaged, 30 * 86_400 * NS + NS)
    house.load(policy)
    assert house.denial(house.world.token).limit == limit_reached(good, NS)
    after(house, 1)
    assert _call(house) is None


def test_a_branch_that_takes_the_record_of_another_begins_with_full_buckets() -> None:
    """The agent has forgotten the first one, a day after its end."""
    house = limited(rate(per="branch", seconds=86_400, burst=1))
    assert [_call(house), _call(house)] == [None, Reason.RATE_LIMITED]
    number, days = house.record().number, 3 * 86_400
    house.lessor.reclaim(house.world.now + days, house.boot_ns + days * NS, 64)
    others = [
        house.world.mint(execution_branch_id=f"0199c1d2-0000-7000-8000-{n:012x}", branch_path=[])
        for n in range(10, 14)
    ]
    assert [_call(house, token) for token in others] == [None] * 4
    records = house.table.scan(0, 64)
    assert number in {each.number for each in records if each.settled}


def test_the_scopes_of_a_policy_are_all_that_calls_can_have() -> None:
    """Whatever a client invents, its call has a scope for which the agent has given words."""
    world = World.make(crews=(CREW, "finance"))
    listed = CrewPolicy("ops", "https://ops", roles={"x": None})  # type: ignore[dict-item]
    scopes = LimitScopes(
        [rate(per=per) for per in ("tool", "crew", "role", "branch", "run", "machine")],
        world.policy.tools,
        (*world.policy.crews, listed, CrewPolicy("ops:finance", "account")),
    )
    for limit in scopes.limits:
        known = scopes.all_of(limit)
        for crew in ("ops", "finance", "ops:finance"):
            for role in ("x", "invented"):
                for part in (None, "files.invented"):
                    assert scopes.scope(limit, crew, role, 0, part) in known
