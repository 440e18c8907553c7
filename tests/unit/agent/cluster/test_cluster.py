"""The gossip of an agent: what a changed configuration changes, and what stays."""

import errno
import os
import shutil

import pytest
from agent_world import Start
from cluster_agent import ME, Clustered
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from crewgate import limits
from crewgate.agent import health, periodic
from crewgate.agent.clock_monitor import ClockMonitor
from crewgate.agent.health import facts
from crewgate.core.health import ComponentHealth, HealthState


def test_a_reload_changes_whom_to_join_and_how_fresh_to_be(clustered: Clustered) -> None:
    """While it serves; who may be a second behind asks as often as that needs."""
    cluster, node = clustered.cluster, clustered.cluster.gossip.node
    clustered.other("b")
    assert node.anti_entropy.seconds == limits.compare_seconds
    cluster.load(
        replace(
            clustered.settings,
            peers=(("10.0.0.2", 8446),),
            staleness_quorum="any",
            max_staleness_seconds=1.0,
        )
    )
    assert cluster.service.peers == (("10.0.0.2", 8446),)
    assert (cluster.in_touch().quorum, cluster.staleness) == ("any", 1.0)
    assert node.anti_entropy.seconds == 0.2
    cluster.load(clustered.settings)
    assert cluster.in_touch().quorum == "majority"
    clustered.hands.go(4)
    assert cluster.in_touch().synced_seconds == 1.0


def test_a_renewed_certificate_is_the_one_that_peers_are_shown(clustered: Clustered) -> None:
    """The same name and signing key: a reload is enough."""
    gossip = clustered.cluster.gossip
    before = gossip.membership.me
    clustered.renewed()
    clustered.cluster.load(clustered.settings)
    shown = gossip.membership.hello(gossip.node).credential
    assert shown.chain != before.credential.chain
    assert (gossip.membership.me.name, gossip.membership.me.serial == before.serial) == (ME, False)


@pytest.mark.parametrize("name", [ME, "somebody-else"])
def test_another_machines_certificate_changes_nothing(
    clustered: Clustered, log_lines: list[str], name: str
) -> None:
    """One of another name, or of another key: what was shown before stays, and that is said."""
    before = clustered.cluster.gossip.membership.me
    clustered.renewed(name, Ed25519PrivateKey.generate())
    clustered.cluster.load(clustered.settings)
    assert clustered.cluster.gossip.membership.me == before
    assert any("has another name or signing key" in each for each in log_lines)


def test_a_disk_that_is_full_ends_no_reload(clustered: Clustered, log_lines: list[str]) -> None:
    """All of it is in force, the renewed certificate too, which its own file still has."""
    gossip = clustered.cluster.gossip
    before = gossip.membership.me
    clustered.renewed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        clustered.cluster.load(replace(clustered.settings, max_staleness_seconds=1.0))
    assert clustered.cluster.staleness == 1.0
    assert gossip.membership.me != before
    assert any("No space left" in each for each in log_lines)
    (fact,) = (
        each for each in facts(clustered.machine) if each.component == "cluster state on disk"
    )
    assert (fact.state, "No space left" in fact.why) == (HealthState.DEGRADED, True)
    gossip.upkeep()
    assert clustered.cluster.incomplete_reason() == ""


def _full(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_member_with_a_bad_list_of_the_revoked_is_named(
    clustered: Clustered, log_lines: list[str]
) -> None:
    """In the log, and in health for as long as it may be at it."""
    machine, member = clustered.machine, clustered.other("b").id
    machine.active_config.config = replace(machine.active_config.config, ca=clustered._ca)
    lists = clustered.cluster.gossip.crls
    lists.take(b"no list", member)
    clustered.cluster.log(lists.take_message())
    assert "rejected the CRL of b: " in log_lines[-1]

    def found() -> ComponentHealth:
        name = "CRLs of other machines"
        (fact,) = (each for each in facts(machine) if each.component == name)
        return fact

    assert found().state is HealthState.DEGRADED
    assert "rejected the CRL of b: not a CRL" in found().why
    clustered.hands.go(2 * limits.gossip_list_again_seconds)
    assert found().state is HealthState.OK


@pytest.mark.parametrize("had_others", [True, False])
def test_a_machine_that_lost_its_members_does_not_take_itself_for_all(
    clustered: Clustered, start: Start, *, had_others: bool
) -> None:
    """Without peers in its file, and the folder gone: the table tells that it had to ask some."""
    if had_others:
        clustered.other("b")
    machine, hands = clustered.machine, clustered.hands
    periodic.extend_freshness(machine, ClockMonitor(hands.wall, hands.boot))
    clustered.cluster._sockets.close()
    shutil.rmtree(machine.active_config.config.state / "gossip")
    clustered.machine = start()
    hands.go(clustered.settings.max_staleness_seconds + 1)  # that of the agent before is over
    with clustered.begun(bootstrap=False):
        assert (clustered.cluster.waiting_for() != "") is had_others
        assert (clustered.cluster.synced_until_ns() <= hands.boot) is had_others


def test_that_a_machine_is_out_of_touch_is_said_and_that_it_is_back(
    clustered: Clustered, log_lines: list[str]
) -> None:
    """Once each, and not of one that has just begun: it asks yet."""
    machine, hands = clustered.machine, clustered.hands
    machine.fanout.others = clustered.cluster
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    other = clustered.other("b")
    log_lines.clear()
    for seconds in (0, 5.1, 0.2, 5):
        hands.go(seconds)
        periodic.extend_freshness(machine, watch)
    assert len(log_lines) == 1
    assert log_lines[0].startswith("out of touch with the other machines: ")
    assert (
        "waiting for any missing revocations: this machine has compared with 0 of 1 other "
        "machine in the last 5 s, and needs 1" in log_lines[0]
    )
    clustered.compare(other)
    for _ in range(2):
        periodic.extend_freshness(machine, watch)
    assert log_lines[1:] == ["in touch with the other machines again: admitting calls"]


def test_a_start_that_reaches_the_others_in_time_is_not_logged(
    clustered: Clustered, log_lines: list[str]
) -> None:
    """Not as trouble, and not as its end; `status` calls it a start."""
    machine, hands = clustered.machine, clustered.hands
    machine.fanout.others = clustered.cluster
    watch = ClockMonitor(hands.wall_ns(), hands.boot_ns())
    other = clustered.other("b")
    hands.go(60)
    machine.began_ns = machine.clock.boot_ns()
    log_lines.clear()
    periodic.extend_freshness(machine, watch)
    (trouble,) = [one for one in health.update(machine).troubles if one.component == "cluster"]
    assert (trouble.passing, trouble.refuses) == (True, True)
    hands.go(1)
    clustered.compare(other)
    for _ in range(20):
        hands.go(0.2)
        periodic.extend_freshness(machine, watch)
        health.update(machine)
    assert log_lines == []
