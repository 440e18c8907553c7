"""Capsules of one line, close together in memory: there may be a million of them.

By its number in a dict, a capsule of one revocation takes as much again as it is long. Here those
of neighbouring numbers are one piece of bytes, without the id that their place tells. Knows how
long a capsule is, and nothing else of it.
"""

from collections.abc import Iterator

from crewgate.core.gossip.capsules import ENTRY_BYTES, ID_BYTES, LEAST_BYTES, capsule_id
from crewgate.core.gossip.ranges import Range, ranges_of

_REST_BYTES = LEAST_BYTES - ID_BYTES  # of one without entries, beyond its id
PAGE = 64  # numbers: each change copies one page, 7 kB of single revocations
_NONE = bytes(PAGE)


class PackedCapsules:
    """At most one capsule of each number of a `line` (16 bytes).

    A page is how many entries each of its capsules has, 0 for none, and all of them in order.
    """

    __slots__ = ("_line", "_pages")

    def __init__(self, line: bytes) -> None:
        self._line = line
        self._pages: dict[int, tuple[bytes, bytes]] = {}

    def __repr__(self) -> str:
        return f"<PackedCapsules {self._line.hex()} {self.ranges()}>"

    def __bool__(self) -> bool:
        return bool(self._pages)

    def __contains__(self, number: int) -> bool:
        entries, _ = self._page(number)
        return entries[number % PAGE] > 0

    def get(self, number: int) -> bytes | None:
        """The capsule of that number."""
        entries, packed = self._page(number)
        if not entries[number % PAGE]:
            return None
        at, end = _place(entries, number % PAGE)
        return capsule_id(self._line, number) + packed[at:end]

    def put(self, number: int, raw: bytes) -> None:
        """A capsule, in place of any other of its number."""
        rest = raw[ID_BYTES:]
        self._replace(number, (len(rest) - _REST_BYTES) // ENTRY_BYTES, rest)

    def remove(self, number: int) -> None:
        """There is none of it any more."""
        self._replace(number, 0, b"")

    def ranges(self) -> tuple[Range, ...]:
        """The numbers that are here."""
        found: list[Range] = []
        for page in sorted(self._pages):
            entries, first = self._pages[page][0], page * PAGE
            runs: tuple[Range, ...] = ((first, first + PAGE - 1),)
            if 0 in entries:
                runs = ranges_of(first + slot for slot, count in enumerate(entries) if count)
            if found and found[-1][1] + 1 == runs[0][0]:
                runs = ((found.pop()[0], runs[0][1]), *runs[1:])
            found += runs
        return tuple(found)

    def pages(self) -> Iterator[tuple[int, bytes]]:
        """Each page, the last one first, and what its last capsule has after its id: its age."""
        for page, (entries, packed) in sorted(self._pages.items(), reverse=True):
            last = len(entries.rstrip(b"\0")) - 1
            yield page, packed[_place(entries, last)[0] :]

    def numbers(self, page: int) -> list[int]:
        """Those of a page, the last one first."""
        entries, _ = self._pages.get(page, (_NONE, b""))
        return [page * PAGE + slot for slot in range(PAGE - 1, -1, -1) if entries[slot]]

    def _page(self, number: int) -> tuple[bytes, bytes]:
        return self._pages.get(number // PAGE, (_NONE, b""))

    def _replace(self, number: int, count: int, rest: bytes) -> None:
        slot = number % PAGE
        entries, packed = self._page(number)
        at, end = _place(entries, slot)
        entries = entries[:slot] + bytes((count,)) + entries[slot + 1 :]
        if entries == _NONE:
            self._pages.pop(number // PAGE, None)
        else:
            self._pages[number // PAGE] = entries, packed[:at] + rest + packed[end:]


def _place(entries: bytes, slot: int) -> tuple[int, int]:
    """Where in its page a capsule begins and ends."""
    before = entries[:slot]
    at = (slot - before.count(0)) * _REST_BYTES + sum(before) * ENTRY_BYTES
    count = entries[slot]
    return at, at + (_REST_BYTES + count * ENTRY_BYTES if count else 0)
