"""Calls that wait for a connection: the reuse keys take turns, and each turn is one call.

Among the calls that may share a connection (`reuse = "shared"`: all of them) crews take turns, and
the branches of a crew. So a branch, or a crew, with many calls does not keep another one waiting
for all of them.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence

from crewgate.upstream.interfaces import CallObserver, ReuseKey

WaitingCall = tuple[CallObserver, float]  # and until when it waits, in monotonic seconds


class _ReuseQueue:
    """The calls of one reuse key. At each level one key's next call follows another key's."""

    __slots__ = ("_by_key", "_count")

    def __init__(self) -> None:
        self._by_key: OrderedDict[ReuseKey, _ReuseQueue | deque[WaitingCall]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[WaitingCall]:
        for below in self._by_key.values():
            yield from below

    def put(self, keys: Sequence[ReuseKey], entry: WaitingCall, *, first: bool = False) -> None:
        """Add who came last, or is to be the first of all."""
        key, *rest = keys
        below = self._by_key.get(key)
        if below is None:
            below = self._by_key[key] = _ReuseQueue() if rest else deque()
        if isinstance(below, _ReuseQueue):
            below.put(rest, entry, first=first)
        elif first:
            below.appendleft(entry)
        else:
            below.append(entry)
        if first:
            self._by_key.move_to_end(key, last=False)
        self._count += 1

    def pop(self) -> WaitingCall:
        """Take out the next one; StopIteration if there is none."""
        key, below = next(iter(self._by_key.items()))
        entry = below.pop() if isinstance(below, _ReuseQueue) else below.popleft()
        if below:
            self._by_key.move_to_end(key)
        else:
            del self._by_key[key]
        self._count -= 1
        return entry


class WaitQueue:
    """Entries by reuse key. `needed` connections, of `calls_each` at once, would carry them all."""

    __slots__ = ("_by_key", "_calls_each", "_count", "needed")

    def __init__(self, calls_each: int = 1) -> None:
        self.needed = 0
        self._calls_each = calls_each
        self._by_key: OrderedDict[ReuseKey, _ReuseQueue] = OrderedDict()
        self._count = 0

    def __repr__(self) -> str:
        return f"<WaitQueue of {self._count}, {len(self._by_key)} in turn>"

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[CallObserver]:
        return (caller for line in self._by_key.values() for caller, _ in line)

    @property
    def turns(self) -> Iterable[ReuseKey]:
        """Whose turn it is, and who comes after."""
        return self._by_key

    def append(self, entry: WaitingCall) -> None:
        """Add who came last."""
        self._put(entry)

    def pop(self, key: ReuseKey) -> WaitingCall:
        """Take out the next one of a key, whose others wait for the next turn; KeyError if none."""
        line = self._by_key[key]
        entry = line.pop()
        self._count -= 1
        self.needed -= not len(line) % self._calls_each
        if line:
            self._by_key.move_to_end(key)
        else:
            del self._by_key[key]
        return entry

    def popleft(self) -> WaitingCall:
        """Take out the first of all; StopIteration if the queue is empty."""
        return self.pop(next(iter(self._by_key)))

    def put_back(self, entry: WaitingCall) -> None:
        """Have who was taken out be the first of all."""
        self._put(entry, first=True)
        self._by_key.move_to_end(entry[0].reuse_key, last=False)

    def take_expired(self, now: float) -> list[CallObserver]:
        """Take out who has waited too long at `now` (monotonic), or is over."""
        gone: list[CallObserver] = []
        entries = [entry for line in self._by_key.values() for entry in line]
        self.needed = self._count = 0
        self._by_key.clear()
        for entry in entries:
            caller, until = entry
            if caller.over or now > until:
                gone.append(caller)
            else:
                self.append(entry)
        return gone

    def _put(self, entry: WaitingCall, *, first: bool = False) -> None:
        caller, _ = entry
        line = self._by_key.setdefault(caller.reuse_key, _ReuseQueue())
        self._count += 1
        self.needed += not len(line) % self._calls_each
        line.put(caller.wait_turn, entry, first=first)
