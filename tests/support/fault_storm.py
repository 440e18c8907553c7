"""Kills a process before every store of every transaction on the table; prints what came of it.

Run with the fault-injection build (CREWGATE_FAULTS=1) first on the path:
`python fault_storm.py FOLDER`. For each scenario a prepared table is copied, a child performs the
operation with a SIGKILL before its n-th store, and the survivor opens and repairs the table and
checks what must hold, for n = 1, 2, … until the child lives. Prints one JSON object:
scenario → number of stores at which it was killed.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from crew_world import CREW, World
from limit_worlds import places, rate

from crewgate._datapath.ended_calls import EndedCallQueue
from crewgate._native import call_limits, permit, table_owner
from crewgate._native.gate import Gate
from crewgate._native.limit_words import give_words
from crewgate._native.metrics import CallBatch
from crewgate._native.permit import Permit
from crewgate._native.records import TableCapacities
from crewgate._native.table import Table
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.policy.call_limits import CallLimit, LimitScopes
from crewgate.core.policy.policy import Policy

GEOMETRY = TableCapacities(64, 64, 128, 4)
WALL, BOOT = 1_000_000, 10**15
NS = 10**9
LIFE = 1000
PRICE = 10  # of a call of `World`
LATER = (WALL + LIFE + 1, BOOT + (LIFE + 1) * NS)
OLD = [bytes([i]) * 16 for i in range(1, 20)]  # revocations that were acknowledged


def keep(table: OwnedTable, wall: int, boot: int) -> None:
    """The acknowledged revocations, for another LIFE from then on."""
    for key in OLD:
        table.revoke(key, ids.crew_key(CREW), 2**60, LIFE, wall, boot)


class Scene:
    """A table in a known state, and where its records are."""

    def __init__(self, folder: Path, world: World) -> None:
        self.path = str(folder / "table")
        self.world = world
        table = OwnedTable.create(self.path, GEOMETRY)
        table.set_policy_generation(1)
        table.extend_freshness(2**62, 2**62)
        self.crew = table.open_branch(
            ids.crew_key(CREW), (), bytes(16), 10**12, 0, 2**40, WALL, BOOT
        )
        grant = world.grant
        parents = [self.crew]
        for at, key in enumerate(grant.path_keys):
            digest = ids.path_digest(grant.path_keys[:at])
            parents.append(
                table.open_branch(key, tuple(parents), digest, 10**9, 0, WALL + LIFE, WALL, BOOT)
            )
        self.parents = tuple(parents)
        self.branch = table.open_branch(
            grant.branch_key,
            self.parents,
            grant.path_digest,
            grant.quota,
            grant.claims.iat,
            WALL + LIFE,
            WALL,
            BOOT,
        )
        table.begin_draw(self.branch, 1)
        table.grant(self.branch, 1000)
        keep(table, WALL, BOOT)
        number, _ = table.take_attachment()
        assert number == 0
        table.close()
        shutil.copy(self.path, f"{self.path}.clean")

    def reset(self) -> None:
        shutil.copy(f"{self.path}.clean", self.path)

    def gate(self, *, holds: bool) -> Gate:
        """A gate on the table, as a worker with attachment 0 maps it."""
        fd = os.open(self.path, os.O_RDWR)
        gate = Gate(Table.attach(fd), 0, holds=holds)
        os.close(fd)
        gate.load(self.world.policy)
        gate.clock = (self.world.now * NS, BOOT)
        return gate

    def permit(self, *, holds: bool = True) -> Permit:
        verdict = self.gate(holds=holds).decide(self.world.token, 0)
        assert isinstance(verdict, Permit), verdict
        return verdict


def run(
    scene: Scene, arm: Callable[[int], bool], prepare: Callable, act: Callable, check: Callable
) -> int:
    """Kill at every store in turn; how many there were."""
    stores = 0
    while True:
        stores += 1
        scene.reset()
        child = os.fork()
        if child == 0:
            try:
                state = prepare(scene)
                assert arm(stores), "not the fault-injection build"
                act(scene, state)
            except BaseException as error:  # noqa: BLE001 - the child must not return
                os.write(2, f"{error!r}\n".encode())
                os._exit(3)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        done = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert done or killed, f"the child ended with {status:#x} at store {stores}"
        table = OwnedTable.open(scene.path)
        try:
            common(table)
            check(scene, table, done)
        finally:
            table.close()
        if done:
            return stores - 1


def common(table: OwnedTable) -> None:
    """Holds after any kill: nothing acknowledged is forgotten, no amount is out of balance."""
    for key in OLD:
        assert table.is_revoked(key, 5), "a revocation was forgotten"
    live = table.scan(0, GEOMETRY.branches)
    for record in live:
        # Killed between its two stores, what is charged at once is settled and not yet taken.
        there = record.available + record.given_back
        assert there + record.settled - PRICE * (there == record.granted) <= record.granted, record
        assert table.find(record.key) == record.number


def owned(scene: Scene) -> OwnedTable:
    return OwnedTable.open(scene.path)


def reused(scene: Scene) -> OwnedTable:
    """The next record was another branch's, whose words are still there."""
    table = owned(scene)
    table.open_branch(b"o" * 16, scene.parents, b"p" * 16, 777, 9, WALL, WALL - 1, BOOT)
    assert [gone.key for gone in table.reclaim(WALL + 1, BOOT + NS, 64)] == [b"o" * 16]
    return table


def pending(scene: Scene) -> OwnedTable:
    table = owned(scene)
    table.begin_draw(scene.branch, 5)
    return table


def granted(scene: Scene, table: OwnedTable, done: bool) -> None:
    """Exactly once or not at all."""
    record = table.branch(scene.branch)
    assert (record.granted, record.available) in ((1000, 1000), (1500, 1500))
    applied = record.granted == 1500
    assert record.pending == (0 if applied else 5)
    assert applied or not done


def drawn(scene: Scene, table: OwnedTable, done: bool) -> None:
    record = table.branch(scene.branch)
    assert record.pending in (0, 5)
    assert record.sequence in (1, 2)
    assert record.available == record.granted == 1000
    assert not done or record.pending == 5


def taken_back(scene: Scene, table: OwnedTable, done: bool) -> None:
    record = table.branch(scene.branch)
    assert record.available + record.given_back == 1000
    assert record.given_back in (0, 300)
    assert not done or record.given_back == 300


def lent(scene: Scene, table: OwnedTable, done: bool) -> None:
    record = table.branch(scene.branch)
    assert record.available == record.granted
    assert record.granted in (1000, 1300)
    assert not done or record.granted == 1300


def closed(scene: Scene, table: OwnedTable, done: bool) -> None:
    record = table.branch(scene.branch)
    assert record.available + record.given_back == 1000
    assert not done or (record.closed and record.given_back == 1000)


def opened(scene: Scene, table: OwnedTable, done: bool) -> None:
    found = table.find(b"n" * 16)
    assert not done or found >= 0
    if found >= 0:
        record = table.branch(found)
        assert record.parents == scene.parents
        assert (record.quota, record.quota_iat, record.expires) == (5, 1, WALL + LIFE)
        assert record.available == record.granted == 0


def revoked(scene: Scene, table: OwnedTable, done: bool) -> None:
    assert not done or table.is_revoked(b"r" * 16, 5)


def rerevoked(scene: Scene, table: OwnedTable, done: bool) -> None:
    assert not done or table.is_revoked(OLD[0], 2**61 - 1)


def forgotten(scene: Scene, table: OwnedTable, done: bool) -> None:
    """What the branch consumed stays charged on every ancestor, once, at every moment."""
    leases = [each for each in table.scan(0, GEOMETRY.branches) if each.parents]
    consumed = sum(each.granted - each.given_back - each.available for each in leases)
    assert table.branch(scene.crew).retired + consumed == 40
    keep(table, *LATER)
    forget(scene, table)
    assert table.branch(scene.crew).retired == 40
    assert table.counts()["branches"] == 1


def spend_and_expire(scene: Scene) -> OwnedTable:
    """The branch has settled 40; the others' lives are extended so that only it expires."""
    gate = scene.gate(holds=False)
    for _ in range(4):
        assert isinstance(gate.decide(scene.world.token, 0), Permit)
    table = owned(scene)
    keep(table, *LATER)
    return table


def forget(scene: Scene, table: OwnedTable) -> None:
    for _ in range(4):
        table.reclaim(*LATER, GEOMETRY.branches)


def burned(scene: Scene, table: OwnedTable, done: bool) -> None:
    """A dead worker's reservation is burned or was never taken; nothing else is lost."""
    table.drop_attachment(0)
    record = table.branch(scene.branch)
    assert record.reserved == 0
    missing = 1000 - record.available - record.settled
    assert missing in (0, 4, 6, 10, 16), record
    assert record.burned == missing
    assert table.counts()["reservations"] == 0


def grown(scene: Scene, table: OwnedTable, done: bool) -> None:
    """What was taken is reserved, and so is what was about to be; the rest is where it was."""
    record = table.branch(scene.branch)
    assert (record.available, record.reserved) in ((990, 10), (990, 16), (984, 16)), record
    assert record.burned == 0
    burned(scene, table, done)


class LineFile:
    """The audit of a worker whose calls have ended; its poller, too, which is never idle."""

    def __init__(self, scene: Scene) -> None:
        self.path = Path(f"{scene.path}.lines")
        self.path.write_bytes(b"")

    def write_lines(self, lines: Sequence[bytes], calls: CallBatch) -> None:
        self.path.write_bytes(b"".join(lines))

    def when_idle(self, work: Callable[[], None]) -> None:
        """Leave the work to the test."""


def ended(scene: Scene) -> EndedCallQueue:
    """Two calls have ended: the first cost its price, the second less."""
    gate, audit = scene.gate(holds=True), LineFile(scene)
    queue = EndedCallQueue(audit, audit)
    for line, cost in ((b"a\n", PRICE), (b"b\n", 4)):
        permit = gate.decide(scene.world.token, 0)
        assert isinstance(permit, Permit), permit
        queue.add(line, permit, cost)
    return queue


def recorded(scene: Scene, table: OwnedTable, done: bool) -> None:
    """Both calls have a record before the first is settled; what is not settled is burned."""
    assert Path(f"{scene.path}.lines").read_bytes() == b"a\nb\n"
    table.drop_attachment(0)
    record = table.branch(scene.branch)
    assert record.reserved == 0
    assert record.settled in (0, PRICE, PRICE + 4)
    assert record.available + record.settled + record.burned == 1000
    assert not done or (record.settled, record.burned) == (PRICE + 4, 0)


def settled_at_once(scene: Scene, table: OwnedTable, done: bool) -> None:
    """Nothing is lost; what was settled and not taken yet is still there for others."""
    record = table.branch(scene.branch)
    assert (record.settled, record.available) in ((0, 1000), (PRICE, 1000), (PRICE, 990)), record
    assert record.burned == 0
    assert not done or (record.settled, record.available) == (10, 990)


def dropped(scene: Scene, table: OwnedTable, done: bool) -> None:
    table.drop_attachment(0)
    record = table.branch(scene.branch)
    assert (record.available, record.burned, record.reserved) == (990, 10, 0)


def limits_of(scene: Scene) -> Policy:
    """A call an hour after three, and two at once."""
    found = rate(seconds=3600, per="branch"), places(2), rate("other", burst=9, per="crew")
    return msgspec.structs.replace(scene.world.policy, limits=found)


def limited(scene: Scene) -> Gate:
    """A worker that has one call under way."""
    policy = limits_of(scene)
    table = owned(scene)
    give_words(table, *LimitScopes.of(policy).needed(), BOOT)
    table.close()
    gate = scene.gate(holds=True)
    gate.load(policy)
    scene.held = gate.decide(scene.world.token, 0)
    assert isinstance(scene.held, Permit), scene.held
    return gate


def counted(scene: Scene, table: OwnedTable, done: bool) -> None:
    """Both places are free once the agent drops a dead worker; a rate lacks one call at most."""
    often, at_once, _ = limits_of(scene).limits
    assert admitted(scene, table, at_once) == 2
    assert admitted(scene, table, often) in ((1,) if done else (1, 2))


def admitted(scene: Scene, table: OwnedTable, limit: CallLimit) -> int:
    """How many of four calls at once this limit admits."""
    table.drop_attachment(0)
    gate = scene.gate(holds=True)
    gate.load(msgspec.structs.replace(scene.world.policy, limits=(limit,)))
    verdicts = [gate.decide(scene.world.token, 0) for _ in range(4)]
    permits = [each for each in verdicts if isinstance(each, Permit)]
    for each in permits:
        each.settle()
    return len(permits)


SHORT = [bytes([i]) * 16 for i in range(100, 140)]  # entries that expire between the others


def fill(scene: Scene) -> OwnedTable:
    """Forty entries that expire together leave tombstones enough for the shard to be compacted."""
    table = owned(scene)
    for key in SHORT:
        table.revoke(key, ids.crew_key(CREW), 9, 1, WALL, BOOT)
    return table


def compact(scene: Scene, table: OwnedTable) -> None:
    table.reclaim(WALL + 5, BOOT + 5 * NS, 64)


def churned(scene: Scene, table: OwnedTable, done: bool) -> None:
    table.reclaim(WALL + 5, BOOT + 5 * NS, 64)
    assert table.counts()["revocations"] == len(OLD)


def main(folder: Path) -> dict[str, int]:
    world = World.make()
    scene = Scene(folder, world)
    agent, worker = table_owner.arm_fault, permit.arm_fault

    def decide(scene: Scene, gate: Gate) -> None:
        assert isinstance(gate.decide(world.token, 0), Permit)
        os._exit(0)  # a reservation is left behind, whatever happened before

    scenarios = {
        "begin_draw": (agent, owned, lambda s, t: t.begin_draw(s.branch, 5), drawn),
        "grant": (
            agent,
            pending,
            lambda s, t: t.grant(s.branch, 500),
            granted,
        ),
        "take_back": (agent, owned, lambda s, t: t.take_back(s.branch, 300), taken_back),
        "overdraw": (agent, owned, lambda s, t: t.overdraw(s.branch, 300), lent),
        "overdraw while a draw is pending": (
            agent,
            pending,
            lambda s, t: t.overdraw(s.branch, 300),
            lent,
        ),
        "close": (agent, owned, lambda s, t: t.close_branch(s.branch), closed),
        "open": (
            agent,
            reused,
            lambda s, t: t.open_branch(
                b"n" * 16, s.parents, b"p" * 16, 5, 1, WALL + LIFE, WALL, BOOT
            ),
            opened,
        ),
        "revoke": (
            agent,
            owned,
            lambda s, t: t.revoke(b"r" * 16, ids.crew_key(CREW), 2**60, LIFE, WALL, BOOT),
            revoked,
        ),
        "revoke again": (
            agent,
            owned,
            lambda s, t: t.revoke(OLD[0], ids.crew_key(CREW), 2**61, LIFE, WALL, BOOT),
            rerevoked,
        ),
        "forget": (agent, spend_and_expire, forget, forgotten),
        "compact": (agent, fill, compact, churned),
        "drop": (
            agent,
            lambda s: (s.permit(), owned(s))[1],
            lambda s, t: t.drop_attachment(0),
            dropped,
        ),
        "reserve": (worker, lambda s: s.gate(holds=True), decide, burned),
        "reserve with limits": (worker, limited, decide, counted),
        "count": (call_limits.arm_fault, limited, decide, counted),
        "settle": (worker, lambda s: s.permit(), lambda s, p: p.settle(4), burned),
        "grow": (worker, lambda s: s.permit(), lambda s, p: p.grow(6), grown),
        "release": (worker, lambda s: s.permit(), lambda s, p: p.release(), burned),
        "settle ended calls": (worker, ended, lambda s, q: q.flush(), recorded),
        "settle at once": (worker, lambda s: s.gate(holds=False), decide, settled_at_once),
    }
    return {name: run(scene, *scenario) for name, scenario in scenarios.items()}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
