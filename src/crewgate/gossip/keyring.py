"""The group's keys: made by whoever finds the last one old, and handed out over streams alone.

Every member keeps the newest few and opens with all of them. It seals with the newest that all had
time to hear of, since it was heard of here: whoever hands keys out may lie about when they were
made. A key that `voids` is made when a member is evicted: it is used at once, and those before it
end: whoever lacks it meets a key that it does not know, and asks. Times are whole seconds of the
wall clock.
"""

import secrets
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from crewgate import limits
from crewgate.gossip.datagram_crypto import KEY_BYTES, KeySet

_SETTLE = limits.group_key_settle_seconds


class GroupKey(msgspec.Struct, frozen=True, array_like=True):
    """One key; `created` by the clock of who made it."""

    number: int
    key: bytes
    created: int
    voids: bool = False

    def __repr__(self) -> str:
        return f"<GroupKey {self.number} of {self.created}>"


def _age(key: GroupKey) -> tuple[int, int]:
    return key.created, key.number


class Keyring:
    """The keys of one member, put into `keys` for those who seal and open."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys
        self._ring: list[GroupKey] = []  # the oldest first
        self._heard: dict[int, int] = {}  # when, by number; of one's first keys, when made
        self._spoilt: deque[int] = deque(maxlen=limits.group_keys_spoilt_max)

    def __repr__(self) -> str:
        return f"<Keyring {self._ring}>"

    def __iter__(self) -> Iterator[GroupKey]:
        return iter(self._ring)

    def merge(self, others: Iterable[GroupKey], wall: int, *, may_void: bool = True) -> bool:
        """What another has; whether there was anything new. ValueError for what is no key.

        Of one who may not revoke no key voids: else it would end those that the others have.
        """
        before = list(self._ring)
        trusts = self._is_over(wall)
        for key in others:
            if len(key.key) != KEY_BYTES or not 0 < key.number < 2**24:
                raise ValueError(f"a group key has {KEY_BYTES} bytes, and a number below 2**24")
            if key.created <= wall + limits.skew_max + _SETTLE:
                voids = key.voids and may_void
                self._take(msgspec.structs.replace(key, voids=voids), wall, trusts=trusts)
        self.choose(wall)
        return self._ring != before

    def make(self, wall: int, *, voids: bool = False) -> None:
        """Another key."""
        taken = {*self._heard, *self._spoilt}
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
        coming = [key for key in self._ring if not self._stays(key, wall)]
        coming = coming[-limits.group_keys_coming_max :]
        used = [key for key in self._ring if self._stays(key, wall)]
        # The one in use is what the others seal with; it goes once another has taken its place.
        room = limits.group_keys_max - len(coming)
        used = sorted(used, key=lambda key: key.number == self._keys.number)[-room:]
        self._ring = sorted(used + coming, key=_age)
        self._heard = {key.number: self._heard[key.number] for key in self._ring}
        if self._ring:
            settled = [key for key in self._ring if self.is_settled(key, wall)]
            current = settled[-1] if settled else self._ring[0]
            self._keys.use({key.number: key.key for key in self._ring}, current.number)

    def _take(self, key: GroupKey, wall: int, *, trusts: bool) -> None:
        """One more. A number that two keys have, neither of them in use, is none's from now on."""
        mine = next((each for each in self._ring if each.number == key.number), None)
        if mine is None:
            if key.number in self._spoilt:
                return
            self._heard[key.number] = key.created if trusts else max(key.created, wall)
        elif mine.key != key.key:
            if not self._stays(mine, wall):
                self._ring.remove(mine)
                self._spoilt.append(key.number)
            return
        elif mine.voids or not key.voids:
            return
        else:
            self._ring.remove(mine)
        self._ring = sorted([*self._ring, key], key=_age)

    def _stays(self, key: GroupKey, wall: int) -> bool:
        """It is in use, or was."""
        return key.number == self._keys.number or self.is_settled(key, wall)

    def is_settled(self, key: GroupKey, wall: int) -> bool:
        """All had time to hear of it, or must not wait for those who have not."""
        return key.voids or self.settles_at(key) <= wall

    def settles_at(self, key: GroupKey) -> int:
        """When all will have had time; a key of the ring."""
        return self._heard[key.number] + _SETTLE

    def _is_over(self, wall: int) -> bool:
        """Whether nobody can be expected to open with any of ours: others know better than we."""
        latest = max((key.created for key in self._ring), default=0)
        return latest + limits.group_keys_max * limits.group_key_seconds <= wall
