"""Stores quarantine orders of other machines, and limits how fast ours are announced.

Orders have an orchestrator's key, not its name, so an order is applied when a grant of the
orchestrator is seen. The newest order of a person, and that of a watch, count. If there is no room,
the whole crew is quarantined instead of one orchestrator: so a release may be lost, but no
quarantine is.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from crewgate import limits
from crewgate.core.anomaly.enforcement import By, EnforcementOrder
from crewgate.core.anomaly.quarantined_by_key import OrchestratorName
from crewgate.core.gossip.capsules import LIFT, QUARANTINE, SUSPICION, RevocationEntry
from crewgate.core.ids import crew_key, orchestrator_key
from crewgate.core.rate_limit import TokenBucket

_log = logging.getLogger(__name__)
_BY: Final[dict[int, By]] = {QUARANTINE: "owner", LIFT: "", SUSPICION: "watch"}
_KINDS: Final = {by: kind for kind, by in _BY.items()}
KINDS: Final = frozenset(_BY)
# The key of an orchestrator or a crew, and whether the order is a person's.
_Slot = tuple[bytes, bool]


class RemoteOrder(NamedTuple):
    """An order, and the machine `who` gave it. `is_news`: it arrived since this agent started."""

    order: EnforcementOrder
    who: str
    is_news: bool
    crew: bytes
    expires: int

    def counts(self, wall: int) -> bool:
        """Return whether it applies now: it has not expired, and is not from the future."""
        return self.expires > wall and _is_credible(self.order, wall)


class RemoteQuarantines:
    """The newest orders on each orchestrator: one of a person, and one of a watch."""

    def __init__(self) -> None:
        self._orders: dict[_Slot, RemoteOrder] = {}
        # Quarantines of whole crews, for orchestrators without a place.
        self._crowded: dict[_Slot, RemoteOrder] = {}
        # How many places each crew has taken.
        self._taken: Counter[bytes] = Counter()
        self._crews: dict[bytes, str] = {}
        self._swept_at = 0

    def load(self, crews: Iterable[str]) -> None:
        """Set the configured crews. No grant of any other crew is admitted anyway."""
        self._crews = {crew_key(crew): crew for crew in crews}

    def add(self, entry: RevocationEntry, who: str, wall: int, *, is_news: bool = True) -> None:
        """Store an order (one of `KINDS`) of the machine `who`, whose clock may be years ahead.

        The duration of a quarantine is capped, so that a release is kept for longer than the
        quarantine. An order from the future never replaces one from the past.
        """
        by = _BY[entry.kind]
        remote = _from_gossip(entry, entry.before, who, is_news=is_news)
        slot = entry.key, by != "watch"
        last = self._orders.get(slot)
        if last is None and not self._has_room(entry.crew, wall):
            slot = entry.crew, by != "watch"
            if by and entry.crew in self._crews:
                at = min(entry.before, _latest(wall))
                self._quarantine_crew(slot, _from_gossip(entry, at, who, is_news=is_news))
        elif last is None or _rank(remote.order, wall) > _rank(last.order, wall):
            self._taken[entry.crew] += last is None
            crew = entry.crew if last is None else last.crew
            self._orders[slot] = remote._replace(crew=crew)

    def of(self, crew: str, orchestrator: str, wall: int) -> Iterator[RemoteOrder]:
        """Yield the orders that apply now to an orchestrator or to its crew, a person's first."""
        if not (self._orders or self._crowded):
            return
        own, whole = orchestrator_key(crew, orchestrator), crew_key(crew)
        for is_owner in (True, False):
            for found in (self._orders.get((own, is_owner)), self._crowded.get((whole, is_owner))):
                if found is not None and found.counts(wall):
                    yield found

    def keys(self) -> Iterator[bytes]:
        """Yield the keys of the orchestrators that have orders."""
        return (key for key, _ in self._orders)

    def done(self, crew: str, orchestrator: str, wall: int) -> None:
        """Drop the orders that `of` has yielded at that time: the caller has applied them."""
        for is_owner in (True, False) if self._orders else ():
            slot = orchestrator_key(crew, orchestrator), is_owner
            remote = self._orders.get(slot)
            if remote is not None and remote.counts(wall):
                del self._orders[slot]
                self._taken[remote.crew] -= 1

    def _has_room(self, crew: bytes, wall: int) -> bool:
        """Return whether a crew may add an order; drop orders that do not apply if needed."""
        if self._is_free(crew):
            return True
        # Once a second is enough, since a sweep visits all orders.
        if self._swept_at == wall:
            return False
        self._swept_at = wall
        self._orders = {slot: each for slot, each in self._orders.items() if each.counts(wall)}
        self._crowded = {slot: each for slot, each in self._crowded.items() if each.counts(wall)}
        self._taken = Counter(each.crew for each in self._orders.values())
        return self._is_free(crew)

    def _is_free(self, crew: bytes) -> bool:
        places = limits.remote_quarantines_max
        return len(self._orders) < places and self._taken[crew] < places // 2

    def _quarantine_crew(self, slot: _Slot, remote: RemoteOrder) -> None:
        """Quarantine a whole crew, until the latest end of its orders without a place."""
        last = self._crowded.get(slot)
        if last is None:
            _log.warning(
                "no room for another quarantine of an orchestrator of crew %s, ordered by %s: all "
                "orchestrators of the crew are quarantined until its end; lift by name those that "
                "must go on",
                self._crews[remote.crew],
                remote.who,
            )
            self._crowded[slot] = remote
            return
        until = max(remote.expires, last.expires)
        order = EnforcementOrder(max(remote.order.at, last.order.at), remote.order.by, until)
        self._crowded[slot] = last._replace(order=order, expires=until)


class QuarantineOutbox:
    """The orchestrators that the watch has quarantined and not announced yet.

    An attacker with a crew's key can cause any number of quarantines, so the announcements have a
    rate limit. This machine enforces all of them at once, and the other machines watch as well.
    """

    def __init__(self) -> None:
        self._names: dict[OrchestratorName, None] = {}
        self._bucket = TokenBucket(
            1 / limits.quarantine_announcement_seconds, limits.quarantine_announcements_burst
        )
        self._is_behind = False

    def add(self, name: OrchestratorName) -> None:
        """Queue an orchestrator for announcement."""
        self._names[name] = None

    def due(self, now: float) -> Iterator[OrchestratorName]:
        """Yield the orchestrators to announce now, oldest first."""
        while self._names and self._bucket.take(now):
            name = next(iter(self._names))
            del self._names[name]
            yield name
        if self._names and not self._is_behind:
            _log.warning(
                "the watch has quarantined %d more orchestrators; it announces one of them to the "
                "other machines every %.0f s",
                len(self._names),
                limits.quarantine_announcement_seconds,
            )
        self._is_behind = bool(self._names)


def _from_gossip(entry: RevocationEntry, at: int, who: str, *, is_news: bool) -> RemoteOrder:
    by = _BY[entry.kind]
    expires = min(entry.expires, at + limits.quarantine_seconds_max)
    return RemoteOrder(
        EnforcementOrder(at, by, expires if by else 0), who, is_news, entry.crew, expires
    )


def _latest(wall: int) -> int:
    """Return the latest credible time: an order after it is a lie, not the error of a clock."""
    return wall + limits.clock_distrust_seconds


def _is_credible(order: EnforcementOrder, wall: int) -> bool:
    return order.at <= _latest(wall)


def _rank(order: EnforcementOrder, wall: int) -> tuple[bool, tuple[int, int, int]]:
    """Return the sort key: the newer order counts, but one from the future for less than others."""
    return _is_credible(order, wall), order.order


def to_gossip(crew: str, orchestrator: str, order: EnforcementOrder) -> RevocationEntry:
    """Return an order as other machines get it; a release outlives the quarantine that it ends."""
    expires = order.until or order.at + limits.quarantine_seconds_max
    key = orchestrator_key(crew, orchestrator)
    return RevocationEntry(_KINDS[order.by], key, crew_key(crew), order.at, expires)
