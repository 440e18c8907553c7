"""Calls that wait for a connection: the reuse keys take turns, and each turn is one call.

Where all share their connections (`reuse = "shared"`), calls go in the order in which they came.
Else a branch, or a crew, with many calls does not keep another one waiting for all of them.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator

from crewgate.upstream.call import Caller, ReuseKey

Entry = tuple[Caller, float]  # and until when it waits, in monotonic seconds


class Queue:
    """Entries by reuse key. `needed` connections, of `calls_each` at once, would carry them all."""

    __slots__ = ("_by_key", "_calls_each", "_count", "needed")

    def __init__(self, calls_each: int = 1) -> None:
        self.needed = 0
        self._calls_each = calls_each
        self._by_key: OrderedDict[ReuseKey, deque[Entry]] = OrderedDict()
        self._count = 0

    def __repr__(self) -> str:
        return f"<Queue of {self._count}, {len(self._by_key)} in turn>"

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Caller]:
        return (caller for queue in self._by_key.values() for caller, _ in queue)

    @property
    def turns(self) -> Iterable[ReuseKey]:
        """Whose turn it is, and who comes after."""
        return self._by_key

    def append(self, entry: Entry) -> None:
        """Add who came last."""
        self._queue(entry[0].reuse_key).append(entry)

    def pop(self, key: ReuseKey) -> Entry:
        """Take out the next one of a key, whose others wait for the next turn; KeyError if none."""
        queue = self._by_key[key]
        entry = queue.popleft()
        self._count -= 1
        self.needed -= not len(queue) % self._calls_each
        if queue:
            self._by_key.move_to_end(key)
        else:
            del self._by_key[key]
        return entry

    def popleft(self) -> Entry:
        """Take out the first of all; StopIteration if the queue is empty."""
        return self.pop(next(iter(self._by_key)))

    def put_back(self, entry: Entry) -> None:
        """Have who was taken out be the first of all."""
        key = entry[0].reuse_key
        self._queue(key).appendleft(entry)
        self._by_key.move_to_end(key, last=False)

    def take_expired(self, now: float) -> list[Caller]:
        """Take out who has waited too long at `now` (monotonic), or is over."""
        gone: list[Caller] = []
        entries = [entry for queue in self._by_key.values() for entry in queue]
        self.needed = self._count = 0
        self._by_key.clear()
        for entry in entries:
            caller, until = entry
            if caller.over or now > until:
                gone.append(caller)
            else:
                self.append(entry)
        return gone

    def _queue(self, key: ReuseKey) -> deque[Entry]:
        """The queue of a key, counted as one longer."""
        queue = self._by_key.get(key)
        if queue is None:
            queue = self._by_key[key] = deque()
        self._count += 1
        self.needed += not len(queue) % self._calls_each
        return queue
