"""Makes group keys, receives them from other members over streams, and chooses the one to use.

A member makes a new key when the newest one is old. Each member keeps the newest few keys, and
decrypts with all of them. It encrypts with the newest key that all members had time to receive.
This time begins when the key arrives here, since a member can lie about when a key was made.

When a member is evicted, another one makes a key that `voids` the older keys: members use it at
once, and the older keys end. A member that lacks it receives a datagram with an unknown key, and
syncs to get it. Times are whole seconds of the wall clock.
"""

import secrets
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from crewgate import limits
from crewgate.gossip.datagram_crypto import KEY_BYTES, KeySet

_SETTLE_SECONDS = limits.group_key_settle_seconds


class GroupKey(msgspec.Struct, frozen=True, array_like=True):
    """One group key; `created` is by the clock of the member that made it."""

    number: int
    key: bytes
    created: int
    voids: bool = False

    def __repr__(self) -> str:
        return f"<GroupKey {self.number} of {self.created}>"


def _age(key: GroupKey) -> tuple[int, int]:
    return key.created, key.number


class Keyring:
    """The group keys of one member. It puts them into `keys` for encryption and decryption."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys
        self._ring: list[GroupKey] = []  # the oldest first
        # When each key arrived, by its number. For the first keys of this member: when made.
        self._arrived_at: dict[int, int] = {}
        # Numbers that two members gave to two keys.
        self._ambiguous: deque[int] = deque(maxlen=limits.group_keys_spoilt_max)

    def __iter__(self) -> Iterator[GroupKey]:
        return iter(self._ring)

    def merge(self, others: Iterable[GroupKey], wall: int, *, may_void: bool = True) -> bool:
        """Take the keys of another member; return whether that changed anything.

        ValueError if a key is not valid. `may_void` says whether the member has the right to
        revoke. If not, its keys void nothing: otherwise it could end the keys of the others.
        """
        before = list(self._ring)
        trusts = self._is_expired(wall)
        for key in others:
            if len(key.key) != KEY_BYTES or not 0 < key.number < 2**24:
                raise ValueError(
                    f"a group key has {KEY_BYTES} bytes, and a number of 1 to 2**24 - 1"
                )
            if key.created <= wall + limits.skew_max + _SETTLE_SECONDS:
                voids = key.voids and may_void
                self._add(msgspec.structs.replace(key, voids=voids), wall, trusts=trusts)
        self.choose(wall)
        return self._ring != before

    def make(self, wall: int, *, voids: bool = False) -> None:
        """Make a key."""
        taken = {*self._arrived_at, *self._ambiguous}
        number = next(
            n for n in iter(lambda: secrets.randbelow(2**24 - 1) + 1, 0) if n not in taken
        )
        latest = max((key.created for key in self._ring), default=0)
        # Otherwise it would not be the newest key, and would void nothing.
        created = max(wall, latest + 1)
        self.merge([GroupKey(number, secrets.token_bytes(KEY_BYTES), created, voids)], created)
        self.choose(wall)

    def is_due(self, wall: int, rank: int) -> bool:
        """Return whether the member with this rank (from 0, by ids) must make the next key now."""
        return bool(self._ring) and self.due_at(rank) <= wall

    def due_at(self, rank: int) -> int:
        """Return when this member makes the next key if no other does; there must be a key."""
        turn = rank * limits.group_key_turn_seconds
        return self._ring[-1].created + limits.group_key_seconds + turn

    def choose(self, wall: int) -> None:
        """Encrypt with the newest settled key, and end the keys that another has voided."""
        void = max((key.created for key in self._ring if key.voids), default=0)
        if void + limits.group_key_void_seconds <= wall:
            self._ring = [key for key in self._ring if key.created >= void]
        coming = [key for key in self._ring if not self._is_used(key, wall)]
        coming = coming[-limits.group_keys_coming_max :]
        used = [key for key in self._ring if self._is_used(key, wall)]
        # The key in use stays until another one replaces it, since the others encrypt with it.
        places = limits.group_keys_max - len(coming)
        used = sorted(used, key=lambda key: key.number == self._keys.number)[-places:]
        self._ring = sorted(used + coming, key=_age)
        self._arrived_at = {key.number: self._arrived_at[key.number] for key in self._ring}
        if self._ring:
            settled = [key for key in self._ring if self.is_settled(key, wall)]
            current = settled[-1] if settled else self._ring[0]
            self._keys.use({key.number: key.key for key in self._ring}, current.number)

    def _add(self, key: GroupKey, wall: int, *, trusts: bool) -> None:
        """Add a key; `trusts` says whether to believe when it was made.

        If two keys have one number, and neither is in use, no key may have this number any more.
        """
        known = next((each for each in self._ring if each.number == key.number), None)
        if known is None:
            if key.number in self._ambiguous:
                return
            self._arrived_at[key.number] = key.created if trusts else max(key.created, wall)
        elif known.key != key.key:
            if not self._is_used(known, wall):
                self._ring.remove(known)
                self._ambiguous.append(key.number)
            return
        elif known.voids or not key.voids:
            return
        else:
            self._ring.remove(known)
        self._ring = sorted([*self._ring, key], key=_age)

    def _is_used(self, key: GroupKey, wall: int) -> bool:
        return key.number == self._keys.number or self.is_settled(key, wall)

    def is_settled(self, key: GroupKey, wall: int) -> bool:
        """Return whether members may encrypt with a key: all had time to get it, or it voids."""
        return key.voids or self.settles_at(key) <= wall

    def settles_at(self, key: GroupKey) -> int:
        """Return when all members will have had time to receive a key of this ring."""
        return self._arrived_at[key.number] + _SETTLE_SECONDS

    def _is_expired(self, wall: int) -> bool:
        """Return whether all keys here are so old that no other member is likely to have one."""
        latest = max((key.created for key in self._ring), default=0)
        return latest + limits.group_keys_max * limits.group_key_seconds <= wall
