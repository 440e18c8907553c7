"""What other machines have revoked, in force here: whatever clocks say, and however much it is."""

import pytest
from agent_world import S, Start
from cluster_agent import Clustered
from grant_builders import branch_id, grant, key
from revocation_targets import branch

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent import periodic
from crewgate.agent.anomaly.remote_quarantines import to_gossip
from crewgate.agent.revocation.crew_table_quota import CrewTableQuota
from crewgate.core.anomaly.enforcement import EnforcementOrder
from crewgate.core.audit.records import Record, RevocationRecord, ServiceEvent
from crewgate.core.gossip import capsules
from crewgate.core.gossip.capsules import RevocationEntry
from crewgate.core.ids import EntityKind, certificate_key, crew_key
from crewgate.core.policy.policy import CrewPolicy

DAY = limits.revocation_seconds
ARTICLE = crew_key("article")


def dead(number: int, clustered: Clustered, life: int = DAY) -> RevocationEntry:
    """The end of a branch, for so many seconds from now."""
    expires = clustered.cluster.wall() + life
    return RevocationEntry(
        EntityKind.BRANCH, key(number), ARTICLE, limits.time_seconds_max, expires
    )


def apply(
    clustered: Clustered, entries: list[RevocationEntry], origin: bytes = b"another."
) -> None:
    """Another machine says so."""
    clustered.cluster.apply(entries, [origin] * len(entries))


def test_a_clock_that_was_just_set_ends_no_agent(clustered: Clustered) -> None:
    """Two days ahead, and not believed yet: what lives for an hour more is entered as it is."""
    clustered.hands.wall += 2 * DAY * S
    apply(clustered, [dead(1, clustered, 3600)])
    assert clustered.machine.table.is_revoked(key(1), 0)


@pytest.mark.parametrize(
    ("kind", "of", "most"),
    [
        (EntityKind.CREW, ARTICLE, DAY),
        (EntityKind.CERTIFICATE, certificate_key("article", 10), limits.gateway_life_seconds_max),
    ],
)
def test_nothing_is_dead_for_longer_than_its_kind_may_be(
    clustered: Clustered, kind: EntityKind, of: bytes, most: int
) -> None:
    """An origin whose clock is a century ahead ends a crew for a day, not for good."""
    latest = limits.time_seconds_max
    apply(clustered, [RevocationEntry(kind, of, ARTICLE, latest, latest)])
    table, hands = clustered.machine.table, clustered.hands
    for seconds, is_dead in ((most, True), (limits.clock_distrust_seconds + 1, False)):
        hands.go(seconds)
        for _ in range(3):
            table.reclaim(hands.wall // S, hands.boot, limits.reclaim_records_max)
        assert table.is_revoked(of, 0) is is_dead


def closed(clustered: Clustered) -> set[bytes]:
    """What the ledger will not open again."""
    rows = clustered.machine.ledger_queue.ledger.session.rows("SELECT key FROM closed")
    return {each for (each,) in rows}


def test_the_ledger_hears_again_what_it_may_have_missed(clustered: Clustered, start: Start) -> None:
    """The agent is killed with the capsule on its disk, and what the ledger is to be told not."""
    entry = dead(1, clustered)
    capsule = capsules.unsigned(b"another. epoch..", 1, clustered.cluster.wall(), [entry])
    assert clustered.cluster.gossip.log.append([capsule.raw])
    clustered.cluster._sockets.close()
    clustered.machine = start()
    assert closed(clustered) == set()
    with clustered.begun(bootstrap=False):
        assert clustered.machine.table.is_revoked(key(1), 0)
        assert closed(clustered) == {key(1)}


def test_a_restart_tells_what_this_machine_alone_knows(clustered: Clustered, start: Start) -> None:
    """Of what it has revoked: others' words, and its own that have gone out, are not told anew."""
    cluster = clustered.cluster
    capsule = capsules.unsigned(b"another. epoch..", 1, cluster.wall(), [dead(1, clustered)])
    assert cluster.gossip.log.append([capsule.raw])
    clustered.machine.revoke([branch(branch_id(2), "article")])
    clustered.machine.fanout.others = None  # as if it had been killed before it told of the next
    clustered.machine.revoke([branch(branch_id(3), "article")])
    cluster._sockets.close()
    clustered.machine = start()
    with clustered.begun(bootstrap=False):
        node = clustered.cluster.gossip.node
        held = node.archive.lacking(dict.fromkeys(node.archive.digests(), ()))
        told = [entry.key for raw in held for entry in capsules.decode(raw).entries]
        assert sorted(told) == sorted([key(1), key(2), key(3)])


def test_no_crew_is_closed_for_ever_as_a_branch(clustered: Clustered) -> None:
    """By a member that was taken over: it can end a crew for a day, and its budget for none."""
    apply(clustered, [dead(1, clustered)._replace(key=ARTICLE), dead(2, clustered)])
    assert closed(clustered) == {key(2)}


def test_a_crew_that_is_not_configured_here_has_no_more_than_a_share_either(
    clustered: Clustered,
) -> None:
    """What another machine revokes of it leaves room for those that are: 64 places, 28 for it."""
    unknown = crew_key("elsewhere")
    apply(clustered, [dead(n, clustered)._replace(crew=unknown) for n in range(100)])
    table = clustered.machine.table
    assert table.revocations_of(unknown) == 28 + 1
    assert table.is_revoked(unknown, clustered.cluster.wall())
    apply(clustered, [dead(1000, clustered)])
    assert table.is_revoked(key(1000), 0)
    assert clustered.cluster.waiting_for() == ""


def test_a_subject_of_all_crews_takes_a_place_of_the_whole_table(clustered: Clustered) -> None:
    """No share is used up by it; if there is no place, this machine admits no call."""
    of_all = crew_key("")
    some = dead(1, clustered)._replace(kind=EntityKind.SUBJECT, crew=of_all)
    entries = [some._replace(key=n.to_bytes(16, "big")) for n in range(1, 66)]
    apply(clustered, entries[:60])
    table = clustered.machine.table
    assert all(table.is_revoked(each.key, 0) for each in entries[:60])
    assert clustered.cluster.waiting_for() == ""
    apply(clustered, entries[60:])
    assert clustered.cluster.waiting_for()
    assert not table.is_revoked(of_all, 0)


def test_a_step_looks_once_at_each_crew(table: OwnedTable) -> None:
    """However many entries it has: a thousand crews times a thousand entries were seconds."""

    class Counted:
        looks = 0
        geometry = table.geometry

        def revocations_of(self, key: bytes) -> int:
            self.looks += 1
            return 0

    counted = Counted()
    crews = {crew_key(f"c{n}"): CrewPolicy(f"c{n}", "https://o.example") for n in range(20)}
    shares = CrewTableQuota(counted, crews)  # type: ignore[arg-type]
    rooms = []
    for _ in range(40):
        rooms.append(shares.has_space(crew_key("c0"), "certificate"))
        shares.took(crew_key("c0"))
    assert rooms == [True] * 32 + [False] * 8
    assert counted.looks == 20


def test_the_audit_says_which_machine_it_was(clustered: Clustered, written: list[Record]) -> None:
    """By its certificate's name; a branch that was never seen here by its key."""
    clustered.machine.registry.learn(grant(1, 500))
    other = clustered.other("b")
    coarse = RevocationEntry(EntityKind.CREW, ARTICLE, ARTICLE, clustered.cluster.wall(), 2**33)
    wall = clustered.cluster.wall()
    word = to_gossip("article", "article/a-1", EnforcementOrder(wall, "owner", wall + DAY))
    apply(clustered, [dead(1, clustered), dead(2, clustered), coarse, word], other.id)
    found = [each for each in written if isinstance(each, RevocationRecord)]
    assert {(each.by, each.crew) for each in found} == {("gateway/b", "article")}
    assert [(each.target, each.id) for each in found] == [
        ("branch", branch_id(1)), ("branch", key(2).hex()), ("crew", "article")
    ]  # fmt: skip
    assert (found[0].branch, found[0].grant != "", found[1].branch) == (branch_id(1), True, "")


def test_what_was_coarsened_here_is_told_as_it_was_asked_for(
    clustered: Clustered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a later token of that branch would live wherever the ledger is another one."""
    machine, told_ = clustered.machine, list[RevocationEntry]()
    monkeypatch.setattr(clustered.cluster.gossip, "revoke", lambda some: told_.extend(some) or [])
    for number in range(29):
        (done,) = machine.revoke([branch(branch_id(number), "article")]).results
    assert done.coarse is not None
    last = [(each.kind, each.key) for each in told_[-2:]]
    assert last == [(EntityKind.CREW, ARTICLE), (EntityKind.BRANCH, key(28))]
    assert [each.before == limits.time_seconds_max for each in told_[-2:]] == [False, True]
    assert len(told_) == 30


def test_a_crew_is_named_by_the_key_that_was_entered(
    clustered: Clustered, written: list[Record]
) -> None:
    """And not by whose share its origin says that it takes; one that nobody knows by its key."""
    end = 2**33
    other = crew_key("another")
    entries = [
        RevocationEntry(EntityKind.CREW, ARTICLE, other, 1, end),
        RevocationEntry(EntityKind.CREW, other, ARTICLE, 1, end),
    ]
    apply(clustered, entries)
    found = [each for each in written if isinstance(each, RevocationRecord)]
    assert [(each.crew, each.id) for each in found] == [("article", "article"), ("", other.hex())]


def test_a_storm_is_counted_and_not_written_one_by_one(
    clustered: Clustered, written: list[Record]
) -> None:
    """So many a second; how many more there were follows, also if nothing else comes."""
    most = limits.foreign_records_per_second
    for first in (1000, 2000):
        apply(clustered, [dead(first + n, clustered) for n in range(most)])
    assert len(written) == most
    clustered.hands.go(1)
    periodic.tidy(clustered.machine)
    periodic.tidy(clustered.machine)
    (event,) = [each for each in written if isinstance(each, ServiceEvent)]
    assert (event.event, event.count) == ("revocations", most)
    clustered.hands.go(1)
    apply(clustered, [dead(3000, clustered)])
    assert isinstance(written[-1], RevocationRecord)


def test_a_restart_ends_no_crew_anew(clustered: Clustered, start: Start) -> None:
    """Over its share, its tokens until then are dead: not those of an hour later, at each start."""
    cluster, then = clustered.cluster, clustered.cluster.wall()
    found = [dead(number, clustered) for number in range(60)]
    apply(clustered, found)
    for at in range(0, 60, 20):
        capsule = capsules.unsigned(b"another. epoch..", at + 1, then, found[at : at + 20])
        assert cluster.gossip.log.append([capsule.raw])
    cluster._sockets.close()
    clustered.hands.go(3600)
    clustered.machine = start()
    with clustered.begun(bootstrap=False):
        table = clustered.machine.table
        assert all(table.is_revoked(key(number), 0) for number in range(28))
        assert table.is_revoked(ARTICLE, then + limits.leeway_seconds)
        assert not table.is_revoked(ARTICLE, then + limits.leeway_seconds + 1)


def test_a_fault_of_ours_admits_nothing_and_ends_no_agent(
    clustered: Clustered, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one capsule would end all agents of a trust domain, whenever they start."""

    def fault(*_: object, **__: object) -> None:
        raise OverflowError("can't convert negative value")

    monkeypatch.setattr(clustered.machine.revocations, "apply_remote", fault)
    apply(clustered, [dead(1, clustered)])
    apply(clustered, [dead(2, clustered)])
    assert clustered.cluster.synced_until_ns() == 0
    assert clustered.cluster.waiting_for().startswith("a restart, because applying a remote")
    (told,) = [each for each in log_lines if "internal error with remote revocations" in each]
    assert "OverflowError" in told
    assert "; refusing all calls: this machine needs a restart, because" in told


def test_a_full_table_admits_nothing(clustered: Clustered, log_lines: list[str]) -> None:
    """What has no place, and whose crew has none either, would not be obeyed."""
    keys = [RevocationEntry(EntityKind.KEY, key(n), key(n), 2**33, 2**33) for n in range(64)]
    apply(clustered, keys)
    assert clustered.cluster.waiting_for() == ""
    apply(clustered, [dead(100, clustered)])
    assert clustered.cluster.synced_until_ns() == 0
    assert clustered.cluster.waiting_for().startswith("room for the revocations of other machines")
    assert sum("refusing all calls" in each for each in log_lines) == 1
