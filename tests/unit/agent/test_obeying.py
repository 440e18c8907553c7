"""What other machines have revoked, in force here: whatever clocks say, and however much it is."""

import pytest
from clustered import Clustered
from lessees import key
from machines import S, Start

from crewgate import limits
from crewgate.core.gossip import capsules
from crewgate.core.gossip.capsules import Entry
from crewgate.core.ids import Kind, certificate_key, crew_key

DAY = limits.revocation_seconds
ARTICLE = crew_key("article")


def dead(number: int, clustered: Clustered, life: int = DAY) -> Entry:
    """The end of a branch, for so many seconds from now."""
    expires = clustered.cluster.wall() + life
    return Entry(Kind.BRANCH, key(number), ARTICLE, limits.time_seconds_max, expires)


def test_a_clock_that_was_just_set_ends_no_agent(clustered: Clustered) -> None:
    """Two days ahead, and not believed yet: what lives for an hour more is entered as it is."""
    clustered.hands.wall += 2 * DAY * S
    clustered.cluster.apply([dead(1, clustered, 3600)])
    assert clustered.machine.table.is_revoked(key(1), 0)


@pytest.mark.parametrize(
    ("kind", "of", "most"),
    [
        (Kind.CREW, ARTICLE, DAY),
        (Kind.CERTIFICATE, certificate_key("article", 10), limits.gateway_life_seconds_max),
    ],
)
def test_nothing_is_dead_for_longer_than_its_kind_may_be(
    clustered: Clustered, kind: Kind, of: bytes, most: int
) -> None:
    """An origin whose clock is a century ahead ends a crew for a day, not for good."""
    latest = limits.time_seconds_max
    clustered.cluster.apply([Entry(kind, of, ARTICLE, latest, latest)])
    table, hands = clustered.machine.table, clustered.hands
    for seconds, is_dead in ((most, True), (limits.clock_distrust_seconds + 1, False)):
        hands.go(seconds)
        for _ in range(3):
            table.reclaim(hands.wall // S, hands.boot, limits.reclaim_records_max)
        assert table.is_revoked(of, 0) is is_dead


def closed(clustered: Clustered) -> set[bytes]:
    """What the ledger will not open again."""
    rows = clustered.machine.clerk.ledger.session.rows("SELECT key FROM closed")
    return {each for (each,) in rows}


def test_the_ledger_hears_again_what_it_may_have_missed(
    clustered: Clustered, start: Start
) -> None:
    """The agent is killed with the capsule on its disk, and what the ledger is to be told not."""
    entry = dead(1, clustered)
    capsule = capsules.unsigned(b"another. epoch..", 1, clustered.cluster.wall(), [entry])
    assert clustered.cluster.gossip.log.append(capsule.raw, capsule.expires)
    clustered.cluster._sockets.close()
    clustered.machine = start()
    assert closed(clustered) == set()
    with clustered.begun(bootstrap=False):
        assert clustered.machine.table.is_revoked(key(1), 0)
        assert closed(clustered) == {key(1)}


def test_no_crew_is_closed_for_ever_as_a_branch(clustered: Clustered) -> None:
    """By a member that was taken over: it can end a crew for a day, and its budget for none."""
    clustered.cluster.apply([dead(1, clustered)._replace(key=ARTICLE), dead(2, clustered)])
    assert closed(clustered) == {key(2)}
