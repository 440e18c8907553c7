"""Quarantines that other machines tell of, by the keys of orchestrators whose names they keep.

Decides what the last words on each are; whoever sees a grant of one asks. Where there is no room,
the whole crew is held in the place of one: a word that lets somebody go may be lost so, and none
that holds.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from crewgate import limits
from crewgate.core.anomaly.enforcement import By, QuarantineOrder
from crewgate.core.anomaly.quarantined_keys import OrchestratorName
from crewgate.core.gossip.capsules import LIFT, QUARANTINE, SUSPICION, RevocationEntry
from crewgate.core.ids import crew_key, orchestrator_key
from crewgate.core.rate_limit import TokenBucket

_log = logging.getLogger(__name__)
_BY: Final[dict[int, By]] = {QUARANTINE: "owner", LIFT: "", SUSPICION: "watch"}
_KINDS: Final = {by: kind for kind, by in _BY.items()}
KINDS: Final = frozenset(_BY)
_Slot = tuple[bytes, bool]  # an orchestrator's or a crew's key, and whether persons' words


class RemoteOrder(NamedTuple):
    """A word, and who said it. What is no news was heard before this agent began."""

    order: QuarantineOrder
    who: str
    is_news: bool
    crew: bytes
    expires: int

    def counts(self, wall: int) -> bool:
        """It is to be done: neither over, nor of a time to come."""
        return self.expires > wall and _has_come(self.order, wall)


class RemoteQuarantines:
    """The last words on each orchestrator: a person's, and a watch's."""

    def __init__(self) -> None:
        self._orders: dict[_Slot, RemoteOrder] = {}
        self._crowded: dict[_Slot, RemoteOrder] = {}  # crews, in the place of who had no room
        self._taken: Counter[bytes] = Counter()  # of the room, by crew
        self._crews: dict[bytes, str] = {}
        self._tidied = 0

    def __repr__(self) -> str:
        return f"<RemoteQuarantines heard={len(self._orders)} crowded={len(self._crowded)}>"

    def load(self, crews: Iterable[str]) -> None:
        """These are configured: of others no grants are admitted, held or not."""
        self._crews = {crew_key(crew): crew for crew in crews}

    def add(self, entry: RevocationEntry, who: str, wall: int, *, is_news: bool = True) -> None:
        """What another machine says, one of `KINDS`. An origin's clock may be years ahead.

        No quarantine is for longer than any may be, so that what lifts one is remembered for longer
        than it; and what was said in a time to come takes no place of what was said before now.
        """
        by = _BY[entry.kind]
        heard = _from_gossip(entry, entry.before, who, is_news=is_news)
        slot = entry.key, by != "watch"
        last = self._orders.get(slot)
        if last is None and not self._has_room(entry.crew, wall):
            slot = entry.crew, by != "watch"
            if by and entry.crew in self._crews:
                at = min(entry.before, _latest(wall))
                self._hold_crew(slot, _from_gossip(entry, at, who, is_news=is_news))
        elif last is None or _rank(heard.order, wall) > _rank(last.order, wall):
            self._taken[entry.crew] += last is None
            crew = entry.crew if last is None else last.crew
            self._orders[slot] = heard._replace(crew=crew)

    def of(self, crew: str, orchestrator: str, wall: int) -> Iterator[RemoteOrder]:
        """The last words that count now, a person's first, on one and on its whole crew."""
        if not (self._orders or self._crowded):
            return
        own, all_ = orchestrator_key(crew, orchestrator), crew_key(crew)
        for is_owner in (True, False):
            for found in (self._orders.get((own, is_owner)), self._crowded.get((all_, is_owner))):
                if found is not None and found.counts(wall):
                    yield found

    def keys(self) -> Iterator[bytes]:
        """Of the orchestrators that something was said of."""
        return (key for key, _ in self._orders)

    def done(self, crew: str, orchestrator: str, wall: int) -> None:
        """What `of` has said of it at that time was done, and is not said again."""
        for is_owner in (True, False) if self._orders else ():
            slot = orchestrator_key(crew, orchestrator), is_owner
            heard = self._orders.get(slot)
            if heard is not None and heard.counts(wall):
                del self._orders[slot]
                self._taken[heard.crew] -= 1

    def _has_room(self, crew: bytes, wall: int) -> bool:
        """Half of the room at most is one crew's; what does not count now makes room."""
        if self._is_free(crew):
            return True
        if self._tidied == wall:  # once a second is enough: it looks at all of them
            return False
        self._tidied = wall
        self._orders = {slot: each for slot, each in self._orders.items() if each.counts(wall)}
        self._crowded = {slot: each for slot, each in self._crowded.items() if each.counts(wall)}
        self._taken = Counter(each.crew for each in self._orders.values())
        return self._is_free(crew)

    def _is_free(self, crew: bytes) -> bool:
        most = limits.quarantines_heard_max
        return len(self._orders) < most and self._taken[crew] < most // 2

    def _hold_crew(self, slot: _Slot, heard: RemoteOrder) -> None:
        last = self._crowded.get(slot)
        if last is None:
            _log.warning(
                "no room for the name of another orchestrator of crew %s that %s quarantines: new "
                "grants of the whole crew are held until its end; lift by name who is to go on",
                self._crews[heard.crew],
                heard.who,
            )
            self._crowded[slot] = heard
            return
        until = max(heard.expires, last.expires)
        word = QuarantineOrder(max(heard.order.at, last.order.at), heard.order.by, until)
        self._crowded[slot] = last._replace(order=word, expires=until)


class QuarantineOutbox:
    """Whom the watch of this machine has quarantined, and the others have not heard of.

    An attacker with a crew's key makes it find as many as it likes, so that they are told of one
    after the other. All are held here meanwhile, and others watch as well.
    """

    def __init__(self) -> None:
        self._names: dict[OrchestratorName, None] = {}
        self._bucket = TokenBucket(
            1 / limits.quarantines_told_seconds, limits.quarantines_told_burst
        )
        self._is_behind = False

    def __repr__(self) -> str:
        return f"<QuarantineOutbox {len(self._names)}>"

    def add(self, name: OrchestratorName) -> None:
        """They are to hear of it."""
        self._names[name] = None

    def due(self, now: float) -> Iterator[OrchestratorName]:
        """Those whom they may be told of by now, the first first."""
        while self._names and self._bucket.take(now):
            name = next(iter(self._names))
            del self._names[name]
            yield name
        if self._names and not self._is_behind:
            _log.warning(
                "the watch has quarantined %d more orchestrators: other machines are told of one "
                "in %.0f s",
                len(self._names),
                limits.quarantines_told_seconds,
            )
        self._is_behind = bool(self._names)


def _from_gossip(entry: RevocationEntry, at: int, who: str, *, is_news: bool) -> RemoteOrder:
    by = _BY[entry.kind]
    expires = min(entry.expires, at + limits.quarantine_seconds_max)
    return RemoteOrder(
        QuarantineOrder(at, by, expires if by else 0), who, is_news, entry.crew, expires
    )


def _latest(wall: int) -> int:
    """What is of a later time is only the word of one who lies, by more than a clock is wrong."""
    return wall + limits.clock_distrust_seconds


def _has_come(word: QuarantineOrder, wall: int) -> bool:
    return word.at <= _latest(wall)


def _rank(word: QuarantineOrder, wall: int) -> tuple[bool, tuple[int, int, int]]:
    """Of two the last word counts, but one of a time to come for less than any other."""
    return _has_come(word, wall), word.order


def to_gossip(crew: str, orchestrator: str, word: QuarantineOrder) -> RevocationEntry:
    """As others are told of it; that it is let go they remember for longer than what held it."""
    expires = word.until or word.at + limits.quarantine_seconds_max
    key = orchestrator_key(crew, orchestrator)
    return RevocationEntry(_KINDS[word.by], key, crew_key(crew), word.at, expires)
