"""Numbers the capsules that one member accepts in one run, from 1, in the order of acceptance.

A member that has everything up to a number asks for what follows this number. A comparison needs no
more, whatever messages are still on their way. `HandledUnstoredIds` holds the capsules that were
judged and not stored, so that no member requests them again. The module knows only the ids of
capsules.
"""

from collections import deque

from crewgate import limits


class AcceptLog:
    """The ids of the last `limits.accepted_max` accepted capsules; `head` counts all of them."""

    def __init__(self) -> None:
        self.head = 0
        self._ids: deque[bytes] = deque(maxlen=limits.accepted_max)

    def add(self, id_: bytes) -> None:
        """Give the next number to a capsule."""
        self.head += 1
        self._ids.append(id_)

    def forget(self) -> None:
        """Forget all ids, so that a member that lacks one of them must sync over a stream.

        This is for two capsules with one id: ids alone cannot tell a member which of them it lacks.
        """
        self._ids.clear()

    def after(self, number: int, max_ids: int) -> tuple[bytes, ...] | None:
        """Return the ids from `number` + 1 on, at most `max_ids`.

        None means that this log has forgotten some of them, or has not reached `number`.
        """
        behind = self.head - number
        if not 0 <= behind <= len(self._ids):
            return None
        first = len(self._ids) - behind
        return tuple(self._ids[first + n] for n in range(min(max_ids, behind)))


class HandledUnstoredIds:
    """The ids of the last `limits.settled_max` capsules that were judged and not stored."""

    def __init__(self) -> None:
        self._ids: dict[bytes, None] = {}

    def __contains__(self, id_: bytes) -> bool:
        return id_ in self._ids

    def add(self, id_: bytes) -> None:
        """Remember an id; if the set is full, forget the oldest one."""
        if id_ not in self._ids and len(self._ids) >= limits.settled_max:
            del self._ids[next(iter(self._ids))]
        self._ids[id_] = None
