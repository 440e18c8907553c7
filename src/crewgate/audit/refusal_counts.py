"""Counts the refusals before a good signature, so that unknown clients cannot fill the disk.

There is one record for each (listener, reason, peer network) and interval. The number of these keys
is bounded: further peers share the network `*`, and the total stays exact.
"""

from crewgate import limits
from crewgate.core.audit.records import RefusalsRecord, when
from crewgate.core.reasons import Reason
from crewgate.core.verdict import ConnectionRefusalReason

OTHERS = "*"
_Key = tuple[str, str, str]


class _Count:
    """The number of refusals, and the wall times of the first and the last (ns)."""

    __slots__ = ("count", "first_ns", "last_ns")

    def __init__(self, now_ns: int) -> None:
        self.count = 0
        self.first_ns = now_ns
        self.last_ns = now_ns


class RefusalCounts:
    """The counts since the last flush; at most listeners × reasons × (keys_max + 1) of them."""

    def __init__(self, keys_max: int = limits.audit_refusal_keys_max) -> None:
        """Keep at most `keys_max` keys between two flushes."""
        self._keys_max = keys_max
        self._counts: dict[_Key, _Count] = {}

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
        """Return the records since the last flush, oldest key first, and count from 0 again."""
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
