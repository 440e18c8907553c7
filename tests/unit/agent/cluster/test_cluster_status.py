"""What a machine says of itself and the others: rows, how it stands, and what it waits for."""

from pathlib import Path

import pytest
from agent_world import Hands, Start
from cluster_agent import ME, Clustered
from msgspec.structs import replace

from crewgate import limits
from crewgate.agent import periodic
from crewgate.agent.clock_monitor import ClockMonitor
from crewgate.agent.cluster import cluster_status
from crewgate.agent.health import facts
from crewgate.agent.status import status
from crewgate.core.gossip.messages import MemberState, MemberUpdate
from crewgate.core.x509.identity_extension import MAY_REVOKE
from crewgate.ipc.cluster_messages import MemberRow, QuorumSyncState
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics


def rows(clustered: Clustered) -> dict[str, MemberRow]:
    return {row.name: row for row in cluster_status.rows(clustered.cluster.gossip)}


def test_a_machine_alone_needs_nobody(clustered: Clustered) -> None:
    """It counts by the word of a person, and admits without an end."""
    touch = clustered.cluster.in_touch()
    assert touch == QuorumSyncState(1, 0, 0, "majority", True, None, None)
    (row,) = cluster_status.rows(clustered.cluster.gossip)
    assert (row.name, row.state, row.standing, row.may_revoke) == (ME, "here", "counts", True)
    assert row.address.startswith("127.0.0.1:")
    assert clustered.cluster.waiting_for() == ""


def test_each_of_the_others_is_a_row(clustered: Clustered) -> None:
    """Counted, joining, waiting until those have joined, and evicted while it is still asked."""
    counted = clustered.other("b-counts")
    leaving = clustered.other("c-leaving")
    joining = clustered.other("d-joins", counts=False, rights=())
    clustered.other("a-waits", counts=False)
    gossip, now = clustered.cluster.gossip, clustered.hands.boot / 1e9
    clustered.hands.go(2)
    gossip.membership.evict(gossip.node, leaving.id, clustered.cluster.wall())
    address = joining.address
    gossip.node.members.merge([MemberUpdate(joining.id, MemberState.DEAD, 1, address)], now)
    found = rows(clustered)
    assert list(found) == [ME, "a-waits", "b-counts", "c-leaving", "d-joins"]
    standings = [row.standing for row in found.values()]
    assert standings == ["counts", "waiting", "counts", "leaving", "joining"]
    assert found["b-counts"].compared_seconds == 2.0
    assert found["d-joins"].compared_seconds is None
    assert (found["d-joins"].state, found["d-joins"].may_revoke) == ("dead", False)
    assert found["b-counts"].ends == counted.not_after


def test_how_old_the_comparisons_are_that_are_needed(clustered: Clustered) -> None:
    """Of five, the second newest of others; one that is too old is none."""
    others = [clustered.other(f"m{index}") for index in range(4)]
    clustered.hands.go(3)
    clustered.compare(others[0])
    clustered.hands.go(1)
    touch = clustered.cluster.in_touch()
    assert (touch.members, touch.compared, touch.needed) == (5, 4, 2)
    assert (touch.ago_seconds, touch.synced_seconds) == (4.0, 1.0)
    clustered.hands.go(2)
    touch = clustered.cluster.in_touch()
    assert (touch.compared, touch.ago_seconds, touch.synced_seconds) == (1, None, 0.0)
    assert clustered.cluster.waiting_for() == (
        "any missing revocations: this machine has compared with 1 of 4 other machines "
        "in the last 5 s, and needs 2; not compared: m1, m2, m3"
    )
    gossip = clustered.cluster.gossip
    for each in others[1:3]:
        gossip.node.members.merge([MemberUpdate(each.id, MemberState.DEAD, 1, each.address)], 0.0)
    assert clustered.cluster.waiting_for().endswith("; unresponsive: m1, m2; not compared: m3")


def test_the_metric_of_staleness_has_no_end(clustered: Clustered) -> None:
    """Beyond the limit it goes on; it is absent before the first comparison, 0 without a need."""
    metrics = ProcessMetrics.unshared()
    clustered.cluster.note_metrics(metrics)
    assert metrics.series(families.STALENESS).value == 0
    assert metrics.series(families.STALENESS_MAX).value == 5e9
    for index in range(2):
        clustered.other(f"m{index}")
    clustered.hands.go(60)
    clustered.cluster.note_metrics(metrics)
    assert metrics.series(families.STALENESS).value == 60e9
    assert cluster_status.staleness(clustered.cluster.gossip) == pytest.approx(60.0)


def test_not_all_who_are_silent_are_named(clustered: Clustered) -> None:
    """As many as go into a line."""
    assert cluster_status.named(list("abc")) == ["a", "b", "c"]
    most = limits.members_named_max
    assert cluster_status.named("x" * (most + 2)) == ["x"] * most + ["and 2 more"]


def test_a_machine_alone_names_the_peers_that_have_not_answered(clustered: Clustered) -> None:
    """Until it knows another: then there are members to be told of."""
    cluster = clustered.cluster
    cluster.service.peers = (("10.0.0.2", 8446), ("fd00::2", 8446), ("there", 8446))
    for peer, why in zip(cluster.service.peers, ("No route to host", "slow", ""), strict=True):
        cluster.service._peer_errors.note(peer, why)
    expected = ["10.0.0.2:8446 (No route to host)", "[fd00::2]:8446 (slow)"]
    assert cluster.in_touch().unreached == expected
    clustered.other("b")
    assert cluster.in_touch().unreached == []


def test_an_evicted_machine_says_so_and_how_it_comes_back(clustered: Clustered) -> None:
    """And admits nothing, though of a pair each goes on alone; until its certificate is new."""
    cluster, other = clustered.cluster, clustered.other("b")
    gossip = cluster.gossip
    settings = replace(clustered.settings, staleness_quorum="any")
    cluster.load(settings)
    assert cluster.synced_until_ns() == limits.never_ns
    gossip.membership.evict(gossip.node, gossip.membership.me.id, gossip.membership.me.issued)
    assert (cluster.synced_until_ns(), rows(clustered)[ME].standing) == (0, "evicted")
    assert cluster.waiting_for().startswith(
        "readmission: this machine was evicted; to rejoin, it needs"
    )
    assert f"ca issue --role gateway --name {ME} --signing-key" in cluster.waiting_for()
    clustered.machine.fanout.others = cluster
    periodic.extend_freshness(
        clustered.machine, ClockMonitor(clustered.hands.wall, clustered.hands.boot)
    )
    (fact,) = [each for each in facts(clustered.machine) if each.component == "cluster"]
    assert (fact.why, fact.mend) == (f"waiting for {cluster.waiting_for()}", "")
    assert other.id in gossip.node.freshness.others
    clustered.renewed(born=1)
    cluster.load(settings)
    assert (cluster.synced_until_ns(), cluster.waiting_for()) == (limits.never_ns, "")


def test_a_pair_that_goes_on_alone_says_so(clustered: Clustered) -> None:
    """With "any", none of the others is needed."""
    clustered.other("b")
    clustered.cluster.gossip.node.freshness.any_other = True
    clustered.hands.go(60)
    touch = clustered.cluster.in_touch()
    assert (touch.quorum, touch.needed, touch.synced_seconds) == ("any", 0, None)


def test_whoever_has_never_counted_is_told_of_the_first_machine_of_all(
    start: Start, hands: Hands, tmp_path: Path
) -> None:
    """Whether no peer answers, or those who do have never counted either."""
    one = Clustered(start, hands, tmp_path / "ca", (MAY_REVOKE,))
    (one.machine.active_config.config.state / "gossip").mkdir()
    (one.machine.active_config.config.state / "gossip" / "standing").touch()
    with one.begun(bootstrap=False):
        assert one.cluster.waiting_for() == (
            f"any missing revocations: no peer answers; {cluster_status.BOOTSTRAP}"
        )
        peer = ("127.0.0.1", 9)
        one.cluster.service.peers = (peer,)
        one.cluster.service._peer_errors.note(peer, "Connection refused")
        assert (
            ": no peer could be joined: 127.0.0.1:9 (Connection refused); start the first machine"
        ) in one.cluster.waiting_for()
        other = one.other("b", counts=False)
        one.cluster.gossip.node.merge_views([other.id], [], hands.boot / 1e9)
        assert "1 peer answers, but none counts yet; start the first" in one.cluster.waiting_for()
        assert status(one.machine, 1).in_touch == one.cluster.in_touch()
        assert not one.cluster.in_touch().counts


def test_a_clock_that_is_far_from_the_others_is_told(clustered: Clustered) -> None:
    """By how much, and which way."""
    node = clustered.cluster.gossip.node
    for name in ("b", "c"):
        other = node.anti_entropy._others[clustered.other(name).id]
        other.life, other.clock_offset = bytes(range(8)), limits.skew_max + 15
    assert clustered.cluster.waiting_for() == (
        "a clock within 30 s of the other members: it is 45 s behind their median; set the clock"
    )


def test_keys_and_counters_and_the_clock(clustered: Clustered) -> None:
    """What is told besides."""
    gossip = clustered.cluster.gossip
    assert clustered.cluster.status(1).next_key_seconds is None
    gossip.membership.keyring.make(clustered.cluster.wall())
    for index in range(2):
        gossip.receive(bytes(60 + index))
    clustered.hands.go(60)
    told = clustered.cluster.status(7)
    assert (told.id, told.name, told.keys, told.capsules) == (7, ME, 1, 0)
    assert (told.newest_key_seconds, told.next_key_seconds) == (60, limits.group_key_seconds - 60)
    assert (told.sent, told.received, told.refused) == (0, 2, {"malformed": 2})
    assert (told.log_complete, told.clock_ahead_seconds) == (True, 0)
