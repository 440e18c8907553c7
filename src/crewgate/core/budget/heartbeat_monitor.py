"""Which machines are silent: whose sign of life in the ledger stands still while others look.

Time is what the one who looks has seen pass on a clock that nobody sets, while the ledger answered:
an hour in which a clock was set, or nobody could ask, makes nobody silent.
"""

from dataclasses import dataclass, field

from crewgate import limits


@dataclass(slots=True)
class HeartbeatMonitor:
    """What was seen of each holder: its boot and beat, and for how many seconds it was that."""

    _seen: dict[str, tuple[tuple[bytes, int], float]] = field(default_factory=dict)

    def forget(self, holder: str) -> None:
        """It could not be burned: its silence is told again, from the beginning."""
        self._seen.pop(holder, None)

    def poll(
        self, beats: dict[str, tuple[bytes, int]], seconds: float
    ) -> list[tuple[str, bytes, int]]:
        """`beats` as they stand `seconds` after the last look; (holder, boot, beat) to be burned.

        Each silence is told once.
        """
        silent = []
        seen, self._seen = self._seen, {}
        for holder, now in beats.items():
            before, since = seen.get(holder, (now, 0.0))
            lasts = since + seconds if holder in seen and before == now else 0.0
            if since < limits.holder_silence_seconds <= lasts:
                silent.append((holder, *now))
            self._seen[holder] = now, lasts
        return silent
