"""What a member spends: CPU time, and bytes of datagrams, idle and for each revocation.

Three members without gateways, one a process. A revocation's cost is what was spent until nothing
of the last one is told any more, less what the same time costs idle.
Streams are not counted in bytes: with nothing to hand over there is one every ten seconds.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cluster.machines import arrange
from bench.cluster.members import Member, serving

LONE_A_SECOND = 2  # of those that a load takes: so many, one after the other
REST_SECONDS = 1.2  # the ids of what is new are told for a second
PER_SECOND = 500


@dataclass(frozen=True)
class Spent:
    """By one member in so many seconds."""

    seconds: float
    cpu: float
    datagrams: int
    bytes: int


@dataclass(frozen=True)
class Cost:
    """Of one revocation and member, or of an idle second."""

    what: str
    who: str
    cpu_ms: float
    datagrams: float
    bytes: float


def measure(folder: Path, seconds: float) -> list[Cost]:
    """Idle, alone, and `PER_SECOND` from one and from three, each for so many seconds."""
    with serving(arrange(folder)) as members:
        time.sleep(REST_SECONDS)
        idle = _spent(members, lambda: time.sleep(seconds))
        mean = _mean(idle)
        rows = [_cost("an idle second", "each", mean, mean.seconds)]
        few = max(1, round(LONE_A_SECOND * seconds))
        lone = _spent(members, lambda: _lone(members, few))
        rows += _from_one("a lone revocation", lone, mean, few)
        count = max(1, round(PER_SECOND * seconds))
        name = f"{PER_SECOND} a second"
        one = _spent(members, lambda: _storm(members, [count, 0, 0], seconds))
        rows += _from_one(f"{name}, one origin", one, mean, count)
        shares = [(count + n) // len(members) for n in range(len(members))]
        three = _spent(members, lambda: _storm(members, shares, seconds))
        rows.append(_cost(f"{name}, three origins", "each", _above(_mean(three), mean), count))
    return rows


def _lone(members: Sequence[Member], count: int) -> None:
    for _ in range(count):
        _storm(members, [1, 0, 0], 0)


def _storm(members: Sequence[Member], counts: Sequence[int], seconds: float) -> None:
    """So many of each, and a rest; ends the run if they are not on all."""
    before = members[0].state()["capsules"]
    for member, count in zip(members, counts, strict=True):
        member.say(revoke=count, seconds=seconds)
    for member in members:
        member.hear()
    time.sleep(REST_SECONDS)
    for member in members:
        member.wait(lambda state: state["capsules"] == before + sum(counts))


def _spent(members: Sequence[Member], act: Callable[[], None]) -> list[Spent]:
    begun = time.monotonic()
    before = [(member.cpu, member.state()) for member in members]
    act()
    seconds = time.monotonic() - begun
    spent = []
    for member, (cpu, state) in zip(members, before, strict=True):
        now = member.state()
        sent = now["datagrams"] - state["datagrams"], now["bytes"] - state["bytes"]
        spent.append(Spent(seconds, member.cpu - cpu, *sent))
    return spent


def _mean(spent: Sequence[Spent]) -> Spent:
    count = len(spent)
    return Spent(
        spent[0].seconds,
        sum(each.cpu for each in spent) / count,
        sum(each.datagrams for each in spent) // count,
        sum(each.bytes for each in spent) // count,
    )


def _above(spent: Spent, idle: Spent) -> Spent:
    """What was not spent for nothing."""
    share = spent.seconds / idle.seconds
    return Spent(
        spent.seconds,
        max(0.0, spent.cpu - idle.cpu * share),
        max(0, spent.datagrams - round(idle.datagrams * share)),
        max(0, spent.bytes - round(idle.bytes * share)),
    )


def _from_one(what: str, spent: Sequence[Spent], idle: Spent, count: int) -> list[Cost]:
    origin, *others = spent
    return [
        _cost(what, "its origin", _above(origin, idle), count),
        _cost(what, "another", _above(_mean(others), idle), count),
    ]


def _cost(what: str, who: str, spent: Spent, count: float) -> Cost:
    each = spent.cpu * 1e3 / count, spent.datagrams / count, spent.bytes / count
    return Cost(what, who, *each)
