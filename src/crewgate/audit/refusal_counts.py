"""Refusals before a good signature, counted instead of written: a stranger cannot fill the disk.

One summary record per (listener, reason, peer network) and interval. The number of such keys is
bounded too: beyond it, peers share the network `*`, and the count stays exact.
"""

from crewgate import limits
from crewgate.core.audit.records import RefusalsRecord, when
from crewgate.core.problem_types import Reason
from crewgate.core.verdict import ConnectionRefusalReason

OTHERS = "*"
_Key = tuple[str, str, str]


class _Count:
    """How often, and when first and last (wall clock, ns)."""

    __slots__ = ("count", "first_ns", "last_ns")

    def __init__(self, now_ns: int) -> None:
        self.count = 0
        self.first_ns = now_ns
        self.last_ns = now_ns


class RefusalCounts:
    """Counters between two flushes; bounded by listeners x reasons x (keys_max + 1)."""

    def __init__(self, keys_max: int = limits.audit_refusal_keys_max) -> None:
        """Tell at most `keys_max` keys apart between two flushes."""
        self._keys_max = keys_max
        self._counts: dict[_Key, _Count] = {}

    def __len__(self) -> int:
        """Keys told apart now."""
        return len(self._counts)

    def add(
        self, listener: str, reason: Reason | ConnectionRefusalReason, peer: str, now_ns: int
    ) -> None:
        """Count one refusal; `peer` is a network (`core/audit/network_prefix.peer_network`)."""
        key = (listener, reason.value, peer)
        counted = self._counts.get(key)
        if counted is None:
            counted = self._make(key, now_ns)
        counted.count += 1
        counted.last_ns = now_ns

    def flush(self, now_ns: int) -> list[RefusalsRecord]:
        """The summaries since the last flush, in order of first sight; counting starts anew."""
        counts, self._counts = self._counts, {}
        return [
            RefusalsRecord(
                time=when(now_ns),
                listener=listener,
                reason=reason,
                peer=peer,
                count=counted.count,
                first=when(counted.first_ns),
                last=when(counted.last_ns),
            )
            for (listener, reason, peer), counted in counts.items()
        ]

    def _make(self, key: _Key, now_ns: int) -> _Count:
        if len(self._counts) >= self._keys_max:
            key = (key[0], key[1], OTHERS)
        return self._counts.setdefault(key, _Count(now_ns))
