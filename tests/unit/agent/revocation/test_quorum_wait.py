"""How far a revocation has come, when that cannot be known."""

import errno
import os
from pathlib import Path

import pytest
import trio
from agent_world import Hands, S, Start
from cluster_agent import Clustered
from grant_builders import branch_id, key
from revocation_targets import branch

from crewgate import limits
from crewgate.agent.ipc_server.revoke_request import revoke
from crewgate.core.gossip import capsules
from crewgate.ipc.admin_messages import RevocationReceipt, Revoke, Until
from crewgate.ipc.receipt_text import reach_lines


async def _revoked(clustered: Clustered, until: Until) -> RevocationReceipt:
    ask = Revoke(id=1, targets=[branch(branch_id(1), "article")], until=until)
    return await revoke(clustered.machine, ask, clustered.machine.clock.monotonic_ns())


@pytest.mark.parametrize(("until", "is_enough"), [("", False), ("all", False), ("local", True)])
async def test_one_that_nobody_can_be_asked_about_is_in_force_and_not_enough(
    clustered: Clustered, autojump_clock: trio.testing.MockClock, until: Until, *, is_enough: bool,
    log_lines: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """There is no room among the capsules: this agent has started too often today."""
    clustered.other("b")
    monkeypatch.setattr(limits, "capsule_epochs_max", 0)
    receipt = await _revoked(clustered, until)
    assert clustered.machine.table.is_revoked(key(1), 0)
    assert (receipt.reach.applied_on, receipt.reach.of) == (1, 2)
    assert receipt.reach.enough is is_enough
    assert any("in force on this machine, without acknowledgements: " in each for each in log_lines)


async def test_one_that_no_other_would_obey_is_told_to_none(
    start: Start, hands: Hands, tmp_path: Path, log_lines: list[str]
) -> None:
    """Who was handed what it cannot judge would never compare with this machine again."""
    clustered = Clustered(start, hands, tmp_path / "ca", ())
    with clustered.begun(bootstrap=True):
        clustered.other("b")
        receipt = await _revoked(clustered, "quorum")
        assert clustered.machine.table.is_revoked(key(1), 0)
        assert (receipt.reach.applied_on, receipt.reach.of, receipt.reach.enough) == (1, 2, False)
        assert "no certificate of this machine has the right revoke at this time" in log_lines[-1]
        assert len(clustered.cluster.gossip.node.archive) == 0
    for told in (0, 1):
        clustered.machine = start()
        with clustered.begun(bootstrap=False):
            assert len(clustered.cluster.gossip.node.archive) == told
        assert ("1 revocations are in force only on this machine" in log_lines[-1]) is (told == 0)
        log_lines.append("started with another certificate")
        clustered.renewed()


async def test_a_receipt_names_only_so_many_that_lack_it(
    clustered: Clustered,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And counts the others: with all their names it would not fit a frame."""
    monkeypatch.setattr(limits, "ipc_missing_names_max", 1)
    for name in ("b", "c", "d"):
        clustered.other(name)
    reach = (await _revoked(clustered, "all")).reach
    assert (reach.of, reach.enough) == (4, False)
    assert (len(reach.missing), reach.missing_more) == (1, 2)


async def test_one_waiter_too_many_is_answered_too(clustered: Clustered) -> None:
    """The others are told, and nobody counts who has it."""
    clustered.other("b")
    receipts = clustered.cluster.gossip.node.receipts
    for number in range(limits.receipts_max):
        receipts.begin([bytes(16) + number.to_bytes(4)], 0.0)
    before = len(clustered.cluster.gossip.node.archive)
    receipt = await _revoked(clustered, "local")
    assert len(clustered.cluster.gossip.node.archive) == before + 1
    assert receipt.reach.enough


async def test_others_obey_one_of_a_clock_that_was_just_set(clustered: Clustered) -> None:
    """Two days back: by the time that is believed still, and not expired before it is told."""
    clustered.other("b")
    now = clustered.cluster.wall()
    clustered.hands.wall -= 2 * limits.revocation_seconds * S
    await _revoked(clustered, "local")
    archive = clustered.cluster.gossip.node.archive
    (raw,) = archive.lacking(dict.fromkeys(archive.digests(), ()))
    assert capsules.decode(raw).expires == now + limits.revocation_seconds


async def test_what_the_disk_has_refused_is_not_said_to_be_there(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one machine alone, whose table binds everybody all the same."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    machine = start()
    monkeypatch.setattr(os, "fsync", full)
    ask = Revoke(id=1, targets=[branch(branch_id(1), "article")])
    receipt = await revoke(machine, ask, machine.clock.monotonic_ns())
    assert machine.table.is_revoked(key(1), 0)
    assert (receipt.reach.applied_on, receipt.reach.of, receipt.reach.enough) == (0, 1, False)
    assert reach_lines(receipt.reach) == [
        "it is in force, but not on disk; see the log of the agent"
    ]
