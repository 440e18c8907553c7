"""Stores the capsules of one line in little memory: there may be a million of them.

In a dict by its number, a capsule of one revocation takes twice the memory of its bytes. Here,
capsules with neighboring numbers share one bytes object, without their ids, which follow from their
position. The module knows the length of a capsule, and nothing else of its content.
"""

from collections.abc import Iterator

from crewgate.core.gossip.capsules import ENTRY_BYTES, ID_BYTES, LEAST_BYTES, capsule_id
from crewgate.core.gossip.interval_set import Range, ranges_of

_REST_BYTES = LEAST_BYTES - ID_BYTES  # after the id, and without entries
PAGE = 64  # numbers in one page; each change copies a page, 7 kB of single revocations
_NONE = bytes(PAGE)


class CompactCapsuleMap:
    """At most one capsule for each number of a `line` (16 bytes).

    A page has the number of entries of each of its capsules (0: no capsule), and the capsules in
    order.
    """

    __slots__ = ("_line", "_pages")

    def __init__(self, line: bytes) -> None:
        self._line = line
        self._pages: dict[int, tuple[bytes, bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self._pages)

    def __contains__(self, number: int) -> bool:
        entries, _ = self._page(number)
        return entries[number % PAGE] > 0

    def get(self, number: int) -> bytes | None:
        """Return the capsule with this number, or None."""
        entries, packed = self._page(number)
        if not entries[number % PAGE]:
            return None
        at, end = _span(entries, number % PAGE)
        return capsule_id(self._line, number) + packed[at:end]

    def put(self, number: int, raw: bytes) -> None:
        """Store a capsule, in place of another one with its number."""
        rest = raw[ID_BYTES:]
        self._replace(number, (len(rest) - _REST_BYTES) // ENTRY_BYTES, rest)

    def remove(self, number: int) -> None:
        """Remove the capsule with this number."""
        self._replace(number, 0, b"")

    def ranges(self) -> tuple[Range, ...]:
        """Return the numbers of all capsules, as ranges."""
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
        """Yield each page, the last one first, with its last capsule without the id."""
        for page, (entries, packed) in sorted(self._pages.items(), reverse=True):
            last = len(entries.rstrip(b"\0")) - 1
            yield page, packed[_span(entries, last)[0] :]

    def numbers(self, page: int) -> list[int]:
        """Return the numbers of the capsules of a page, the last one first."""
        entries, _ = self._pages.get(page, (_NONE, b""))
        return [page * PAGE + slot for slot in range(PAGE - 1, -1, -1) if entries[slot]]

    def _page(self, number: int) -> tuple[bytes, bytes]:
        return self._pages.get(number // PAGE, (_NONE, b""))

    def _replace(self, number: int, count: int, rest: bytes) -> None:
        slot = number % PAGE
        entries, packed = self._page(number)
        at, end = _span(entries, slot)
        entries = entries[:slot] + bytes((count,)) + entries[slot + 1 :]
        if entries == _NONE:
            self._pages.pop(number // PAGE, None)
        else:
            self._pages[number // PAGE] = entries, packed[:at] + rest + packed[end:]


def _span(entries: bytes, slot: int) -> tuple[int, int]:
    """Return where a capsule begins and ends in its page."""
    before = entries[:slot]
    at = (slot - before.count(0)) * _REST_BYTES + sum(before) * ENTRY_BYTES
    count = entries[slot]
    return at, at + (_REST_BYTES + count * ENTRY_BYTES if count else 0)
