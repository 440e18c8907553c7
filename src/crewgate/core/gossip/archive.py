"""All capsules that have not expired, and what was ever seen of each line: what others lack.

Anti-entropy's memory. Decides whether a capsule is new, and which ones somebody else has not got;
verifies nothing. What a peer says that it has seen is believed about that peer alone, so nobody can
talk another out of a capsule. Keeps bytes and not what is read out of them: there may be a million.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b

from crewgate import limits
from crewgate.core.gossip.capsules import (
    ID_BYTES,
    LINE_BYTES,
    MEMBER_BYTES,
    TIME_BYTES,
    Capsule,
    number_of,
)
from crewgate.core.gossip.ranges import Range, Ranges

DIGEST_BYTES = 8


class Standing(enum.Enum):
    """What a capsule is to somebody who was given it."""

    NEW = "new"
    KNOWN = "known"
    EXPIRED = "expired"
    CONFLICT = "conflict"  # new, with the id of another: its origin lies, or runs twice from a copy
    UNKEPT = "unkept"  # there is no room to remember it: to be applied, and not passed on


class _Line:
    """One origin in one epoch."""

    __slots__ = ("capsules", "seen")

    def __init__(self) -> None:
        self.seen = Ranges(most=limits.capsule_gaps_max)
        self.capsules: dict[int, bytes] = {}


class Archive:
    """The capsules of one member; times are whole seconds of its wall clock."""

    def __init__(self) -> None:
        self._lines: dict[bytes, _Line] = {}
        self._epochs: dict[bytes, int] = {}  # how many lines each origin has
        self._conflicts: set[bytes] = set()
        self._expiring: dict[int, list[bytes]] = {}  # by spans of time
        self._digest = 0
        self._count = 0

    def __repr__(self) -> str:
        return f"<Archive capsules={self._count} lines={len(self._lines)}>"

    def __len__(self) -> int:
        return self._count

    @property
    def digest(self) -> bytes:
        """8 bytes that are the same for all who have the same capsules."""
        return self._digest.to_bytes(DIGEST_BYTES)

    def has_seen(self, id_: bytes) -> bool:
        """Whether a capsule of this id (20 bytes) was accepted, as long as its line is known."""
        line = self._lines.get(id_[:LINE_BYTES])
        return line is not None and number_of(id_) in line.seen

    def get(self, id_: bytes) -> bytes | None:
        """The capsule of this id, unless it was never seen or has expired."""
        line = self._lines.get(id_[:LINE_BYTES])
        return None if line is None else line.capsules.get(number_of(id_))

    def knows(self, raw: bytes) -> bool:
        """Whether exactly this capsule is here, or expired after it was."""
        if self._conflicts and raw in self._conflicts:
            return True
        line = self._lines.get(raw[:LINE_BYTES])
        if line is None:
            return False
        known = line.capsules.get(number_of(raw))
        return number_of(raw) in line.seen if known is None else known == raw

    def accept(self, capsule: Capsule, now: int) -> Standing:
        """Remember a capsule that was verified, and say what it was."""
        raw = capsule.raw
        if self.knows(raw):
            return Standing.KNOWN
        if _is_over(capsule.expires // _SPAN, now):
            return Standing.EXPIRED
        line = self._lines.get(capsule.line)
        if line is None and self._epochs.get(capsule.origin, 0) >= limits.capsule_epochs_max:
            return Standing.UNKEPT
        if line is not None and capsule.number in line.seen:
            if len(self._conflicts) >= limits.capsule_conflicts_max:
                return Standing.UNKEPT
            self._conflicts.add(raw)
            self._keep(raw, capsule.expires)
            return Standing.CONFLICT
        if line is None:
            line = self._lines[capsule.line] = _Line()
            self._epochs[capsule.origin] = self._epochs.get(capsule.origin, 0) + 1
        if not line.seen.add(capsule.number):
            return Standing.UNKEPT
        line.capsules[capsule.number] = raw
        self._keep(raw, capsule.expires)
        return Standing.NEW

    def seen(self) -> dict[bytes, tuple[Range, ...]]:
        """Of each line (16 bytes) the numbers that were seen of it."""
        return {name: tuple(line.seen) for name, line in self._lines.items()}

    def lacking(self, seen: Mapping[bytes, Iterable[Range]]) -> list[bytes]:
        """What somebody has not got who has `seen` so much, the newest first.

        ValueError if `seen` is nothing that `Archive.seen` could say.
        """
        lacking = [
            raw for name, line in self._lines.items() for raw in _beyond(line, seen.get(name, ()))
        ]
        # Few, and numbers do not tell which of them somebody has.
        lacking += {*self._conflicts, *filter(None, map(self.get, self._conflicts))}
        lacking.sort(key=_age, reverse=True)
        return lacking

    def expire(self, now: int) -> None:
        """Forget what nobody could apply any more, and lines of which that is true altogether."""
        for span in [span for span in self._expiring if _is_over(span, now)]:
            for raw in self._expiring.pop(span):
                self._count -= 1
                self._digest ^= _hash(raw)
                if raw in self._conflicts:
                    self._conflicts.remove(raw)
                else:
                    self._forget(raw)

    def _keep(self, raw: bytes, expires: int) -> None:
        self._expiring.setdefault(expires // _SPAN, []).append(raw)
        self._count += 1
        self._digest ^= _hash(raw)

    def _forget(self, raw: bytes) -> None:
        """Of a line without capsules nothing is remembered: what comes late has expired too."""
        line = self._lines[raw[:LINE_BYTES]]
        del line.capsules[number_of(raw)]
        if line.capsules:
            return
        del self._lines[raw[:LINE_BYTES]]
        origin = raw[:MEMBER_BYTES]
        self._epochs[origin] -= 1
        if not self._epochs[origin]:
            del self._epochs[origin]


_SPAN = limits.capsule_expiry_seconds


def _is_over(span: int, now: int) -> bool:
    """Capsules go by spans of time, for all at once: so whoever has the same time has the same."""
    return (span + 1) * _SPAN <= now


def _beyond(line: _Line, seen: Iterable[Range]) -> Iterator[bytes]:
    theirs = Ranges(seen, most=limits.capsule_gaps_max)
    return (raw for number, raw in line.capsules.items() if number not in theirs)


def _age(raw: bytes) -> tuple[bytes, int]:
    return raw[ID_BYTES : ID_BYTES + TIME_BYTES], number_of(raw)


def _hash(raw: bytes) -> int:
    return int.from_bytes(blake2b(raw, digest_size=DIGEST_BYTES).digest())
