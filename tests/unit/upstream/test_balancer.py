"""Which server gets a call: by hand, and against a model that looks at everything each time."""

import random
from collections import Counter
from socket import AF_INET

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from crewgate import limits
from crewgate.config import HealthCheckConfig, UpstreamOrigin
from crewgate.upstream.balancer import Host, LeastRequestBalancer, SocketAddress
from crewgate.upstream.circuit_breaker import CircuitState

ONE, TWO, THREE = (
    UpstreamOrigin("http", f"{name}.example", 80) for name in ("one", "two", "three")
)


def _at(number: int, port: int = 80) -> SocketAddress:
    return SocketAddress(AF_INET, (f"10.0.{number // 256}.{number % 256}", port))


def _members(*numbers: int, health: HealthCheckConfig | None = None) -> LeastRequestBalancer:
    members = LeastRequestBalancer(health, lambda: 1.0)
    members.update({ONE: [_at(number) for number in numbers]})
    return members


def _numbers(members: tuple[Host, ...] | list[Host]) -> list[str]:
    return [member.address.sockaddr[0] for member in members]


def _take(members: LeastRequestBalancer, now: float = 0.0) -> Host:
    member = members.take(now)
    assert member is not None
    return member


def _open(members: LeastRequestBalancer, member: Host, now: float = 0.0) -> None:
    while not members.failed(member, now):
        pass


def test_no_members_no_choice() -> None:
    """Before the first resolution nobody is chosen, and nobody knows when."""
    members = LeastRequestBalancer(None, lambda: 0.0)
    assert members.take(0.0) is None
    assert (len(members), members.seconds_left(0.0)) == (0, 0.0)


def test_idle_members_are_used_in_turn() -> None:
    """One call after the other still goes to all servers alike."""
    members = _members(1, 2, 3)
    used = Counter()
    for _ in range(30):
        member = _take(members)
        used[member] += 1
        members.give_back(member)
    assert set(used.values()) == {10}


def test_the_least_busy_member_is_chosen() -> None:
    """A server that answers slowly gets fewer calls: those under way decide."""
    members = _members(1, 2, 3)
    first, second, third = (_take(members) for _ in range(3))
    members.give_back(second)
    assert _take(members) is second
    members.give_back(third)
    members.give_back(third := _take(members))
    assert _take(members) is third
    assert [first.outstanding, second.outstanding, third.outstanding] == [1, 1, 1]


def test_calls_at_once_are_level() -> None:
    """With everything busy no server has two calls more than another."""
    members = _members(*range(7))
    for _ in range(100):
        _take(members)
    counts = [member.outstanding for member in members]
    assert sum(counts) == 100
    assert max(counts) - min(counts) <= 1


def test_a_member_that_failed_is_used_last_for_a_moment() -> None:
    """Even a busy server is preferred to one whose last call failed; after the moment it is not."""
    members = _members(1, 2)
    first, second = _take(members), _take(members)
    members.failed(first, 10.0)
    members.give_back(first)
    assert _take(members, 10.5) is second
    assert _take(members, 10.0 + limits.breaker_doubt_seconds) is first


def test_if_all_failed_the_least_busy_is_used() -> None:
    """Doubt alone stops nobody."""
    members = _members(1, 2)
    for member in members:
        members.failed(member, 0.0)
    assert {_take(members), _take(members)} == set(members)


def test_an_open_circuit_is_never_chosen() -> None:
    """Not even when there is nobody else; then it is said when to come again."""
    members = _members(1, 2)
    first, second = members
    _open(members, first)
    assert {_take(members) for _ in range(5)} == {second}
    _open(members, second, 0.25)
    assert members.take(0.25) is None
    assert members.seconds_left(0.25) == 0.25
    assert members.seconds_left(5.0) == 0.0


def test_those_to_avoid_are_not_chosen() -> None:
    """A retry goes to another server, or nowhere."""
    members = _members(1, 2)
    first, second = members
    assert members.take(0.0, avoid=(first,)) is second
    assert members.take(0.0, avoid=(first, second)) is None
    assert first.outstanding == 0


def test_probes_close_a_circuit() -> None:
    """A member is due once its backoff is over, once only, and comes back with a good probe."""
    members = _members(1, 2)
    first, _ = members
    _open(members, first)
    assert members.due(0.4) == []
    assert members.due(0.5) == [first]
    assert members.due(0.5) == []
    assert members.probed(first, 0.6, good=True)
    assert first.breaker.state is CircuitState.CLOSED


def test_health_is_asked_of_every_member() -> None:
    """With active health each server is probed from the start, and bad ones are left out."""
    members = _members(1, 2, health=HealthCheckConfig("/h", interval_seconds=5, unhealthy=1))
    first, second = members
    assert members.due(0.0) == [first, second]
    assert members.probed(first, 0.1, good=False)
    assert not members.probed(second, 0.1, good=True)
    assert {_take(members, 0.2) for _ in range(4)} == {second}


def test_an_update_adds_and_removes_and_keeps() -> None:
    """Who stays keeps its calls; who is gone is told so, and its calls end as any other."""
    members = _members(1, 2)
    first, second = (_take(members) for _ in range(2))
    changes = members.update({ONE: [_at(2), _at(3)]})
    assert (_numbers(changes.added), changes.gone) == (["10.0.0.3"], (first,))
    assert (first.gone, second.gone, second.outstanding) == (True, False, 1)
    assert _numbers(list(members)) == ["10.0.0.2", "10.0.0.3"]
    members.give_back(first)
    assert first.outstanding == 0
    assert members.update({ONE: [_at(2), _at(3)]}) == ((), (), 0)


def test_an_update_of_one_endpoint_leaves_the_others() -> None:
    """No news of a name is no change of its addresses; none at all are a change."""
    members = _members(1)
    members.update({TWO: [_at(2)]})
    assert _numbers(list(members)) == ["10.0.0.1", "10.0.0.2"]
    assert _numbers(members.update({ONE: []}).gone) == ["10.0.0.1"]
    assert [member.endpoint for member in members] == [TWO]


def test_two_names_of_one_address_are_two_members() -> None:
    """Each has its own name to verify, and its own circuit."""
    members = LeastRequestBalancer(None, lambda: 0.0)
    members.update({ONE: [_at(1)], TWO: [_at(1)]})
    assert [member.endpoint for member in members] == [ONE, TWO]


def test_more_addresses_than_the_bound_are_ignored_and_told() -> None:
    """The first ones are used; those that come into bounds later are added then."""
    most = limits.upstream_servers_max
    members = LeastRequestBalancer(None, lambda: 0.0)
    changes = members.update({ONE: map(_at, range(most - 1)), TWO: [_at(1), _at(2), _at(3)]})
    assert (len(changes.added), changes.ignored, len(members)) == (most, 2, most)
    changes = members.update({ONE: [_at(0)]})
    assert (_numbers(changes.added), len(changes.gone)) == (["10.0.0.2", "10.0.0.3"], most - 2)
    assert not any(member.gone for member in members)


def test_a_call_ends_once() -> None:
    """A count that went below zero would draw all calls to one server."""
    members = _members(1)
    member = _take(members)
    members.give_back(member)
    with pytest.raises(RuntimeError, match="no call under way"):
        members.give_back(member)


def test_a_member_tells_its_state() -> None:
    """A log shows name, address, circuit and calls."""
    members = _members(1)
    assert repr(_take(members)) == "<Host one.example at 10.0.0.1 closed 1 calls>"
    members.update({UpstreamOrigin("http", "10.0.0.1", 8453): [_at(1, 8453)]})
    assert _take(members).name == "10.0.0.1:8453"


class Model(RuleBasedStateMachine):
    """Members beside plain facts: who is there, who is busy with what, who failed when."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.now = 0.0
        self.members = LeastRequestBalancer(None, random.Random(seed).random)
        self.calls: list[Host] = []
        self.resolved: dict[UpstreamOrigin, list[SocketAddress]] = {}

    @rule(
        endpoint=st.sampled_from([ONE, TWO, THREE]),
        numbers=st.lists(st.integers(0, 5), max_size=4, unique=True),
    )
    def resolve(self, endpoint: UpstreamOrigin, numbers: list[int]) -> None:
        before = set(self.members)
        self.resolved[endpoint] = [_at(number) for number in numbers]
        changes = self.members.update({endpoint: self.resolved[endpoint]})
        assert set(changes.gone) == before - set(self.members)
        assert set(changes.added) == set(self.members) - before

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(avoided=st.integers(0, 2))
    def take(self, avoided: int) -> None:
        avoid = list(self.members)[:avoided]
        usable = [
            member
            for member in self.members
            if member.breaker.state is CircuitState.CLOSED and member not in avoid
        ]
        chosen = self.members.take(self.now, avoid)
        if not usable:
            assert chosen is None
            return
        assert chosen in usable
        chosen.outstanding -= 1
        sure = [member for member in usable if self.now >= member.breaker.doubt_until] or usable
        assert chosen in sure
        assert chosen.outstanding == min(member.outstanding for member in sure)
        chosen.outstanding += 1
        self.calls.append(chosen)

    @precondition(lambda self: self.calls)
    @rule(number=st.integers(0, 1000), how=st.sampled_from(["answered", "failed", "neither"]))
    def end(self, number: int, how: str) -> None:
        member = self.calls.pop(number % len(self.calls))
        if how == "answered":
            self.members.answered(member)
        elif how == "failed":
            passed = member.breaker.admits
            assert self.members.failed(member, self.now) == (passed != member.breaker.admits)
        self.members.give_back(member)

    @rule(good=st.booleans())
    def probe(self, good: bool) -> None:
        for member in self.members.due(self.now):
            assert member.breaker.state is CircuitState.HALF_OPEN
            assert self.members.probed(member, self.now, good=good) == good

    @invariant()
    def the_facts_agree(self) -> None:
        there = [
            (endpoint, address)
            for endpoint, addresses in self.resolved.items()
            for address in addresses
        ]
        assert [(member.endpoint, member.address) for member in self.members] == there
        under_way = Counter(self.calls)
        for member in {*self.members, *self.calls}:
            assert member.outstanding == under_way[member]
            assert member.gone == (member not in set(self.members))


TestModel = Model.TestCase
