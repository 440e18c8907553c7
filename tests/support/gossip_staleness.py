"""The promise of freshness, watched in a seeded world: whoever admits obeys what a majority has.

`Watch` notes when each revocation is acknowledged by a majority, and looks every few milliseconds
whether a machine that still admits lacks one of `STALENESS` ago. `unrest` cuts, crashes, wipes and
revokes by one seed. One disk at a time is lost: a majority that forgets cannot be made up for.
"""

import random
from dataclasses import dataclass, field

from gossip_world import Machine, Network, World

from crewgate.core.gossip.acknowledgements import AckState
from crewgate.core.gossip.capsules import RevocationEntry

STALENESS = 5.0
LOOK = 0.01  # seconds


@dataclass
class Watch:
    """The revocations of one world, and those that were acknowledged, in that order."""

    world: World
    acknowledged: list[tuple[float, bytes]] = field(default_factory=list)
    revoked: dict[bytes, tuple[int, float, AckState]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look from now on."""
        self.world.on_receipt = lambda _receipt: self._note()
        self._look()

    def revoke(self, index: int) -> AckState:
        """One revocation of one machine."""
        entry: RevocationEntry = self.world.entry()
        receipt = self.world.revoke(index, [entry])
        self.revoked[entry.key] = index, self.world.now, receipt
        self._note()
        return receipt

    def run(self, seconds: float, step: float = LOOK) -> None:
        """Let time pass, and look."""
        end = self.world.now + seconds
        while self.world.now < end:
            self.world.run(min(step, end - self.world.now))
            self._look()

    def fresh(self) -> list[int]:
        """Who admits."""
        return [each.index for each in self.world.machines if self.is_fresh(each)]

    def is_fresh(self, machine: Machine) -> bool:
        """Whether one does."""
        return machine.up and machine.node.freshness.until(STALENESS) > self.world.now

    def _note(self) -> None:
        """A machine that has crashed since has told nobody of it."""
        known = {key for _, key in self.acknowledged}
        for key, (_, _, receipt) in self.revoked.items():
            if key not in known and receipt.has_quorum:
                self.acknowledged.append((self.world.now, key))

    def _look(self) -> None:
        due = {key for at, key in self.acknowledged if self.world.now > at + STALENESS}
        for machine in filter(self.is_fresh, self.world.machines):
            lacking = due - {key for _, key in machine.table}
            assert not lacking, f"{self.world!r}: machine {machine.index} admits and lacks one"


def lossy(count: int, seed: int, loss: float = 0.2) -> World:
    """Members that lose so much of what they send."""
    return World(count, seed, Network(loss=loss, duplicates=0.02))


def unrest(count: int, seed: int, turns: int = 25) -> Watch:
    """After so many turns of it; the cuts are still there."""
    watch, rng = Watch(lossy(count, seed)), random.Random(seed)
    watch.world.disk_seconds = rng.choice([0.002, 0.05, 0.5])
    for _ in range(turns):
        _revoke(watch, rng)
        _cut(watch.world, rng)
        _crash(watch.world, rng)
        watch.run(rng.choice([0.003, 0.05, 0.3, 1.0, 3.0, 6.0]))
    return watch


def heal(watch: Watch) -> None:
    """All are there, and reach one another."""
    watch.world.network.cut = lambda _a, _b: False
    for machine in watch.world.machines:
        if not machine.up:
            watch.world.restart(machine.index)


def _revoke(watch: Watch, rng: random.Random) -> None:
    up = [machine.index for machine in watch.world.machines if machine.up]
    for _ in range(rng.randrange(3)):
        watch.revoke(rng.choice(up))


def _cut(world: World, rng: random.Random) -> None:
    """Sides that do not hear each other, a side that is heard and does not hear, some pairs."""
    count = len(world.machines)
    side = set(rng.sample(range(count), rng.randrange(1, count)))
    pairs = {(rng.randrange(count), rng.randrange(count)) for _ in range(rng.randrange(count * 2))}
    cuts = (
        lambda _a, _b: False,
        lambda a, b: (a in side) != (b in side),
        lambda a, b: a in side and b not in side,
        lambda a, b: (a, b) in pairs,
    )
    world.network.cut = rng.choice(cuts)


def _crash(world: World, rng: random.Random) -> None:
    up = [machine.index for machine in world.machines if machine.up]
    if rng.random() < 0.4 and len(up) > 1:
        world.crash(rng.choice(up))
    for machine in world.machines:
        if not machine.up and rng.random() < 0.6:
            others_count = all(each.counts for each in world.machines if each is not machine)
            world.restart(machine.index, keeps_disk=rng.random() < 0.5 or not others_count)
