"""What one member has accepted in this life, numbered from 1 in the order in which it did.

Whoever has been told everything up to a number asks for what came after it: that is all that a
comparison needs, whatever is on its way. Beside it, what was judged and need not be asked for
again. Knows ids, and not what they are of.
"""

from collections import deque

from crewgate import limits


class AcceptLog:
    """The ids of the last `limits.accepted_max` capsules; `head` is how many there were."""

    def __init__(self) -> None:
        self.head = 0
        self._ids: deque[bytes] = deque(maxlen=limits.accepted_max)

    def __repr__(self) -> str:
        return f"<AcceptLog {self.head}>"

    def add(self, id_: bytes) -> None:
        """Another one."""
        self.head += 1
        self._ids.append(id_)

    def forget(self) -> None:
        """Have all who have not been told everything sync: ids alone do not say what came."""
        self._ids.clear()

    def after(self, number: int, most: int) -> tuple[bytes, ...] | None:
        """At most so many, from the one after `number`; None if that is forgotten, or to come."""
        behind = self.head - number
        if not 0 <= behind <= len(self._ids):
            return None
        first = len(self._ids) - behind
        return tuple(self._ids[first + n] for n in range(min(most, behind)))


class SeenIds:
    """The last `limits.settled_max` ids of capsules that were judged, and are not kept here."""

    def __init__(self) -> None:
        self._ids: dict[bytes, None] = {}

    def __repr__(self) -> str:
        return f"<SeenIds {len(self._ids)}>"

    def __contains__(self, id_: bytes) -> bool:
        return id_ in self._ids

    def add(self, id_: bytes) -> None:
        """Another one, or one of them again."""
        if id_ not in self._ids and len(self._ids) >= limits.settled_max:
            del self._ids[next(iter(self._ids))]
        self._ids[id_] = None
