"""Remembers the newest revocations of other machines, with the machine that ordered each.

The table has their keys only. A capsule has no names and no reasons, so this is what one machine
can say about a revocation whose origin does not answer.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from crewgate import limits
from crewgate.core.gossip.capsules import RevocationEntry
from crewgate.core.revocation_kinds import KINDS


class RemoteRevocation(NamedTuple):
    """A revocation that came from `origin`, a member, at the time `at` (0: before this start)."""

    entry: RevocationEntry
    origin: bytes
    at: int


class RemoteRevocations:
    """At most `limits.remote_revocations_max` of them, by key; the oldest leave first."""

    def __init__(self) -> None:
        # To drop the first of a plain dict takes longer the more were dropped before.
        self._by_key: OrderedDict[bytes, RemoteRevocation] = OrderedDict()

    def __iter__(self) -> Iterator[RemoteRevocation]:
        return iter(self._by_key.values())

    def add(
        self, entries: Sequence[RevocationEntry], origins: Sequence[bytes], at: int = 0
    ) -> None:
        """Remember revocations that are in force, each with its origin, and forget the oldest."""
        for entry, origin in zip(entries, origins, strict=True):
            rules = KINDS.get(entry.kind)
            if rules is None:
                continue
            known = self._by_key.get(entry.key)
            if known is not None:
                self._by_key.move_to_end(entry.key)
                if known.entry.expires >= entry.expires:
                    continue
            ordered = at if rules.has_own_end else entry.expires - limits.revocation_seconds
            self._by_key[entry.key] = RemoteRevocation(entry, origin, ordered)
            if len(self._by_key) > limits.remote_revocations_max:
                self._by_key.popitem(last=False)

    def tidy(self, wall: int) -> None:
        """Forget those that have expired; `wall` is whole seconds since 1970."""
        for key in [key for key, each in self._by_key.items() if each.entry.expires <= wall]:
            del self._by_key[key]
