"""What branches spend for each minute, from what they had spent at each reading."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from crewgate import limits
from crewgate.ipc.cluster_tree import MachineShare
from crewgate.ipc.tree_changes import BranchName

Shares = Sequence[MachineShare]


class _Spent(NamedTuple):
    """What a branch had spent at a moment, since the first reading."""

    at: float
    spent: int


class SpentRates:
    """Rates over the last `limits.top_rate_seconds`, or since the first reading.

    It remembers only what has changed within this time, so a branch that spends nothing costs
    nothing. Times are seconds of a clock without jumps.
    """

    def __init__(self) -> None:
        self._rates: dict[BranchName, int] = {}
        self._first_at: float | None = None
        self._spent: dict[BranchName, int] = {}
        self._shares: dict[BranchName, Shares] = {}
        self._moving: dict[BranchName, deque[_Spent]] = {}
        # Each point of a branch, the oldest first: when it leaves the window, the rate changes.
        self._leaving: deque[tuple[float, BranchName]] = deque()

    def take(
        self, at: float, shares: Mapping[BranchName, Shares], gone: list[BranchName]
    ) -> dict[BranchName, int]:
        """Take what machines have spent of branches that may have changed; return other rates.

        What a machine had spent before it answered for the first time, or again, is no spending of
        now. Where its amount gets less, it began anew.
        """
        if self._first_at is None:
            self._first_at = at
        for name in gone:
            self._spent.pop(name, None)
            self._shares.pop(name, None)
            self._moving.pop(name, None)
            self._rates.pop(name, None)
        touched: set[BranchName] = set()
        for name, now in shares.items():
            added = _added_since(now, self._shares.get(name))
            self._shares[name] = now
            if not added:
                continue
            before = self._spent.get(name, 0)
            self._spent[name] = before + added
            touched.add(name)
            points = self._moving.setdefault(name, deque())
            if not points:
                points.append(_Spent(self._first_at, before))
            points.append(_Spent(at, before + added))
            self._leaving.append((at, name))
        return self._changed(at, self._first_at, touched)

    def rate(self, name: BranchName) -> int:
        """Return the micro-credits that a branch spends for each minute."""
        return self._rates.get(name, 0)

    def _changed(
        self, at: float, first_at: float, touched: set[BranchName]
    ) -> dict[BranchName, int]:
        begin = at - limits.top_rate_seconds
        seconds = at - max(begin, first_at)
        while self._leaving and self._leaving[0][0] <= begin:
            touched.add(self._leaving.popleft()[1])
        # Until the window is whole, each second makes it longer.
        names = touched | self._moving.keys() if begin < first_at + 1 else touched
        found: dict[BranchName, int] = {}
        for name in names:
            points = self._moving.get(name)
            added = _added(points, begin) if points else 0
            if points and len(points) == 1:
                del self._moving[name]
            rate = round(added * 60 / seconds) if seconds > 0 else 0
            if rate == self._rates.get(name, 0):
                continue
            found[name] = rate
            if rate:
                self._rates[name] = rate
            else:
                del self._rates[name]
        return found


def _added_since(now: Shares, before: Shares | None) -> int:
    """Return what machines have spent since they answered last."""
    if before is None:
        return 0
    spent = {share.machine: share.spent for share in before}
    return sum([max(0, each.spent - spent.get(each.machine, each.spent)) for each in now])


def _added(points: deque[_Spent], begin: float) -> int:
    """Return what was spent since `begin`, and drop the points that nobody needs any more.

    The first point is the last one before the window: what had been spent when it began.
    """
    while len(points) > 1 and points[1].at <= begin:
        points.popleft()
    return points[-1].spent - points[0].spent
