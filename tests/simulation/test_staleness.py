"""Whoever admits obeys what a majority acknowledged 5 seconds ago, in any world; and it admits.

A failure names its world's seed; the same seed plays the same world again.
"""

import pytest
from gossip_staleness import STALENESS, Watch, heal, lossy, unrest
from gossip_world import Network, World
from search_depth import deep

HEALED = 3.0


@pytest.mark.parametrize(("count", "worlds"), [(2, deep(12)), (3, deep(12)), (5, deep(6))])
def test_who_admits_knows_what_a_majority_has_acknowledged(count: int, worlds: int) -> None:
    """Cut off, deaf on one side, crashed, begun again with nothing: and all are fresh after it."""
    acknowledged = revoked = 0
    for seed in range(worlds):
        watch = unrest(count, seed)
        acknowledged += len(watch.acknowledged)
        revoked += len(watch.revoked)
        heal(watch)
        watch.run(HEALED)
        assert watch.fresh() == list(range(count)), watch.world
        assert all(machine.counts for machine in watch.world.machines), watch.world
    assert acknowledged > revoked / 4


def test_a_minority_admits_no_longer_than_it_may() -> None:
    """And its revocations are not acknowledged, until it hears of a majority again."""
    watch = Watch(lossy(5, 1))
    watch.run(2)
    watch.world.network.cut = lambda a, b: (a < 2) != (b < 2)
    receipt = watch.revoke(0)
    other = watch.revoke(4)
    watch.run(STALENESS)
    assert watch.fresh() == [2, 3, 4]
    assert (receipt.has_quorum, receipt.applied_on) == (False, 2)
    assert (other.has_quorum, other.applied_on) == (True, 3)
    heal(watch)
    watch.run(HEALED)
    assert watch.fresh() == [0, 1, 2, 3, 4]
    assert (receipt.is_everywhere, other.is_everywhere) == (True, True)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_all_begin_again_with_their_disks(count: int) -> None:
    """Nobody is fresh by itself; those who are there heal each other."""
    watch = Watch(lossy(count, 2))
    receipt = watch.revoke(0)
    watch.run(1)
    assert receipt.is_everywhere
    for index in range(count):
        watch.world.crash(index)
    watch.run(60)
    watch.world.restart(0)
    watch.run(STALENESS)
    assert watch.fresh() == []
    heal(watch)
    watch.run(HEALED)
    assert watch.fresh() == list(range(count))


def test_who_begins_with_nothing_counts_once_it_has_compared_with_a_majority() -> None:
    """Of the others; and those who only reach it are not fresh before."""
    watch = Watch(lossy(3, 3))
    watch.run(1)
    watch.world.crash(1)
    receipt = watch.revoke(0)
    watch.run(1)
    assert receipt.has_quorum
    for index in (0, 2):
        watch.world.crash(index)
        watch.world.restart(index, keeps_disk=index == 0)
    watch.run(STALENESS)
    one = watch.world.machines[2]
    assert (one.counts, watch.fresh()) == (False, [])
    assert len(one.table) == 1
    watch.world.restart(1)
    watch.run(HEALED)
    assert one.counts
    assert watch.fresh() == [0, 1, 2]


def test_one_that_lost_its_disk_is_not_added_up_with_what_it_said_before() -> None:
    """It counts again without what it had; the other one that hears of it is not yet a majority."""
    watch = Watch(lossy(5, 4, loss=0.0))
    watch.world.network.cut = lambda a, b: (a < 2) != (b < 2)
    receipt = watch.revoke(0)
    watch.run(1)
    assert receipt.applied_on == 2
    watch.world.restart(1, keeps_disk=False)
    watch.world.network.cut = lambda a, b: (a < 1) != (b < 1)
    watch.run(HEALED)
    assert watch.world.machines[1].counts
    side = {0, 2}
    watch.world.network.cut = lambda a, b: (a in side) != (b in side)
    watch.run(2 * STALENESS)
    assert watch.fresh() == [1, 3, 4]
    assert not receipt.has_quorum
    heal(watch)
    watch.run(HEALED)
    assert receipt.has_quorum


def test_what_is_not_on_a_disk_when_the_machine_crashes_was_not_acknowledged() -> None:
    """Though it was in force there, and the one that revoked it waits."""
    watch = Watch(lossy(3, 5))
    watch.world.disk_seconds = 0.5
    receipt = watch.revoke(0)
    watch.run(0.4)
    others = watch.world.machines[1:]
    assert all(len(machine.table) == 1 for machine in others)
    for machine in others:
        watch.world.crash(machine.index)
    watch.run(1)
    assert receipt.is_kept_here
    assert receipt.applied_on == 1
    heal(watch)
    assert all(not machine.table for machine in others)
    watch.run(HEALED)
    assert receipt.is_everywhere


def test_one_counts_for_good_once_its_disk_has_all_of_it() -> None:
    """It crashes between: with an emptied disk it begins as it did before."""
    watch = Watch(lossy(3, 6, loss=0.0))
    watch.world.crash(1)
    receipt = watch.revoke(0)
    watch.run(0.2)
    assert receipt.has_quorum
    watch.world.disk_seconds = 5.0
    watch.world.restart(1)
    watch.world.restart(2, keeps_disk=False)
    watch.run(3.0)
    one = watch.world.machines[2]
    assert (len(one.table), one.node.freshness.counts, one.counts) == (1, True, False)
    watch.world.crash(2)
    watch.world.restart(2)
    assert not one.node.freshness.counts


@pytest.mark.parametrize(("count", "step"), [(3, 0.05), (30, 1.0)])
def test_nobody_who_is_reached_by_a_majority_goes_stale(count: int, step: float) -> None:
    """For ten minutes in which a fifth of all datagrams is lost."""
    watch = Watch(lossy(count, 7))
    watch.run(HEALED)
    seconds = 600 if count == 3 else deep(20)
    while watch.world.now < seconds:
        assert watch.fresh() == list(range(count)), watch.world
        watch.run(step, step)


@pytest.mark.parametrize(("count", "receipts"), [(3, deep(150)), (5, deep(80))])
def test_receipts_are_complete_soon_though_a_fifth_is_lost(count: int, receipts: int) -> None:
    """A majority in a few milliseconds, mostly; all members within a second, or nearly."""
    watch = Watch(lossy(count, 8))
    begun = {}
    for _ in range(receipts):
        receipt = watch.revoke(watch.world.random.randrange(count))
        begun[receipt] = watch.world.now
        watch.run(0.02, 0.02)
    watch.run(3, 0.1)
    assert all(receipt.is_everywhere for receipt in begun)
    took = sorted(watch.world.everywhere_at[receipt] - at for receipt, at in begun.items())
    quorum = sorted(at - watch.revoked[key][1] for at, key in watch.acknowledged)
    assert len(quorum) == receipts
    assert quorum[len(quorum) // 2] < 0.03
    assert quorum[-1] < 0.4
    assert took[len(took) * 95 // 100] < 0.6
    assert took[-1] < 2.0


def test_where_a_way_takes_long_all_are_fresh() -> None:
    """Longer than until the next question."""
    watch = Watch(World(5, 9, Network(delay=0.2, loss=0.1)))
    receipt = watch.revoke(3)
    watch.run(HEALED)
    assert receipt.is_everywhere
    for _ in range(30):
        assert watch.fresh() == [0, 1, 2, 3, 4]
        watch.run(1.0, 0.1)


def test_under_load_all_have_compared_of_late() -> None:
    """Five hundred revocations a second, ten milliseconds from one to another, a twentieth lost."""
    world = World(3, 10, Network(delay=0.01, loss=0.05))
    for turn in range(1500):
        world.at(turn / 500, lambda turn=turn: world.revoke(turn % 3, [world.entry()]))
    world.run(1.5)
    for _ in range(15):
        world.run(0.1)
        for machine in world.machines:
            assert machine.node.freshness.until(1.0) > world.now, machine
