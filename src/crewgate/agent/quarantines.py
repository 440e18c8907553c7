"""Quarantines that other machines tell of, by the keys of orchestrators whose names they keep.

Decides what the last word on each is; whoever sees a grant of one asks. Bounded like the watch.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from crewgate import limits
from crewgate.core.gossip.capsules import LIFT, QUARANTINE, Entry
from crewgate.core.ids import crew_key, orchestrator_key


class Word(NamedTuple):
    """Of two, the greater counts. What is no news was heard before this agent began."""

    at: int
    is_held: bool
    is_news: bool


class Quarantines:
    """The last word on each orchestrator."""

    def __init__(self) -> None:
        self._words: dict[bytes, Word] = {}

    def __repr__(self) -> str:
        return f"<Quarantines heard={len(self._words)}>"

    def hear(self, entries: Iterable[Entry], *, is_news: bool = True) -> None:
        """What others say; of two words at one time the one that holds."""
        for entry in entries:
            if entry.kind not in {QUARANTINE, LIFT}:
                continue
            if entry.key not in self._words and len(self._words) >= limits.quarantines_heard_max:
                continue
            word = Word(entry.before, entry.kind == QUARANTINE, is_news)
            self._words[entry.key] = max(word, self._words.get(entry.key, word))

    def take(self, crew: str, orchestrator: str) -> Word | None:
        """The last word, said once; None if nobody has said anything since."""
        if not self._words:
            return None
        return self._words.pop(orchestrator_key(crew, orchestrator), None)


def told(crew: str, orchestrator: str, wall: int, *, lift: bool) -> Sequence[Entry]:
    """As others are told of it."""
    kind, expires = LIFT if lift else QUARANTINE, wall + limits.revocation_seconds
    return [Entry(kind, orchestrator_key(crew, orchestrator), crew_key(crew), wall, expires)]
