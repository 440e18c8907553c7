"""A reservation grows while its call goes on; what only bounds a price is known to be no more."""

import pytest
from crew_world import World
from gate_world import Gatehouse

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.errors import AlreadySettledError


@pytest.fixture
def house() -> Gatehouse:
    """A branch whose lease has 100."""
    house = Gatehouse(World.make())
    house.permit(house.world.token).release()
    house.draw(house.world.grant, 100)
    return house


def held(house: Gatehouse, price: int) -> Permit:
    permit = house.gate.decide(house.world.token, 0, price=price, is_upper_bound=True)
    assert isinstance(permit, Permit)
    return permit


def test_a_call_is_given_its_own_price(house: Gatehouse) -> None:
    """Whatever the tool's is; the tool's where none is said."""
    with held(house, 60) as permit:
        assert (permit.price_micro, house.record().reserved, house.record().available) == (
            60,
            60,
            40,
        )
    with house.permit(house.world.token) as permit:
        assert permit.price_micro == 10


def test_an_upper_bound_is_told_from_a_price(house: Gatehouse) -> None:
    """By the reservation, not by the tool."""
    with held(house, 60), house.permit(house.world.token):
        record = house.record()
        assert (record.reserved, record.loose) == (70, 60)
        assert house.table.loose() == {record.number: 60}
    assert house.table.loose() == {}


def test_a_reservation_grows_and_is_settled_as_one(house: Gatehouse) -> None:
    """What it did not cost returns."""
    permit = held(house, 10)
    assert permit.grow(30)
    assert (permit.price_micro, house.record().available, house.record().loose) == (40, 60, 40)
    permit.settle(25)
    record = house.record()
    assert (record.settled, record.available, record.reserved) == (25, 75, 0)


def test_it_grows_by_all_or_nothing(house: Gatehouse) -> None:
    """No more than the lease has."""
    with held(house, 10) as permit:
        assert not permit.grow(91)
        assert permit.grow(90)
        assert not permit.grow(1)
        assert (permit.price_micro, house.record().available) == (100, 0)


def test_it_does_not_grow_when_it_is_over(house: Gatehouse) -> None:
    """Nor beyond what a call may cost, nor once the agent has burned it."""
    permit = held(house, 10)
    assert not permit.grow(limits.price_micro_max)
    house.table.burn_overdue(house.boot_ns + round(limits.reservation_seconds_max * 2e9))
    assert not permit.grow(5)
    record = house.record()
    assert (record.available, record.burned) == (90, 10)
    with pytest.raises(AlreadySettledError):
        permit.settle()
    again = held(house, 10)
    again.settle()
    assert not again.grow(5)


def test_a_price_has_a_bound(house: Gatehouse) -> None:
    """As a tool's has."""
    with pytest.raises(ValueError, match="at most"):
        house.gate.decide(house.world.token, 0, price=limits.price_micro_max + 1)


def test_what_is_left_counts_what_the_ledger_has_besides(house: Gatehouse) -> None:
    """As it said with the last grant: the lease's rest and the branch's."""
    quota = house.world.grant.quota
    with house.permit(house.world.token) as permit:
        assert permit.branch_unspent_micro == quota - 10


@pytest.mark.parametrize("more", [limits.price_micro_max, 2**63, 2**64 - 1])
def test_it_never_grows_beyond_any_bound(house: Gatehouse, more: int) -> None:
    """A sum that wraps is not less: nothing moves."""
    with held(house, 10) as permit:
        assert not permit.grow(more)
        assert (permit.price_micro, house.record().available, house.record().reserved) == (
            10,
            90,
            10,
        )


def test_what_is_left_does_not_wrap(house: Gatehouse) -> None:
    """What the ledger could grant besides may be any number of 64 bits."""
    with held(house, 10) as permit:
        house.table.expect(house.record().number, 2**64 - 1)
        assert permit.branch_unspent_micro == 2**64 - 1


def test_what_is_settled_does_not_become_a_generation() -> None:
    """The count of a branch that has settled all that 53 bits hold stays there."""
    house = Gatehouse(World.make(), holds=False)
    grant, most = house.world.grant, limits.quota_micro_max
    told = (0, most, 0, most)  # as a ledger says it that has seen it
    number = house.table.open_branch(
        grant.branch_key, (), grant.path_digest, grant.quota, grant.claims.iat, 2**40, 0, 0, told
    )
    house.table.overdraw(number, 100)
    assert isinstance(house.gate.decide(house.world.token, 0), Permit)
    record = house.table.branch(number)
    assert record is not None
    assert (record.settled, record.available) == (most, 90)
