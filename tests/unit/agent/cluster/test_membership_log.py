"""A person hears of members who join, fall silent, stop and are back; of none without end."""

from cluster_agent import Clustered

from crewgate import limits
from crewgate.agent.cluster.membership_log import MembershipLog
from crewgate.core.gossip.messages import MemberState
from crewgate.gossip.member_verification import KnownMember
from crewgate.gossip.sockets import format_address, to_where


class Looks:
    """Each of them a second after the one before, with what it has said."""

    def __init__(self, clustered: Clustered, log_lines: list[str]) -> None:
        self._clustered, self._said = clustered, log_lines
        self.attendance = MembershipLog(clustered.cluster.gossip)
        self.attendance.begin()

    def __call__(self, seconds: float = 1) -> list[str]:
        self._clustered.hands.go(seconds)
        self._said.clear()
        self.attendance.log_changes(self._clustered.cluster.now())
        return list(self._said)

    def thought(self, state: MemberState, *members: KnownMember) -> list[str]:
        """So of these from now on."""
        for each in members:
            found = self._clustered.cluster.gossip.node.members.get(each.id)
            assert found is not None
            found.state = state
        return self()


def where(known: KnownMember) -> str:
    return f"{known.name} at {format_address(to_where(known.address))}"


def test_each_change_is_told_once(clustered: Clustered, log_lines: list[str]) -> None:
    """From the first that joins to the last that is back; a suspect may well be there."""
    looks = Looks(clustered, log_lines)
    assert looks() == []
    one = clustered.other("b", counts=False)
    assert looks() == []
    clustered.compare(one)
    assert looks() == [f"gateway {where(one)} has joined: 2 machines now count for a majority"]
    assert looks() == []
    assert looks.thought(MemberState.SUSPECT, one) == []
    assert looks.thought(MemberState.DEAD, one) == [f"gateway {where(one)} does not answer"]
    assert looks() == []
    assert looks.thought(MemberState.ALIVE, one) == [f"gateway {where(one)} is back"]
    assert looks.thought(MemberState.LEFT, one) == [f"gateway {where(one)} has stopped"]


def test_what_was_so_before_a_restart_is_told_to_nobody(
    clustered: Clustered, log_lines: list[str]
) -> None:
    """But that one of those does not answer now."""
    one = clustered.other("b")
    looks = Looks(clustered, log_lines)
    assert looks() == []
    assert looks.thought(MemberState.DEAD, one) == [f"gateway {where(one)} does not answer"]


def test_one_that_is_evicted_is_told_of_by_who_does_it(
    clustered: Clustered, log_lines: list[str]
) -> None:
    """From that moment, though it is asked of the others whether it goes."""
    one = clustered.other("b")
    looks = Looks(clustered, log_lines)
    gossip = clustered.cluster.gossip
    clustered.hands.go(1)
    gossip.membership.evict(gossip.node, one.id, clustered.cluster.wall())
    assert one.id in gossip.node.freshness.leaving
    assert looks() == []
    clustered.compare(one)
    assert one.id not in gossip.node.freshness.others
    assert looks() == []


def test_who_joins_says_so_of_itself(clustered: Clustered, log_lines: list[str]) -> None:
    """Of those who were there before, once it counts; and not that they have joined."""
    fresh = clustered.cluster.gossip.node.freshness
    fresh.counts = False
    looks = Looks(clustered, log_lines)
    one = clustered.other("b", counts=False)
    fresh.merge([one.id], [one.id])
    assert looks() == []
    fresh.counts = True
    joined = f"this machine has joined gateway {where(one)}, and now counts for a majority"
    assert looks() == [joined]
    assert looks() == []


def test_many_at_once_are_one_line(clustered: Clustered, log_lines: list[str]) -> None:
    """With as many names as go into it."""
    looks = Looks(clustered, log_lines)
    fresh = clustered.cluster.gossip.node.freshness
    members = [clustered.other(f"m{n:02}", counts=False) for n in range(11)]
    ids = [each.id for each in members]
    fresh.merge(ids, ids)
    names = ", ".join(where(each) for each in members[: limits.members_named_max])
    assert looks() == [
        f"gateways {names}, and 3 more have joined: 12 machines now count for a majority"
    ]
    assert looks.thought(MemberState.DEAD, *members[:2]) == [
        f"gateways {where(members[0])}, {where(members[1])} do not answer"
    ]


def test_one_that_comes_and_goes_all_day_floods_no_log(
    clustered: Clustered, log_lines: list[str]
) -> None:
    """At first each time, then once a minute at most, and in the end as it is."""
    one = clustered.other("b")
    looks = Looks(clustered, log_lines)
    told = []
    for _ in range(300):
        told += looks.thought(MemberState.DEAD, one)
        told += looks.thought(MemberState.ALIVE, one)
    assert limits.member_log_lines_burst <= len(told) <= limits.member_log_lines_burst + 10
    told += looks.thought(MemberState.DEAD, one)
    told += looks(60)
    assert told[-1] == f"gateway {where(one)} does not answer"
