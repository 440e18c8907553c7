"""Each crew's share of the branch records, so that one crew cannot fill a machine's table.

Decides only whether a crew may have so many records more; over its share that crew alone is
refused new branches. Knows neither table nor ledger.
"""

import enum
import heapq
from dataclasses import dataclass, field

from crewgate.core.policy.policy import CrewPolicy

MINUTE_NS = 60 * 10**9


class BranchBound(enum.Enum):
    """Which bound a crew has reached: of its records, its live branches, the new ones a minute."""

    RECORDS = "records"
    LIVE = "live"
    MINUTE = "minute"


@dataclass(slots=True)
class CrewBranchCount:
    """One crew: records it has, those opened this minute, and which of its branches are live.

    `until` holds the wall clock second at which each live branch's newest grant ends; `ends` is a
    heap of the same, with entries that an extension has overtaken.
    """

    records: int = 0
    minute: int = 0
    opened: int = 0
    until: dict[bytes, int] = field(default_factory=dict)
    ends: list[tuple[int, bytes]] = field(default_factory=list)

    def live(self, now: float) -> int:
        """Branches with a grant that has not ended."""
        while self.ends and self.ends[0][0] <= now:
            end, key = heapq.heappop(self.ends)
            if self.until.get(key) == end:
                del self.until[key]
        return len(self.until)


class RecordQuota:
    """The shares of all crews in a table of `capacity` branch records."""

    def __init__(self, capacity: int) -> None:
        self.records_max = capacity // 2
        self._shares: dict[bytes, CrewBranchCount] = {}

    def admits(
        self, crew_key: bytes, crew: CrewPolicy, count: int, now: float, boot_ns: int
    ) -> bool:
        """True if the crew may open `count` branches now."""
        return self.bound(crew_key, crew, count, now, boot_ns) is None

    def bound(
        self, crew_key: bytes, crew: CrewPolicy, count: int, now: float, boot_ns: int
    ) -> BranchBound | None:
        """The bound that keeps the crew from `count` branches more; None if it may open them.

        A minute is one of the boot clock, so that a clock that is set does not begin a new one.
        """
        share = self._shares.setdefault(crew_key, CrewBranchCount())
        opened = share.opened if share.minute == boot_ns // MINUTE_NS else 0
        if share.records + count > self.records_max:
            return BranchBound.RECORDS
        if share.live(now) + count > crew.live_branches_max:
            return BranchBound.LIVE
        if opened + count > crew.new_branches_per_minute_max:
            return BranchBound.MINUTE
        return None

    def opened(self, crew_key: bytes, key: bytes, expires: int, boot_ns: int) -> None:
        """A new record of the crew, made now."""
        share = self.kept(crew_key, key, expires)
        minute = boot_ns // MINUTE_NS
        if share.minute != minute:
            share.minute, share.opened = minute, 0
        share.opened += 1

    def kept(self, crew_key: bytes, key: bytes, expires: int) -> CrewBranchCount:
        """A record of the crew that was there when the agent began."""
        share = self._shares.setdefault(crew_key, CrewBranchCount())
        share.records += 1
        self.extended(crew_key, key, expires)
        return share

    def extended(self, crew_key: bytes, key: bytes, expires: int) -> None:
        """A grant of the branch ends at `expires` (wall clock, seconds)."""
        share = self._shares[crew_key]
        if share.until.get(key) != expires:
            share.until[key] = expires
            heapq.heappush(share.ends, (expires, key))

    def ended(self, crew_key: bytes, key: bytes) -> None:
        """The branch was closed; its record is kept."""
        self._shares[crew_key].until.pop(key, None)

    def reclaimed(self, crew_key: bytes, key: bytes) -> None:
        """The branch's record is free again."""
        self.ended(crew_key, key)
        self._shares[crew_key].records -= 1
