"""A permit is ended exactly once: settled, released or burned; what it held is accounted for."""

import gc
import re
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from crew_world import BRANCH, World
from embedded import in_child
from gate_world import BOOT_NS, NS, Gatehouse

from crewgate import Denial, Permit, Reason, limits
from crewgate._native.records import BranchRecord
from crewgate.errors import AlreadySettledError, ForkedError, TableError

PING = 2


@pytest.fixture
def house() -> Gatehouse:
    return Gatehouse(World.make())


def accounts(record: BranchRecord) -> tuple[int, int, int, int]:
    """(available, reserved, settled, burned) of a lease that was granted and not given back."""
    total = record.available + record.reserved + record.settled + record.burned
    assert total == record.granted - record.given_back
    return record.available, record.reserved, record.settled, record.burned


def test_a_permit_holds_its_price_until_it_is_settled(house: Gatehouse) -> None:
    """Reserved first, settled after; nothing is lost between."""
    permit = house.permit(house.world.token)
    assert permit.has_reservation
    assert accounts(house.record()) == (0, 10, 0, 0)
    permit.settle()
    assert not permit.has_reservation
    assert accounts(house.record()) == (0, 0, 10, 0)


@pytest.mark.parametrize(
    ("cost", "charged"), [(0, 0), (1, 1), (10, 10), (11, 10), (2**53, 10), (2**200, 10)]
)
def test_a_cost_is_charged_up_to_the_price(house: Gatehouse, cost: int, charged: int) -> None:
    """A response that states more than was reserved is charged the reservation."""
    house.permit(house.world.token).settle(cost)
    assert accounts(house.record()) == (10 - charged, 0, charged, 0)


def test_a_negative_cost_is_an_error_and_changes_nothing(house: Gatehouse) -> None:
    """Nobody earns credit by calling."""
    permit = house.permit(house.world.token)
    with pytest.raises(ValueError, match="0 or more"):
        permit.settle(-1)
    assert permit.has_reservation
    permit.release()


@pytest.mark.parametrize("amount", [0.012, 1.0, "12000", Decimal(1)])
def test_an_amount_that_is_no_integer_is_an_error_and_changes_nothing(
    house: Gatehouse, amount: Any
) -> None:
    """Credits instead of micro-credits would otherwise be cut to a charge of nothing."""
    permit = house.permit(house.world.token)
    for method in (permit.settle, permit.grow):
        with pytest.raises(
            TypeError, match=re.escape(f"an integer of micro-credits, not {amount!r}")
        ):
            method(amount)
    assert permit.has_reservation
    assert accounts(house.record()) == (0, 10, 0, 0)
    permit.release()


def test_a_permit_has_no_truth_value(house: Gatehouse) -> None:
    """As a denial: else `if verdict` would fail only at the first denial."""
    for verdict in (house.permit(house.world.token), Denial(Reason.UNKNOWN_TOOL)):
        with pytest.raises(TypeError, match="use isinstance"):
            bool(verdict)
        if isinstance(verdict, Permit):
            verdict.release()


def test_a_release_charges_nothing(house: Gatehouse) -> None:
    """No byte of the call reached the tool."""
    house.permit(house.world.token).release()
    assert accounts(house.record()) == (10, 0, 0, 0)


@pytest.mark.parametrize("first", ["settle", "release"])
@pytest.mark.parametrize("second", ["settle", "release"])
def test_a_permit_is_ended_once(house: Gatehouse, first: str, second: str) -> None:
    """The second end raises and changes nothing; `with` sees that it was ended before."""
    with house.permit(house.world.token) as permit:
        getattr(permit, first)()
        before = accounts(house.record())
        with pytest.raises(AlreadySettledError, match="before"):
            getattr(permit, second)()
    assert accounts(house.record()) == before


@pytest.mark.parametrize("raises", [False, True])
def test_with_settles_whatever_happens(house: Gatehouse, raises: bool) -> None:
    """A call that failed half-way has cost its price."""

    def call() -> None:
        with house.permit(house.world.token):
            if raises:
                raise ConnectionError

    with pytest.raises(ConnectionError) if raises else nullcontext():
        call()
    assert accounts(house.record()) == (0, 0, 10, 0)


def test_a_dropped_permit_is_burned_counted_and_warned_about(house: Gatehouse) -> None:
    """Nobody knows what the call cost, so it counts as spent, and somebody should hear of it."""
    held = [house.permit(house.world.token)]
    with pytest.warns(ResourceWarning, match=f"branch={BRANCH}.*burned"):
        held.clear()
    assert accounts(house.record()) == (0, 0, 0, 10)
    assert house.gate.counters()["dropped_permits"] == 1


def test_a_permit_that_was_dropped_in_a_child_is_still_the_parent_s(house: Gatehouse) -> None:
    """After fork the copy ends without a word."""
    permits = [house.permit(house.world.token)]

    def drop() -> None:
        permits.clear()
        gc.collect()
        assert accounts(house.record()) == (0, 10, 0, 0)

    in_child(drop)
    assert permits[0].has_reservation
    permits[0].settle()


@pytest.mark.parametrize("holds", [True, False])
def test_only_the_process_that_made_a_permit_ends_it(holds: bool) -> None:
    """Two processes that settle one permit would both return its credit."""
    house = Gatehouse(World.make(), holds=holds)
    permit = house.permit(house.world.token)
    before = accounts(house.record())

    def end() -> None:
        for method in (permit.settle, lambda: permit.settle(0), permit.release):
            with pytest.raises(ForkedError, match="the process that made"):
                method()
        with permit:
            pass
        assert not permit.grow(0)
        assert not permit.extend(BOOT_NS + NS)
        in_child(permit.settle, raises=ForkedError)
        assert accounts(house.record()) == before
        house.permit(house.world.token).settle(0)  # its own

    in_child(end)
    permit.settle(4)
    assert accounts(house.record())[2] == 4


def test_a_call_past_its_deadline_is_burned_and_told_so(house: Gatehouse) -> None:
    """The agent ends it; a late settle is an error and charges nothing twice."""
    permit = house.permit(house.world.token)
    hold = round(limits.reservation_seconds_max * NS)
    assert house.table.burn_overdue(BOOT_NS + hold) == []
    (burned,) = house.table.burn_overdue(BOOT_NS + hold + 1)
    assert (burned.branch_key, burned.amount) == (permit.grant.branch_key, 10)
    with pytest.raises(AlreadySettledError, match="burned"):
        permit.settle()
    assert accounts(house.record()) == (0, 0, 0, 10)


def test_a_stream_extends_its_deadline_while_it_lives(house: Gatehouse) -> None:
    """An extension counts from when it is made; of a burned reservation it says False."""
    permit = house.permit(house.world.token)
    later = BOOT_NS + 10**6 * NS
    assert permit.extend(later)
    assert house.table.burn_overdue(later) == []
    assert len(house.table.burn_overdue(later + 1)) == 1
    assert not permit.extend(later + NS)
    with pytest.raises(AlreadySettledError):
        permit.release()


def test_what_holds_nothing_cannot_be_extended(house: Gatehouse) -> None:
    """A free call of an embedder has no deadline."""
    house = Gatehouse(World.make(), holds=False)
    permit = house.permit(house.world.token, PING)
    assert not permit.extend(BOOT_NS + NS)
    permit.settle()
    assert not permit.extend(BOOT_NS + NS)


def test_a_burned_reservation_names_its_call(house: Gatehouse) -> None:
    """The attribution from which its audit record is written."""
    permit = house.permit(house.world.token, request=b"r" * 16)
    (burned,) = house.table.burn_overdue(2**62)
    assert (burned.request, burned.tool) == (b"r" * 16, 0)
    assert burned.started_ns == house.world.now * NS
    with pytest.raises(AlreadySettledError):
        permit.settle()


def test_slots_are_used_again(house: Gatehouse) -> None:
    """A hundred times as many calls as slots, one after the other."""
    house.draw(house.world.grant, 100_000)
    for _ in range(128):
        house.permit(house.world.token).settle()
    assert house.table.counts()["reservations"] == 0
    assert accounts(house.record())[2] == 1280


def test_a_permit_outlives_its_gate(house: Gatehouse) -> None:
    """A call in flight hears of its key's end, and is settled, when the process has a new gate."""
    permit = house.permit(house.world.token)
    holder = house.gate.holder
    del house.gate
    gc.collect()
    assert not permit.revoked
    holder.load(msgspec.structs.replace(house.world.policy, keys=()))
    assert permit.revoked
    permit.settle()
    assert accounts(house.record()) == (0, 0, 10, 0)


def test_a_permit_of_a_closed_table_raises_and_is_quiet_in_the_end(house: Gatehouse) -> None:
    """Memory that is unmapped is never touched; the agent will burn what was held."""
    permit = house.permit(house.world.token)
    house.table.close()
    for end in (permit.settle, permit.release, lambda: permit.revoked):
        with pytest.raises(TableError, match="closed"):
            end()


def test_a_repr_tells_the_state_and_no_secret(house: Gatehouse) -> None:
    """What a log wants: branch, price, state."""
    permit = house.permit(house.world.token)
    assert repr(permit) == f"<Permit branch={BRANCH} price=10 reserved>"
    permit.settle()
    assert repr(permit) == f"<Permit branch={BRANCH} price=10 ended>"
