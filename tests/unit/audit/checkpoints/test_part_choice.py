"""Of objects with the same bytes, those are taken that have what was signed."""

from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from random import Random

import pytest

from crewgate import limits
from crewgate.audit.checkpoints.checkpoint import FileMark
from crewgate.audit.checkpoints.findings import FindingKind
from crewgate.audit.checkpoints.part_choice import PartChoice, choose
from crewgate.audit.file_part import FilePart
from crewgate.errors import AuditReadError

NAME = "worker-0-20261201T080000.000000Z.jsonl"


class Site:
    """A file of random bytes, of which the machine has signed some beginnings, and its objects."""

    def __init__(self, random: Random, size: int = 1000, signed: int = 1000) -> None:
        self.random = random
        self.content = random.randbytes(size)
        sizes = sorted({*(random.randrange(1, signed) for _ in range(8)), signed})
        self.marks = [
            FileMark(NAME, each, sha256(self.content[:each]).hexdigest()) for each in sizes
        ]
        cuts = [0, *sorted({random.randrange(1, size) for _ in range(6)}), size]
        self.own = [FilePart(NAME, *each) for each in pairwise(cuts)]
        self.objects = {part: self.content[part.begin : part.end] for part in self.own}
        self.count = 0

    def forge(self) -> None:
        """Add an object beside the others: random bytes, true ones, or what nobody can read."""
        ends = [0, *(part.end for part in self.objects)]
        begin = self.random.choice([*ends, self.random.randrange(1000)])
        end = self.random.choice([*ends, begin + self.random.randrange(1, 300)])
        part = FilePart(NAME, begin, end, self.random.choice(["", "0" * 16]))
        if part.size <= 0 or part in self.objects:
            return
        true = self.content[begin:end]
        half = true[: part.size // 2] + bytes(part.size - part.size // 2)
        self.objects[part] = self.random.choice([bytes(part.size), half, b"", true])

    def read(self, part: FilePart) -> Iterator[bytes]:
        self.count += 1
        data = self.objects[part]
        if len(data) != part.size:
            raise AuditReadError("its rows end too early")
        for at in range(0, len(data), 37):
            yield data[at : at + 37]

    def choose(self) -> PartChoice:
        return choose(sorted(self.objects), lambda: self.marks, self.read)

    def chosen_bytes(self) -> bytes:
        return b"".join(self.objects[part] for part in self.choose().parts)


def test_those_of_an_honest_archive_are_taken_unread() -> None:
    site = Site(Random(1))
    assert site.choose() == PartChoice(site.own, [])
    assert site.count == 0


@pytest.mark.parametrize("seed", range(200))
def test_what_was_signed_is_found_among_others(seed: int) -> None:
    """Each object that is left out is a finding."""
    random = Random(seed)
    site = Site(random)
    for _ in range(random.randrange(1, 30)):
        site.forge()
    found = site.choose()
    made = site.chosen_bytes()
    assert made[: len(site.content)] == site.content
    left = {f"day=2026-12-01/{part.object_name}" for part in {*site.objects} - {*found.parts}}
    inserted = {each.file for each in found.findings if each.kind is FindingKind.INSERTED}
    assert inserted <= left
    behind = [each for each in found.findings if "after what was signed" in each.why]
    assert inserted == left or behind


def test_of_lines_that_nobody_has_signed_none_is_chosen() -> None:
    """Nothing says which are those of the machine; what was signed before is taken."""
    site = Site(Random(3), signed=400)
    end = next(part.end for part in site.own if part.end >= 400)
    site.objects[FilePart(NAME, end, 1000, "0" * 16)] = bytes(1000 - end)
    found = site.choose()
    assert found.parts == [part for part in site.own if part.end <= end]
    (finding,) = found.findings
    assert finding.kind is FindingKind.CHANGED
    assert "after what was signed, two objects have its bytes" in finding.why
    site.marks = []
    found = site.choose()
    assert found.parts == []
    assert "two objects have its bytes" in found.findings[0].why


def test_a_signed_object_that_is_missing_is_no_choice() -> None:
    """Nothing is read then: no sequence of names has all bytes."""
    site = Site(Random(4))
    del site.objects[site.own[2]]
    found = site.choose()
    assert found.parts == []
    assert "the archive has no object with its bytes" in found.findings[0].why
    assert site.count == 0


@pytest.mark.parametrize("bound", ["archive_file_objects_max", "archive_file_bytes_max"])
def test_what_is_rebuilt_has_a_bound(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many objects follow those of the machine, these are verified."""
    site = Site(Random(5))
    most = len(site.own) if bound == "archive_file_objects_max" else 1000
    monkeypatch.setattr(limits, bound, most)
    assert site.choose().parts == site.own
    for at in range(1000, 3000):
        site.objects[FilePart(NAME, at, at + 1)] = b"x"
    found = site.choose()
    assert found.parts[: len(site.own)] == site.own
    assert len(found.parts) <= 2 * len(site.own)
    (finding,) = found.findings
    assert finding.kind is FindingKind.CHANGED
    assert "up to byte 3000, and an audit file has at most" in finding.why
    assert "move away those that the machine has not written, and verify again" in finding.why
    site.marks = []
    assert site.choose().parts == []


def test_the_search_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(Random(6), signed=1000)
    site.marks = site.marks[-1:]
    for part in site.own:
        for number in range(3):
            copy = part._replace(variant=f"{number:016x}")
            site.objects[copy] = bytes(part.size)
    monkeypatch.setattr(limits, "archive_choice_objects_max", 50)
    found = site.choose()
    assert found.parts == []
    assert "50 objects were read to find those of the machine" in found.findings[0].why
    assert site.count == 50
