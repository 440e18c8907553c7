"""Finds unresponsive machines: holders whose heartbeat counter in the ledger stands still.

The observing machine measures the time on its monotonic clock, and only while the ledger answers.
So no holder becomes unresponsive because somebody set a clock, or because nobody could ask.
"""

from dataclasses import dataclass, field

from crewgate import limits


@dataclass(slots=True)
class HeartbeatMonitor:
    """The boot and heartbeat of each holder as last seen, and for how many seconds unchanged."""

    _seen: dict[str, tuple[tuple[bytes, int], float]] = field(default_factory=dict)

    def forget(self, holder: str) -> None:
        """Measure the holder from the beginning again: the ledger could not burn its leases."""
        self._seen.pop(holder, None)

    def poll(
        self, heartbeats: dict[str, tuple[bytes, int]], seconds: float
    ) -> list[tuple[str, bytes, int]]:
        """Return the (holder, boot, heartbeat) of each holder whose leases the ledger should burn.

        `heartbeats` are those of all holders now, `seconds` after the last call. The monitor
        reports each unresponsive holder once.
        """
        unresponsive = []
        seen, self._seen = self._seen, {}
        for holder, now in heartbeats.items():
            before, since = seen.get(holder, (now, 0.0))
            lasts = since + seconds if holder in seen and before == now else 0.0
            if since < limits.holder_silence_seconds <= lasts:
                unresponsive.append((holder, *now))
            self._seen[holder] = now, lasts
        return unresponsive
