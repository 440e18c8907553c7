"""Revocations and capsules as an origin makes them, for tests of the gossip."""

from gossip_world import CLUSTER, LIFE, WALL, member_id, sign

from crewgate.core.gossip.capsules import Capsule, RevocationEntry, seal, unsigned


def line(index: int = 0, epoch: int = 1) -> bytes:
    """A member in one of its lives."""
    return member_id(index) + epoch.to_bytes(8)


def entry(number: int = 0, *, life: int = LIFE, kind: int = 1) -> RevocationEntry:
    """A revocation like no other number's."""
    return RevocationEntry(kind, number.to_bytes(16), bytes(16), 2**33, WALL + life)


def capsule(
    number: int = 1, *, index: int = 0, epoch: int = 1, life: int = LIFE, key: int = 0
) -> Capsule:
    """Signed, with one revocation of `key`, or else of `number`."""
    made = unsigned(
        line(index, epoch), number, WALL, [entry(key or number + 1000 * index, life=life)]
    )
    return seal(made, sign(index, made.signed(CLUSTER)))
