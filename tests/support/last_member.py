"""How long the last member of a world takes to hear of a revocation."""

from collections import Counter

from gossip_world import Network, World

from crewgate.core.gossip.capsules import RevocationEntry

COMPARING_MAX = 100  # members; the questions of more take hours, and a fiftieth of their time
SETTLE = 1.0  # seconds before the first, and twice that after the last one


def latencies(
    network: Network,
    count: int,
    seed: int,
    number: int,
    pause: float,
    *,
    entries: int = 1,
    **node: int,
) -> list[float]:
    """Seconds for each of `number` times `entries` revocations, sorted; all must hear of all."""
    world = World(count, seed, network, compares=count <= COMPARING_MAX, **node)
    began: dict[bytes, float] = {}
    last: dict[bytes, float] = {}
    heard = Counter[bytes]()

    def apply(_: int, entry: RevocationEntry) -> None:
        heard[entry.key] += 1
        last[entry.key] = world.now

    def revoke() -> None:
        made = [world.entry() for _ in range(entries)]
        began.update((entry.key, world.now) for entry in made)
        world.revoke(world.random.randrange(count), made)

    world.on_apply = apply
    for turn in range(number):
        world.at(SETTLE + turn * pause, revoke)
    world.run(SETTLE + number * pause + 2 * SETTLE)
    assert set(heard.values()) == {count}, f"{world!r}: some have not heard"
    return sorted(last[key] - began[key] for key in began)
