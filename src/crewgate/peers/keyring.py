"""The group's keys: made by whoever finds the last one old, and handed out over streams alone.

Every member keeps the newest few and opens with all of them. It seals with the newest that all had
time to hear of. A key that `voids` is made when a member is sent away: it is used at once, and
those before it end: whoever lacks it meets a key that it does not know, and asks. Times are whole
seconds of the wall clock.
"""

import secrets
from collections.abc import Iterable, Iterator

import msgspec

from crewgate import limits
from crewgate.peers.sealing import KEY_BYTES, Keys


class GroupKey(msgspec.Struct, frozen=True, array_like=True):
    """One key; `created` by the clock of who made it."""

    number: int
    key: bytes
    created: int
    voids: bool = False

    def __repr__(self) -> str:
        return f"<GroupKey {self.number} of {self.created}>"

    def is_settled(self, wall: int) -> bool:
        """All had time to hear of it, or must not wait for those who have not."""
        return self.voids or self.created + limits.group_key_settle_seconds <= wall


def _age(key: GroupKey) -> tuple[int, int]:
    return key.created, key.number


class Ring:
    """The keys of one member, put into `keys` for those who seal and open."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._ring: list[GroupKey] = []  # the oldest first

    def __repr__(self) -> str:
        return f"<Ring {self._ring}>"

    def __iter__(self) -> Iterator[GroupKey]:
        return iter(self._ring)

    def merge(self, others: Iterable[GroupKey], wall: int) -> bool:
        """What another has; whether there was anything new. ValueError for what is no key."""
        known = {key.number: key for key in self._ring}
        for key in others:
            if len(key.key) != KEY_BYTES or not 0 < key.number < 2**24:
                raise ValueError(f"a group key has {KEY_BYTES} bytes, and a number below 2**24")
            if key.created <= wall + limits.skew_max + limits.group_key_settle_seconds:
                known.setdefault(key.number, key)
        before = [key.number for key in self._ring]
        self._ring = sorted(known.values(), key=_age)[-limits.group_keys_max :]
        self.choose(wall)
        return [key.number for key in self._ring] != before

    def make(self, wall: int, *, voids: bool = False) -> None:
        """Another key."""
        taken = {key.number for key in self._ring}
        number = next(
            n for n in iter(lambda: secrets.randbelow(2**24 - 1) + 1, 0) if n not in taken
        )
        latest = max((key.created for key in self._ring), default=0)
        created = max(wall, latest + 1)  # or it would not be the newest, and void nothing
        self.merge([GroupKey(number, secrets.token_bytes(KEY_BYTES), created, voids)], created)
        self.choose(wall)

    def is_due(self, wall: int, rank: int) -> bool:
        """Whether it is for the member that is `rank`th of all to make the next one."""
        return bool(self._ring) and self.due_at(rank) <= wall

    def due_at(self, rank: int) -> int:
        """When it is, if nobody does before; there is a key."""
        turn = rank * limits.group_key_turn_seconds
        return self._ring[-1].created + limits.group_key_seconds + turn

    def choose(self, wall: int) -> None:
        """Seal with the newest that is settled, and end what one that voids has ended."""
        void = max((key.created for key in self._ring if key.voids), default=0)
        if void + limits.group_key_void_seconds <= wall:
            self._ring = [key for key in self._ring if key.created >= void]
        if self._ring:
            settled = [key for key in self._ring if key.is_settled(wall)]
            current = settled[-1] if settled else self._ring[0]
            self._keys.use({key.number: key.key for key in self._ring}, current.number)
