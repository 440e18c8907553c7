"""All capsules that have not expired, and which of them others lack.

Anti-entropy's memory. Decides whether a capsule is new, and which ones somebody else has not got;
verifies nothing. What a peer says that it has is believed about that peer alone, so nobody can talk
another out of a capsule. Keeps bytes and not what is read out of them: there may be a million.

Capsules go by spans of time, each for all members at once: whoever has the same time, and lacks
nothing, has the same capsules, whatever came late and whatever came never.
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
from crewgate.core.gossip.ranges import Range, Ranges, ranges_of

DIGEST_BYTES = 8
Held = Mapping[bytes, tuple[Range, ...]]  # by line, the numbers of what somebody has of it


class Standing(enum.Enum):
    """What a capsule is to somebody who was given it."""

    NEW = "new"
    KNOWN = "known"
    EXPIRED = "expired"
    CONFLICT = "conflict"  # new, with the id of another: its origin lies, or runs twice from a copy
    UNKEPT = "unkept"  # there is no room to remember it: to be applied, and not passed on


class _Line:
    """One origin in one epoch."""

    __slots__ = ("capsules", "conflicts", "digest")

    def __init__(self) -> None:
        self.capsules: dict[int, bytes] = {}
        self.conflicts: set[bytes] = set()  # capsules whose number another has
        self.digest = 0

    def all(self) -> Iterator[bytes]:
        """Every capsule of it."""
        yield from self.capsules.values()
        yield from self.conflicts

    def lacking(self, theirs: tuple[Range, ...]) -> Iterator[bytes]:
        """What somebody has not got who has these; all, where the numbers are the same."""
        ranges = Ranges(theirs)
        if theirs == ranges_of(self.capsules):
            return self.all()  # of two capsules of one number, nobody can tell which is there
        return (raw for raw in self.all() if number_of(raw) not in ranges)

    def remove(self, raw: bytes) -> bool:
        """Forget a capsule; whether another of its number remains."""
        number = number_of(raw)
        other = next((each for each in self.conflicts if number_of(each) == number), None)
        if other is None:
            del self.capsules[number]
            return False
        if raw in self.conflicts:
            other = raw
        else:
            self.capsules[number] = other
        self.conflicts.remove(other)
        return True


class Archive:
    """The capsules of one member; times are whole seconds of its wall clock."""

    def __init__(self) -> None:
        self._lines: dict[bytes, _Line] = {}
        self._epochs: dict[bytes, int] = {}  # how many lines each origin has
        self._conflicts = 0
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

    def get(self, id_: bytes) -> bytes | None:
        """The capsule of this id (20 bytes), unless it never came or has expired."""
        line = self._lines.get(id_[:LINE_BYTES])
        return None if line is None else line.capsules.get(number_of(id_))

    def knows(self, raw: bytes) -> bool:
        """Whether exactly this capsule is here."""
        line = self._lines.get(raw[:LINE_BYTES])
        if line is None:
            return False
        return line.capsules.get(number_of(raw)) == raw or raw in line.conflicts

    def accept(self, capsule: Capsule, now: int) -> Standing:
        """Remember a capsule that was verified, and say what it was."""
        raw = capsule.raw
        if self.knows(raw):
            return Standing.KNOWN
        if _is_over(capsule.expires // _SPAN, now):
            return Standing.EXPIRED
        line = self._lines.get(capsule.line)
        is_taken = line is not None and capsule.number in line.capsules
        if not self._has_room(capsule, is_taken=is_taken):
            return Standing.UNKEPT
        if line is None:
            line = self._lines[capsule.line] = _Line()
            self._epochs[capsule.origin] = self._epochs.get(capsule.origin, 0) + 1
        if is_taken:
            line.conflicts.add(raw)
            self._conflicts += 1
        else:
            line.capsules[capsule.number] = raw
        self._expiring.setdefault(capsule.expires // _SPAN, []).append(raw)
        self._count += 1
        self._turn(line, raw)
        return Standing.CONFLICT if is_taken else Standing.NEW

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
        """The numbers of what is here of each of these lines."""
        return {
            name: ranges_of(self._lines[name].capsules) if name in self._lines else ()
            for name in lines
        }

    def lacking(self, held: Held) -> list[bytes]:
        """What somebody has not got who has so much of lines that differ, the newest first.

        ValueError if `held` is nothing that `Archive.held` could say.
        """
        lacking = [
            raw
            for name, theirs in held.items()
            if name in self._lines
            for raw in self._lines[name].lacking(theirs)
        ]
        lacking.sort(key=_age, reverse=True)
        return lacking

    def expire(self, now: int) -> None:
        """Forget what nobody could apply any more, and lines of which that is true altogether."""
        for span in [span for span in self._expiring if _is_over(span, now)]:
            for raw in self._expiring.pop(span):
                self._forget(raw)

    def _has_room(self, capsule: Capsule, *, is_taken: bool) -> bool:
        if self._count >= limits.capsules_max:
            return False
        if is_taken:
            return self._conflicts < limits.capsule_conflicts_max
        if capsule.line in self._lines:
            return True
        epochs = self._epochs.get(capsule.origin, 0)
        return epochs < limits.capsule_epochs_max and len(self._lines) < limits.capsule_lines_max

    def _turn(self, line: _Line, raw: bytes) -> None:
        turned = int.from_bytes(blake2b(raw, digest_size=DIGEST_BYTES).digest())
        line.digest ^= turned
        self._digest ^= turned

    def _forget(self, raw: bytes) -> None:
        name, origin = raw[:LINE_BYTES], raw[:MEMBER_BYTES]
        line = self._lines[name]
        self._count -= 1
        self._turn(line, raw)
        self._conflicts -= line.remove(raw)
        if not line.capsules:
            del self._lines[name]
            self._epochs[origin] -= 1
            if not self._epochs[origin]:
                del self._epochs[origin]


_SPAN = limits.capsule_expiry_seconds


def _is_over(span: int, now: int) -> bool:
    return (span + 1) * _SPAN <= now


def _age(raw: bytes) -> tuple[bytes, int, bytes]:
    return raw[ID_BYTES : ID_BYTES + TIME_BYTES], number_of(raw), raw
