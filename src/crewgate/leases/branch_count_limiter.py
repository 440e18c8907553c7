"""Bounds each crew's share of the branch records, so that one crew cannot fill a machine's table.

A crew over its share gets no new branches; other crews do. Knows neither the table nor the ledger.
"""

import enum
import heapq
from dataclasses import dataclass, field

from crewgate.core.policy.policy import CrewPolicy

MINUTE_NS = 60 * 10**9


class ReachedBranchLimit(enum.Enum):
    """The bound that a crew has reached: of its records, live branches or new ones a minute."""

    RECORDS = "records"
    LIVE = "live"
    MINUTE = "minute"


@dataclass(slots=True)
class CrewBranchCount:
    """The branches of one crew: its records, the new ones of a minute, and those that are live.

    `opened` counts the records opened in `minute`, which counts minutes of the boot clock. `until`
    holds the wall clock second when the newest grant of each live branch ends. `ends` is a heap of
    the same, which still has entries for ends that a later grant has moved.
    """

    records: int = 0
    minute: int = 0
    opened: int = 0
    until: dict[bytes, int] = field(default_factory=dict)
    ends: list[tuple[int, bytes]] = field(default_factory=list)

    def live(self, now: float) -> int:
        """Return the number of branches with a grant that has not ended."""
        while self.ends and self.ends[0][0] <= now:
            end, key = heapq.heappop(self.ends)
            if self.until.get(key) == end:
                del self.until[key]
        return len(self.until)


class BranchCountLimiter:
    """The shares of all crews in a table of `capacity` branch records: at most half for a crew."""

    def __init__(self, capacity: int) -> None:
        self.records_max = capacity // 2
        self._shares: dict[bytes, CrewBranchCount] = {}

    def bound(
        self, crew_key: bytes, crew: CrewPolicy, count: int, now: float, boot_ns: int
    ) -> ReachedBranchLimit | None:
        """Return the bound that keeps the crew from `count` more branches; None if there is none.

        Minutes are those of the boot clock (`boot_ns`), so setting a clock begins no new minute.
        """
        share = self._shares.setdefault(crew_key, CrewBranchCount())
        opened = share.opened if share.minute == boot_ns // MINUTE_NS else 0
        if share.records + count > self.records_max:
            return ReachedBranchLimit.RECORDS
        if share.live(now) + count > crew.live_branches_max:
            return ReachedBranchLimit.LIVE
        if opened + count > crew.new_branches_per_minute_max:
            return ReachedBranchLimit.MINUTE
        return None

    def opened(self, crew_key: bytes, key: bytes, expires: int, boot_ns: int) -> None:
        """Count a new record of the crew, made now."""
        share = self.kept(crew_key, key, expires)
        minute = boot_ns // MINUTE_NS
        if share.minute != minute:
            share.minute, share.opened = minute, 0
        share.opened += 1

    def kept(self, crew_key: bytes, key: bytes, expires: int) -> CrewBranchCount:
        """Count a record of the crew that was in the table when the agent started."""
        share = self._shares.setdefault(crew_key, CrewBranchCount())
        share.records += 1
        self.extended(crew_key, key, expires)
        return share

    def extended(self, crew_key: bytes, key: bytes, expires: int) -> None:
        """Note that the newest grant of the branch ends at `expires` (wall clock, seconds)."""
        share = self._shares[crew_key]
        if share.until.get(key) != expires:
            share.until[key] = expires
            heapq.heappush(share.ends, (expires, key))

    def ended(self, crew_key: bytes, key: bytes) -> None:
        """Count the branch as no longer live: it was closed, and its record stays."""
        self._shares[crew_key].until.pop(key, None)

    def reclaimed(self, crew_key: bytes, key: bytes) -> None:
        """Stop counting the branch: its record is free again."""
        self.ended(crew_key, key)
        self._shares[crew_key].records -= 1
