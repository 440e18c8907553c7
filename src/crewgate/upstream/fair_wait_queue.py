"""Queues calls that wait for a connection, so that reuse keys, crews and branches take turns.

Each turn is one call. The reuse keys take turns. Among the calls with the same key (`reuse =
"shared"`: all calls) the crews take turns, and within a crew its branches. So a branch or a crew
with many calls does not make another one wait for all of them.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence

from crewgate._datapath.host_connections import CallQueue
from crewgate.upstream.interfaces import CallObserver, ReuseKey

WaitingCall = tuple[CallObserver, float]  # the call and its deadline, in monotonic seconds


class _ReuseQueue:
    """The calls of one reuse key, as a tree by `wait_turn`; at each level the keys take turns."""

    __slots__ = ("_by_key", "_count")

    def __init__(self) -> None:
        self._by_key: OrderedDict[ReuseKey, _ReuseQueue | deque[WaitingCall]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[WaitingCall]:
        for child in self._by_key.values():
            yield from child

    def put(self, keys: Sequence[ReuseKey], entry: WaitingCall, *, first: bool = False) -> None:
        """Add a call at the end, or if `first` before all others."""
        key, *rest = keys
        child = self._by_key.get(key)
        if child is None:
            child = self._by_key[key] = _ReuseQueue() if rest else deque()
        if isinstance(child, _ReuseQueue):
            child.put(rest, entry, first=first)
        elif first:
            child.appendleft(entry)
        else:
            child.append(entry)
        if first:
            self._by_key.move_to_end(key, last=False)
        self._count += 1

    def pop(self) -> WaitingCall:
        """Take out the next call; raise StopIteration if there is none."""
        key, child = next(iter(self._by_key.items()))
        entry = child.pop() if isinstance(child, _ReuseQueue) else child.popleft()
        if child:
            self._by_key.move_to_end(key)
        else:
            del self._by_key[key]
        self._count -= 1
        return entry


class FairWaitQueue(CallQueue):
    """The waiting calls for one host, by reuse key.

    `needed` connections would carry them all, with `calls_each` calls on each at once.
    """

    def __init__(self, calls_each: int = 1) -> None:
        self.needed = 0
        self._calls_each = calls_each
        self._by_key: OrderedDict[ReuseKey, _ReuseQueue] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[CallObserver]:
        return (caller for queue in self._by_key.values() for caller, _ in queue)

    @property
    def turns(self) -> Iterable[ReuseKey]:
        """The reuse keys in the order of their turns."""
        return self._by_key

    def append(self, entry: WaitingCall) -> None:
        """Add a call at the end of its key."""
        self._put(entry)

    def pop(self, key: ReuseKey) -> WaitingCall:
        """Take out the next call of `key`, and move the key to the end; raise KeyError if none."""
        queue = self._by_key[key]
        entry = queue.pop()
        self._count -= 1
        self.needed -= not len(queue) % self._calls_each
        if queue:
            self._by_key.move_to_end(key)
        else:
            del self._by_key[key]
        return entry

    def popleft(self) -> WaitingCall:
        """Take out the first call; raise StopIteration if the queue is empty."""
        return self.pop(next(iter(self._by_key)))

    def put_back(self, entry: WaitingCall) -> None:
        """Put a call that was taken out back before all others."""
        self._put(entry, first=True)
        self._by_key.move_to_end(entry[0].reuse_key, last=False)

    def take_expired(self, now: float) -> list[CallObserver]:
        """Take out the calls that are over, or past their deadline at `now` (monotonic)."""
        expired: list[CallObserver] = []
        entries = [entry for queue in self._by_key.values() for entry in queue]
        self.needed = self._count = 0
        self._by_key.clear()
        for entry in entries:
            caller, deadline = entry
            if caller.over or now > deadline:
                expired.append(caller)
            else:
                self.append(entry)
        return expired

    def _put(self, entry: WaitingCall, *, first: bool = False) -> None:
        caller, _ = entry
        queue = self._by_key.setdefault(caller.reuse_key, _ReuseQueue())
        self._count += 1
        self.needed += not len(queue) % self._calls_each
        queue.put(caller.wait_turn, entry, first=first)
