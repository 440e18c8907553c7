"""Stores all capsules that have not expired, and finds those that another member lacks.

The store decides whether a capsule is new, and verifies nothing. It believes what a member says
that it has, and only about that member. So no member can make another one drop a capsule. The store
keeps the bytes of capsules, not decoded capsules: there may be a million.

Capsules expire in spans of time, which are the same on all members. So members with the same time
that lack nothing store the same capsules, even if one of them received some late, or never.
"""

import enum
from array import array
from collections.abc import Container, Iterable, Iterator, Mapping
from hashlib import blake2b

from crewgate import limits
from crewgate.core.gossip import capsules
from crewgate.core.gossip.compact_capsule_map import CompactCapsuleMap
from crewgate.core.gossip.interval_set import IntervalSet, Range

DIGEST_BYTES = 8
Held = Mapping[bytes, tuple[Range, ...]]  # by line, the numbers of the capsules that a member has


class AcceptResult(enum.Enum):
    """What `CapsuleStore.accept` did with a capsule.

    - NEW: stored it.
    - KNOWN: nothing, since it was there.
    - EXPIRED: nothing, since no member can apply it any more.
    - CONFLICT: stored it, although another capsule has its id. The origin lies, or somebody runs a
      copy of the origin's folder.
    - UNKEPT: did not store it, since there is no room or it expires too late. The member must apply
      it, and must not pass it on.
    """

    NEW = "new"
    KNOWN = "known"
    EXPIRED = "expired"
    CONFLICT = "conflict"
    UNKEPT = "unkept"


class _OriginLog:
    """The capsules of one line: of one origin in one epoch."""

    __slots__ = ("capsules", "conflicts", "digest")

    def __init__(self, name: bytes) -> None:
        self.capsules = CompactCapsuleMap(name)
        self.conflicts: set[bytes] = set()  # capsules with a number that one of `capsules` has
        self.digest = 0

    def of(self, number: int) -> list[bytes]:
        """Return every capsule with this number."""
        first = self.capsules.get(number)
        others = [each for each in self.conflicts if capsules.number_of(each) == number]
        return [*others, first] if first is not None else others

    def ages(self) -> Iterator[tuple[bytes, int]]:
        """Yield the age of each page, and the page, the last one first.

        An age is the time of creation that the page's last capsule states, in bytes, but no later
        than the age of the page after it.
        """
        age = b"\xff" * capsules.TIME_BYTES
        for page, last in self.capsules.pages():
            age = min(age, last[: capsules.TIME_BYTES])
            yield age, page

    def lacking(self, page: int, theirs: IntervalSet | None) -> Iterator[bytes]:
        """Yield the capsules of a page without the numbers `theirs`; all of them if it is None."""
        for number in self.capsules.numbers(page):
            if theirs is None or number not in theirs:
                yield from self.of(number)

    def remove(self, raw: bytes) -> bool:
        """Forget a capsule; return whether another one with its number remains."""
        number = capsules.number_of(raw)
        if raw in self.conflicts:
            self.conflicts.remove(raw)
            return True
        other = next((each for each in self.conflicts if capsules.number_of(each) == number), None)
        if other is None:
            self.capsules.remove(number)
            return False
        self.capsules.put(number, other)
        self.conflicts.remove(other)
        return True


class CapsuleStore:
    """The capsules that one member stores. Times are whole seconds of its wall clock."""

    def __init__(self) -> None:
        self._lines: dict[bytes, _OriginLog] = {}
        self._epochs: dict[bytes, int] = {}  # how many lines each origin has
        self._each: dict[bytes, int] = {}  # how many capsules each origin has
        self._conflicts = 0
        # Numbers of capsules, by the span of time in which they expire and by line.
        self._expiring: dict[int, dict[bytes, array[int]]] = {}
        self._digest = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def digest(self) -> bytes:
        """8 bytes; members that store the same capsules have the same digest."""
        return self._digest.to_bytes(DIGEST_BYTES)

    @property
    def origins(self) -> Container[bytes]:
        """The members (8 bytes each) that have signed a stored capsule."""
        return self._each.keys()

    def get(self, id_: bytes) -> bytes | None:
        """Return the capsule with this id (20 bytes); None if it never came, or has expired."""
        line = self._lines.get(id_[: capsules.LINE_BYTES])
        return None if line is None else line.capsules.get(capsules.number_of(id_))

    def of(self, line: bytes, number: int) -> list[bytes]:
        """Return every capsule with this number: more than one is a conflict."""
        found = self._lines.get(line)
        return [] if found is None else found.of(number)

    def knows(self, raw: bytes) -> bool:
        """Return whether exactly this capsule is stored."""
        line = self._lines.get(raw[: capsules.LINE_BYTES])
        if line is None:
            return False
        return line.capsules.get(capsules.number_of(raw)) == raw or raw in line.conflicts

    def accept(self, capsule: capsules.Capsule, now: int) -> AcceptResult:
        """Store a verified capsule if it is new, and return what happened."""
        raw, name, number = capsule.raw, capsule.line, capsule.number
        line = self._lines.get(name)
        is_taken = line is not None and number in line.capsules
        if is_taken and self.knows(raw):
            return AcceptResult.KNOWN
        span = capsule.expires // _SPAN
        if _is_over(span, now):
            return AcceptResult.EXPIRED
        expires_late = capsule.expires > now + limits.capsule_life_seconds_max
        if expires_late or not self._has_space(capsule, is_taken=is_taken):
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
        self._toggle_digest(line, raw)
        return AcceptResult.CONFLICT if is_taken else AcceptResult.NEW

    def digests(self) -> dict[bytes, bytes]:
        """Return a digest (8 bytes) of the stored capsules of each line (16 bytes)."""
        return {name: line.digest.to_bytes(DIGEST_BYTES) for name, line in self._lines.items()}

    def differing(self, digests: Mapping[bytes, bytes]) -> dict[bytes, tuple[Range, ...]]:
        """Return `held` of the lines of which a member with these `digests` has other capsules."""
        own = self.digests()
        return self.held(
            name for name in sorted({*own, *digests}) if own.get(name) != digests.get(name)
        )

    def held(self, lines: Iterable[bytes]) -> dict[bytes, tuple[Range, ...]]:
        """Return the numbers of the stored capsules of each of these lines.

        If a message cannot hold all ranges, the lines with the most gaps count as empty. Then the
        other member hands over capsules that are known, which does no harm.
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
        """Return the capsules that a member lacks, the newest first.

        `held` has the lines of which the member has other capsules than this store, each with the
        numbers that the member has. In a line, a capsule comes after the capsule that names it,
        whatever times of creation the origin has written. The iterator reads capsules only when
        the caller takes them, a few neighbors at a time, so that a million of them are not in
        memory twice. ValueError if `CapsuleStore.held` cannot return `held`.
        """
        theirs = {name: IntervalSet(ranges) for name, ranges in held.items() if name in self._lines}
        same = [name for name in theirs if held[name] == self._lines[name].capsules.ranges()]
        pages = [(age, page, name) for name in theirs for age, page in self._lines[name].ages()]
        pages.sort(reverse=True)
        # If a line differs, and its numbers do not, two capsules share a number. The numbers cannot
        # tell which of the two the other member lacks, so it gets the whole line.
        lines = {name: None if name in same else ranges for name, ranges in theirs.items()}
        return (
            raw
            for _, page, name in pages
            if name in self._lines
            for raw in self._lines[name].lacking(page, lines[name])
        )

    def expire(self, now: int) -> None:
        """Forget the capsules that no member can apply any more, and lines without a capsule."""
        for span in [span for span in self._expiring if _is_over(span, now)]:
            for name, numbers in self._expiring.pop(span).items():
                for number in numbers:
                    self._expire(name, number, now)

    def _has_space(self, capsule: capsules.Capsule, *, is_taken: bool) -> bool:
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

    def _toggle_digest(self, line: _OriginLog, raw: bytes) -> None:
        """Add a capsule to the digests, or remove it: a digest is the XOR of capsules' hashes."""
        hashed = int.from_bytes(blake2b(raw, digest_size=DIGEST_BYTES).digest())
        line.digest ^= hashed
        self._digest ^= hashed

    def _expire(self, name: bytes, number: int, now: int) -> None:
        line = self._lines.get(name)
        for raw in line.of(number) if line is not None else ():
            if _is_over(capsules.expires_of(raw) // _SPAN, now):
                self._forget(raw)

    def _forget(self, raw: bytes) -> None:
        name, origin = raw[: capsules.LINE_BYTES], raw[: capsules.MEMBER_BYTES]
        line = self._lines[name]
        self._count -= 1
        _decrement(self._each, origin)
        self._toggle_digest(line, raw)
        self._conflicts -= line.remove(raw)
        if not line.capsules:
            del self._lines[name]
            _decrement(self._epochs, origin)


def _decrement(counts: dict[bytes, int], key: bytes) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


_SPAN = limits.capsule_expiry_seconds


def _is_over(span: int, now: int) -> bool:
    return (span + 1) * _SPAN <= now
