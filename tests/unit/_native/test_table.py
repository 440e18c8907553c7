"""The table as one process sees it: lifecycle, lookups, forgetting, shares, its errors."""

import errno
import os
import struct
from pathlib import Path

import pytest

from crewgate._native import table_file
from crewgate._native.records import TableCapacities
from crewgate._native.table import StaleTableError, Table
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.errors import TableError, TableFullError

GEOMETRY = TableCapacities(64, 256, 128, 4)
CREW = ids.crew_key("article")
WALL, BOOT, NS = 1_000_000, 10**15, 10**9


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "table")


@pytest.fixture
def table() -> OwnedTable:
    return OwnedTable.private(GEOMETRY)


def branch(table: OwnedTable, key: bytes = b"b" * 16, *, expires: int = WALL + 100) -> int:
    """A branch right under the crew, which is opened when it is not there."""
    crew = table.find(CREW)
    if crew < 0:
        crew = table.open_branch(CREW, (), bytes(16), 2**52, 0, 2**40, WALL, BOOT)
    return table.open_branch(key, (crew,), bytes(16), 1000, 0, expires, WALL, BOOT)


def test_a_revocation_is_seen_by_every_mapping_at_once(path: str) -> None:
    """What the agent writes, another mapping of the file reads in the next instruction."""
    table = OwnedTable.create(path, GEOMETRY)
    other = Table.attach(table.fd)
    before = other.revocation_generation
    assert not other.is_revoked(b"k" * 16)
    assert table.revoke(b"k" * 16, CREW, 500, 60, WALL, BOOT)
    assert other.is_revoked(b"k" * 16, 500)
    assert not other.is_revoked(b"k" * 16, 501)
    assert other.revoked_before(b"k" * 16) == 500
    assert other.revocation_generation == before + 1


def test_revoking_again_only_widens(table: OwnedTable) -> None:
    """A second revocation never shortens the first, neither in `before` nor in life."""
    table.revoke(b"k" * 16, CREW, 500, 1000, WALL, BOOT)
    assert not table.revoke(b"k" * 16, CREW, 400, 1, WALL, BOOT)
    table.reclaim(WALL + 999, BOOT + 999 * NS)
    assert table.is_revoked(b"k" * 16, 500)
    assert table.revocations_of(CREW) == 1


@pytest.mark.parametrize(
    ("wall", "boot", "kept"),
    [(3601, 0, True), (-3600, 61, True), (61, 59, True), (61, 61, False)],
    ids=["wall clock jumps forward", "wall clock jumps back", "held too short", "both over"],
)
def test_forgetting_needs_both_clocks(
    table: OwnedTable, wall: int, boot: int, *, kept: bool
) -> None:
    """An entry goes when the wall clock is past its end and it was held that long."""
    table.revoke(b"k" * 16, CREW, 500, 60, WALL, BOOT)
    table.reclaim(WALL + wall, BOOT + boot * NS)
    assert table.is_revoked(b"k" * 16, 500) is kept


def test_a_full_table_refuses_and_keeps(table: OwnedTable) -> None:
    """No room: TableFullError, and everything that was there still is."""
    keys = [i.to_bytes(16, "big") for i in range(1, GEOMETRY.revocations + 1)]
    for key in keys:
        table.revoke(key, CREW, 500, 60, WALL, BOOT)
    with pytest.raises(TableFullError, match="256 revocations"):
        table.revoke(b"z" * 16, CREW, 500, 60, WALL, BOOT)
    assert all(table.is_revoked(key, 500) for key in keys)
    for i in range(GEOMETRY.branches - 1):
        branch(table, i.to_bytes(16, "big"))
    with pytest.raises(TableFullError, match="64 branch records"):
        branch(table, b"z" * 16)
    table.reclaim(WALL + 61, BOOT + 61 * NS)
    assert table.revoke(b"z" * 16, CREW, 500, 60, WALL, BOOT)


def test_reclaiming_goes_on_for_ever(table: OwnedTable) -> None:
    """Fifty generations of a full table: tombstones never fill an index, nothing is lost."""
    wall, boot = WALL, BOOT
    for generation in range(50):
        keys = [(generation * 1000 + i).to_bytes(16, "big") for i in range(200)]
        for key in keys:
            table.revoke(key, CREW, 500, 60, wall, boot)
        assert all(table.is_revoked(key, 500) for key in keys)
        wall, boot = wall + 61, boot + 61 * NS
        table.reclaim(wall, boot)
        assert not any(table.is_revoked(key, 500) for key in keys)
    assert table.counts()["revocations"] == table.revocations_of(CREW) == 0


def test_a_forgotten_branch_stays_charged_on_its_ancestors(table: OwnedTable) -> None:
    """`retired` of the crew holds what its reclaimed branches had consumed."""
    number = branch(table)
    table.begin_draw(number, 10)
    table.grant(number, 700)
    assert table.take_back(number, 300) == 300
    crew = table.find(CREW)
    assert table.reclaim(WALL + 99, BOOT + 200 * NS) == []
    (gone,) = table.reclaim(WALL + 101, BOOT + 200 * NS)
    assert (gone.key, gone.consumed) == (b"b" * 16, 0)
    assert table.find(b"b" * 16) == -1
    assert table.branch(crew).retired == 0


def test_a_parent_outlives_its_children(table: OwnedTable) -> None:
    """An ancestor whose own time is over stays as long as a branch below it."""
    parent = branch(table, b"p" * 16)
    crew = table.find(CREW)
    child = table.open_branch(b"c" * 16, (crew, parent), b"d" * 16, 10, 0, WALL + 500, WALL, BOOT)
    table.reclaim(WALL + 200, BOOT + 200 * NS)
    assert table.branch(parent) is not None
    assert table.branch(child).parents == (crew, parent)
    for _ in range(2):
        table.reclaim(WALL + 501, BOOT + 501 * NS)
    assert table.find(b"p" * 16) == table.find(b"c" * 16) == -1


def test_misuse_is_refused(table: OwnedTable) -> None:
    """A grant without a draw, a record that is not in use, a key of the wrong size."""
    number = branch(table)
    with pytest.raises(ValueError, match="no draw is pending"):
        table.grant(number, 5)
    with pytest.raises(ValueError, match="not in use"):
        table.amend(40, 1, 1, 1, WALL, BOOT)
    with pytest.raises(ValueError, match="16 bytes"):
        table.find(b"short")
    with pytest.raises(IndexError):
        table.branch(64)
    table.begin_draw(number, 10)
    with pytest.raises(ValueError, match="a lease is at most"):
        table.grant(number, 2**40)
    table.grant(number, 2**40 - 1)
    assert table.branch(number).available == 2**40 - 1


def test_an_attachment_resumes_only_with_its_nonce(table: OwnedTable) -> None:
    """After the agent's restart a process comes back under its number, a stranger does not."""
    number, nonce = table.take_attachment()
    assert table.resume_attachment(number, nonce)
    assert not table.resume_attachment(number, nonce ^ 2)
    assert not table.resume_attachment(number + 1, 0)
    assert table.attachments() == [number]
    table.drop_attachment(number)
    assert not table.resume_attachment(number, nonce)
    taken = [table.take_attachment()[0] for _ in range(GEOMETRY.attachments)]
    assert len(set(taken)) == GEOMETRY.attachments
    with pytest.raises(TableFullError):
        table.take_attachment()


def test_one_agent_at_a_time(path: str) -> None:
    """The kernel's lock keeps a second agent away until the first is gone."""
    table = OwnedTable.create(path, GEOMETRY)
    for second in (lambda: OwnedTable.open(path), lambda: OwnedTable.create(path, GEOMETRY)):
        with pytest.raises(
            TableError,
            match="another agent uses this state folder; end its `crewgate serve` first",
        ):
            second()
    life = table.life
    table.close()
    assert OwnedTable.open(path).life == life


def test_both_bounds_are_seen_by_every_mapping(path: str) -> None:
    """A new table is vouched for by nobody; a retired one no more."""
    table = OwnedTable.create(path, GEOMETRY)
    other = Table.attach(table.fd)
    assert (other.fresh_until, other.synced_until) == (0, 0)
    table.extend_freshness(7, 2**64 - 1)
    assert (other.fresh_until, other.synced_until) == (7, 2**64 - 1)
    table.extend_freshness(8, 3)
    assert (other.fresh_until, other.synced_until) == (8, 3)
    table.retire()
    assert (other.fresh_until, other.retired) == (0, True)
    private = OwnedTable.private(GEOMETRY)
    assert private.fresh_until == private.synced_until == 2**64 - 1


def test_no_table_is_a_file_not_found(path: str) -> None:
    """`open` creates nothing but its lock."""
    with pytest.raises(FileNotFoundError):
        OwnedTable.open(path)


def damage(path: str, offset: int, value: bytes) -> None:
    with Path(path).open("r+b") as file:
        file.seek(offset)
        file.write(value)


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [
        (0, b"NOTATABL", "not a Crewgate table"),
        (8, struct.pack("<Q", 9), "another version"),
        (8, struct.pack("<Q", 2), "another version"),  # it had no synced_until
        (24, struct.pack("<Q", 128), "torn"),
        (16, struct.pack("<Q", 2**40), "torn"),
    ],
)
def test_a_foreign_or_torn_file_is_refused(path: str, offset: int, value: bytes, why: str) -> None:
    """Wrong magic, version or header: an error that says so, for the agent and who attaches."""
    OwnedTable.create(path, GEOMETRY).close()
    damage(path, offset, value)
    with pytest.raises(StaleTableError, match=why):
        OwnedTable.open(path)
    fd = os.open(path, os.O_RDWR)
    with pytest.raises(StaleTableError, match=why):
        Table.attach(fd)
    os.close(fd)


def test_a_table_of_another_boot_is_refused(path: str) -> None:
    """Its clocks and owners mean nothing any more."""
    OwnedTable.create(path, GEOMETRY).close()
    data = Path(path).read_bytes()
    boot = data.index(ids.uuid_bytes(Path("/proc/sys/kernel/random/boot_id").read_text().strip()))
    damage(path, boot, bytes(16))
    with pytest.raises(StaleTableError):
        OwnedTable.open(path)


@pytest.mark.parametrize("size", [0, 100, 4096, 20000])
def test_a_short_file_is_refused(path: str, size: int) -> None:
    """A file that was cut is an error at start, never a SIGBUS later."""
    OwnedTable.create(path, GEOMETRY).close()
    os.truncate(path, size)
    with pytest.raises(StaleTableError, match="shorter"):
        OwnedTable.open(path)


def test_random_bytes_in_the_records_crash_nobody(path: str) -> None:
    """Every number read from the file is checked before it is used as a place."""
    OwnedTable.create(path, GEOMETRY).close()
    size = Path(path).stat().st_size
    damage(path, 8192, os.urandom(size - 8192))
    table = OwnedTable.open(path)
    table.is_revoked(b"k" * 16)
    table.scan(0, GEOMETRY.branches)
    table.counts()


@pytest.mark.parametrize("word", [2, 2**64 - 6, 2**43 + 2, 2**40 + 3])
def test_whoever_writes_over_a_table_in_use_leads_nobody_beyond_it(path: str, word: int) -> None:
    """Not even its header is believed a second time: the agent may answer wrongly, not crash."""
    table = OwnedTable.create(path, GEOMETRY)
    above = branch(table)
    table.open_branch(b"c" * 16, (above,), bytes(16), 5, 1, WALL + 1, WALL, BOOT)
    number, _ = table.take_attachment()
    damage(path, 0, struct.pack("<Q", word) * (Path(path).stat().st_size // 8))
    for _ in range(2):
        table.is_revoked(b"k" * 16)
        table.scan(0, 64)
        table.counts()
        table.drop_attachment(number)
        table.burn_overdue(2**63)
        table.reclaim(2**62, 2**62, 64)
    assert table.geometry == GEOMETRY


def test_a_full_disk_is_an_error_at_start(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is allocated in full; no space says so and leaves nothing behind."""

    def full(fd: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(table_file.os, "posix_fallocate", full)
    with pytest.raises(TableError, match=r"no room for the table: it needs \d+ bytes"):
        OwnedTable.create(path, GEOMETRY)
    assert {p.name for p in Path(path).parent.iterdir()} == {"table.lock"}
    monkeypatch.undo()
    OwnedTable.create(path, GEOMETRY)


@pytest.mark.parametrize("geometry", [(63, 64, 64, 2), (64, 64, 64, 1), (64, 2**25, 64, 2)])
def test_capacities_are_powers_of_two(geometry: tuple[int, int, int, int]) -> None:
    """Anything else is refused with what is allowed."""
    with pytest.raises(TableError, match="power of two"):
        OwnedTable.private(TableCapacities(*geometry))


def test_the_default_table_fits_its_promise() -> None:
    """1 M revocations and 250 k branches take at most 270 MB: 67 for rules, 27 for limits."""
    table = OwnedTable.private(TableCapacities(262_144, 1_048_576, 65_536, 1024))
    assert table.size <= 270_000_000
