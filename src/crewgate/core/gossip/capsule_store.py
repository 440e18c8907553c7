"""All capsules that have not expired, and which of them others lack.

Anti-entropy's memory. Decides whether a capsule is new, and which ones somebody else has not got;
verifies nothing. What a peer says that it has is believed about that peer alone, so nobody can talk
another out of a capsule. Keeps bytes and not what is read out of them: there may be a million.

Capsules go by spans of time, each for all members at once: whoever has the same time, and lacks
nothing, has the same capsules, whatever came late and whatever came never.
"""

import enum
from array import array
from collections.abc import Container, Iterable, Iterator, Mapping
from hashlib import blake2b

from crewgate import limits
from crewgate.core.gossip.capsules import (
    LINE_BYTES,
    MEMBER_BYTES,
    TIME_BYTES,
    Capsule,
    expires_of,
    number_of,
)
from crewgate.core.gossip.packed_capsules import PackedCapsules
from crewgate.core.gossip.ranges import IntervalSet, Range

DIGEST_BYTES = 8
Held = Mapping[bytes, tuple[Range, ...]]  # by line, the numbers of what somebody has of it


class AcceptResult(enum.Enum):
    """What a capsule is to somebody who was given it."""

    NEW = "new"
    KNOWN = "known"
    EXPIRED = "expired"
    CONFLICT = "conflict"  # new, with the id of another: its origin lies, or runs twice from a copy
    UNKEPT = "unkept"  # no room, or for too long: it is to be applied, and not passed on


class _OriginLog:
    """One origin in one epoch."""

    __slots__ = ("capsules", "conflicts", "digest")

    def __init__(self, name: bytes) -> None:
        self.capsules = PackedCapsules(name)
        self.conflicts: set[bytes] = set()  # capsules whose number another has
        self.digest = 0

    def of(self, number: int) -> list[bytes]:
        """Every capsule of a number."""
        first = self.capsules.get(number)
        others = [each for each in self.conflicts if number_of(each) == number]
        return [*others, first] if first is not None else others

    def ages(self) -> Iterator[tuple[bytes, int]]:
        """Each page, the last one first, and when it was made: none after one that follows it."""
        age = b"\xff" * TIME_BYTES
        for page, rest in self.capsules.pages():
            age = min(age, rest[:TIME_BYTES])
            yield age, page

    def lacking(self, page: int, theirs: IntervalSet | None) -> Iterator[bytes]:
        """What of a page somebody has not got who has these; all of it, where that is None."""
        for number in self.capsules.numbers(page):
            if theirs is None or number not in theirs:
                yield from self.of(number)

    def remove(self, raw: bytes) -> bool:
        """Forget a capsule; whether another of its number remains."""
        number = number_of(raw)
        if raw in self.conflicts:
            self.conflicts.remove(raw)
            return True
        other = next((each for each in self.conflicts if number_of(each) == number), None)
        if other is None:
            self.capsules.remove(number)
            return False
        self.capsules.put(number, other)
        self.conflicts.remove(other)
        return True


class CapsuleStore:
    """The capsules of one member; times are whole seconds of its wall clock."""

    def __init__(self) -> None:
        self._lines: dict[bytes, _OriginLog] = {}
        self._epochs: dict[bytes, int] = {}  # how many lines each origin has,
        self._each: dict[bytes, int] = {}  # and how many capsules
        self._conflicts = 0
        self._expiring: dict[int, dict[bytes, array[int]]] = {}  # by spans of time, and lines
        self._digest = 0
        self._count = 0

    def __repr__(self) -> str:
        return f"<CapsuleStore capsules={self._count} lines={len(self._lines)}>"

    def __len__(self) -> int:
        return self._count

    @property
    def digest(self) -> bytes:
        """8 bytes that are the same for all who have the same capsules."""
        return self._digest.to_bytes(DIGEST_BYTES)

    @property
    def origins(self) -> Container[bytes]:
        """Members, 8 bytes each, of whom there is any capsule here."""
        return self._each.keys()

    def get(self, id_: bytes) -> bytes | None:
        """The capsule of this id (20 bytes), unless it never came or has expired."""
        line = self._lines.get(id_[:LINE_BYTES])
        return None if line is None else line.capsules.get(number_of(id_))

    def of(self, line: bytes, number: int) -> list[bytes]:
        """Every capsule of a number: more than one where its origin lies."""
        found = self._lines.get(line)
        return [] if found is None else found.of(number)

    def knows(self, raw: bytes) -> bool:
        """Whether exactly this capsule is here."""
        line = self._lines.get(raw[:LINE_BYTES])
        if line is None:
            return False
        return line.capsules.get(number_of(raw)) == raw or raw in line.conflicts

    def accept(self, capsule: Capsule, now: int) -> AcceptResult:
        """Remember a capsule that was verified, and say what it was."""
        raw, name, number = capsule.raw, capsule.line, capsule.number
        line = self._lines.get(name)
        is_taken = line is not None and number in line.capsules
        if is_taken and self.knows(raw):
            return AcceptResult.KNOWN
        span = capsule.expires // _SPAN
        if _is_over(span, now):
            return AcceptResult.EXPIRED
        is_lasting = capsule.expires > now + limits.capsule_life_seconds_max
        if is_lasting or not self._has_space(capsule, is_taken=is_taken):
            return AcceptResult.UNKEPT
        if line is None:
            line = self._lines[name] = _OriginLog(name)
            self._epochs[capsule.origin] = self._epochs.get(capsule.origin, 0) + 1
        if is_taken:
            line.conflicts.add(raw)
            self._conflicts += 1
        else:
            line.capsules.put(number, raw)
        expiring = self._expiring.setdefault(span, {})
        if name not in expiring:
            expiring[name] = array("I")
        expiring[name].append(number)
        self._count += 1
        self._each[capsule.origin] = self._each.get(capsule.origin, 0) + 1
        self._turn(line, raw)
        return AcceptResult.CONFLICT if is_taken else AcceptResult.NEW

    def digests(self) -> dict[bytes, bytes]:
        """A digest of what is here of each line: 8 bytes by 16."""
        return {name: line.digest.to_bytes(DIGEST_BYTES) for name, line in self._lines.items()}

    def differing(self, digests: Mapping[bytes, bytes]) -> dict[bytes, tuple[Range, ...]]:
        """What is here of those lines of which somebody with these `digests` has anything else."""
        own = self.digests()
        return self.held(
            name for name in sorted({*own, *digests}) if own.get(name) != digests.get(name)
        )

    def held(self, lines: Iterable[bytes]) -> dict[bytes, tuple[Range, ...]]:
        """The numbers of what is here of each of these lines.

        As if nothing were of those that have the most gaps, where there are more than can be told:
        what is handed over for that is known.
        """
        found = {
            name: self._lines[name].capsules.ranges() if name in self._lines else ()
            for name in lines
        }
        left = limits.held_ranges_max
        for name in sorted(found, key=lambda name: len(found[name])):
            left -= len(found[name])
            if left < 0:
                found[name] = ()
        return found

    def lacking(self, held: Held) -> Iterator[bytes]:
        """What somebody has not got who has so much of lines that differ, the newest first.

        Of one line none comes before what names it, whatever time its origin has given it. They are
        read when they are asked for, a few neighbours at a time: whoever lacks a million is not to
        have them twice in our memory. ValueError if `held` is nothing that `CapsuleStore.held`
        could say.
        """
        theirs = {name: IntervalSet(ranges) for name, ranges in held.items() if name in self._lines}
        same = [name for name in theirs if held[name] == self._lines[name].capsules.ranges()]
        pages = [(age, page, name) for name in theirs for age, page in self._lines[name].ages()]
        pages.sort(reverse=True)
        # Of two capsules of one number nobody can tell which is there: same numbers lack all.
        lines = {name: None if name in same else ranges for name, ranges in theirs.items()}
        return (
            raw
            for _, page, name in pages
            if name in self._lines
            for raw in self._lines[name].lacking(page, lines[name])
        )

    def expire(self, now: int) -> None:
        """Forget what nobody could apply any more, and lines of which that is true altogether."""
        for span in [span for span in self._expiring if _is_over(span, now)]:
            for name, numbers in self._expiring.pop(span).items():
                for number in numbers:
                    self._expire(name, number, now)

    def _has_space(self, capsule: Capsule, *, is_taken: bool) -> bool:
        if self._count >= limits.capsules_max:
            return False
        if self._each.get(capsule.origin, 0) >= limits.capsules_each_max:
            return False
        if is_taken:
            return self._conflicts < limits.capsule_conflicts_max
        if capsule.line in self._lines:
            return True
        epochs = self._epochs.get(capsule.origin, 0)
        return epochs < limits.capsule_epochs_max and len(self._lines) < limits.capsule_lines_max

    def _turn(self, line: _OriginLog, raw: bytes) -> None:
        turned = int.from_bytes(blake2b(raw, digest_size=DIGEST_BYTES).digest())
        line.digest ^= turned
        self._digest ^= turned

    def _expire(self, name: bytes, number: int, now: int) -> None:
        line = self._lines.get(name)
        for raw in line.of(number) if line is not None else ():
            if _is_over(expires_of(raw) // _SPAN, now):
                self._forget(raw)

    def _forget(self, raw: bytes) -> None:
        name, origin = raw[:LINE_BYTES], raw[:MEMBER_BYTES]
        line = self._lines[name]
        self._count -= 1
        _one_less(self._each, origin)
        self._turn(line, raw)
        self._conflicts -= line.remove(raw)
        if not line.capsules:
            del self._lines[name]
            _one_less(self._epochs, origin)


def _one_less(counts: dict[bytes, int], of: bytes) -> None:
    counts[of] -= 1
    if not counts[of]:
        del counts[of]


_SPAN = limits.capsule_expiry_seconds


def _is_over(span: int, now: int) -> bool:
    return (span + 1) * _SPAN <= now
