"""A world of nine whose members are cut off, crash, come back and revoke, all by one seed."""

import random
from dataclasses import replace

from gossip_world import Network, World

LOSSY = Network(loss=0.2, burst_every=5.0, burst=0.02, duplicates=0.02)
SYNCS = 25.0  # two of the rounds that each member begins every ten seconds, and a rest
COUNT = 9
TURNS = 12
UP_MIN = 5


def keys(world: World, index: int) -> set[bytes]:
    """What a machine has revoked."""
    return {key for _, key in world.machines[index].table}


def all_equal(world: World) -> bool:
    """Whether all who are up have the same, in their tables and to give."""
    up = [machine for machine in world.machines if machine.up]
    tables = {frozenset(keys(world, machine.index)) for machine in up}
    return len(tables) == 1 and len({machine.node.archive.digest for machine in up}) == 1


def upheaval(seed: int) -> tuple[World, set[bytes]]:
    """The world after it, healed and synced, and the keys of all that was revoked in it."""
    world = World(COUNT, seed, replace(LOSSY))
    rng = random.Random(seed)
    for machine in world.machines:
        machine.skew = rng.randrange(-15, 16)
    revoked: set[bytes] = set()
    for _ in range(TURNS):
        revoked |= _revoke(world, rng)
        _cut(world, rng)
        _crash(world, rng)
        world.run(rng.choice([0.05, 1.0, 8.0]))
    world.network.cut = lambda _a, _b: False
    for machine in world.machines:
        if not machine.up:
            world.restart(machine.index)
    world.run(SYNCS)
    return world, revoked


def _up(world: World) -> list[int]:
    return [machine.index for machine in world.machines if machine.up]


def _revoke(world: World, rng: random.Random) -> set[bytes]:
    revoked = set()
    for _ in range(rng.randrange(4)):
        entries = [world.entry() for _ in range(rng.choice([1, 1, 30]))]
        world.revoke(rng.choice(_up(world)), entries)
        revoked |= {entry.key for entry in entries}
    return revoked


def _cut(world: World, rng: random.Random) -> None:
    """Some do not hear some others, who may hear them; or two sides do not hear each other."""
    pairs = rng.choice([0, 0, 20, 60])
    deaf = {(rng.randrange(COUNT), rng.randrange(COUNT)) for _ in range(pairs)}
    split = rng.choice([0, 0, 3, 5])
    world.network.cut = lambda a, b: (a, b) in deaf or (a < split) != (b < split)


def _crash(world: World, rng: random.Random) -> None:
    up = _up(world)
    if rng.random() < 0.4 and len(up) > UP_MIN:
        world.crash(rng.choice(up))
    for machine in world.machines:
        if not machine.up and rng.random() < 0.5:
            world.restart(machine.index, keeps_disk=rng.random() < 0.7)
