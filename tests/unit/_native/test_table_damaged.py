"""A table that was damaged, and numbers at their bounds: sums stay sums, whatever stands there."""

import runpy
import subprocess
from pathlib import Path

import pytest
from native_programs import compiled

from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable

ROOT = Path(__file__).parents[3]
GEOMETRY = TableCapacities(64, 64, 64, 2)
CREW, KEY = b"c" * 16, b"k" * 16
EVER = 2**64 - 1


@pytest.fixture
def table() -> OwnedTable:
    return OwnedTable.private(GEOMETRY)


def opened(table: OwnedTable, *told: int) -> int:
    return table.open_branch(KEY, (), bytes(16), 2**53, 1, 2**40, 0, 0, told or (0, 0, 0, 0))


def test_no_sum_of_a_damaged_table_overflows(tmp_path: Path) -> None:
    """What overflows or is misaligned ends the program, and so does a sum that cannot be.

    By a trap, which needs no library. With -fno-sanitize-recover=all in its place it says where.
    """
    checked = ["-fsanitize=undefined,alignment", "-fsanitize-undefined-trap-on-error"]
    program = compiled("wrapped", tmp_path, *checked)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("switch", ["0", "1"])
def test_a_report_of_the_sanitized_build_ends_it(
    monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    """`make sanitize` would else pass, with a report in its log: UBSan goes on after one."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("CREWGATE_SANITIZE", switch)
    monkeypatch.setattr("Cython.Build.cythonize", lambda *_, **__: [])
    monkeypatch.setattr("setuptools.setup", lambda **_: None)
    extensions = runpy.run_path("setup.py")["extensions"]
    assert extensions
    for extension in extensions:
        for flags in (extension.extra_compile_args, extension.extra_link_args):
            assert ("-fsanitize=address,undefined" in flags) == (switch == "1")
            assert ("-fno-sanitize-recover=undefined" in flags) == (switch == "1")


def test_a_repair_looks_at_each_record_once(tmp_path: Path) -> None:
    """Twice the records, twice the reads; a damaged chain took the square of its length."""
    program = compiled("damaged", tmp_path)
    few, many = (int(subprocess.check_output([program, size])) for size in ("1024", "4096"))
    assert many <= 4 * few


def test_a_lease_that_says_more_than_can_be_is_refused_more(table: OwnedTable) -> None:
    """What is out has no room for one micro-credit more, at the end of 63 bits as well."""
    number = opened(table, 0, 2**63 - 1, 0, 0)
    with pytest.raises(ValueError, match="a lease is at most"):
        table.overdraw(number, 1)


@pytest.mark.parametrize("granted", [0, 1, 2**63 - 1, 2**63, EVER])
@pytest.mark.parametrize("given_back", [0, 1, 2**63, EVER])
def test_what_is_missing_of_a_damaged_lease_has_a_sum(
    table: OwnedTable, granted: int, given_back: int
) -> None:
    """Burned is what is missing, never more than it and never less than nothing."""
    number = opened(table, 0, granted, given_back, 2**53 - 1)
    branch = table.branch(number)
    assert branch is not None
    missing = (granted - given_back - (2**53 - 1)) % 2**64
    assert branch.burned == (missing if missing < 2**63 else 0)


def test_a_life_that_no_clock_can_count_is_for_ever(table: OwnedTable) -> None:
    """It does not wrap into one that is over."""
    for _ in range(2):  # a new one, and one that is there
        table.revoke(KEY, CREW, 5, EVER - 2**55 + 1, 2**60, 0)
        table.reclaim(2**61, 10**9)
        assert table.is_revoked(KEY, 5)


@pytest.mark.parametrize("beyond", [0, EVER])
def test_credits_beyond_the_lease_do_not_wrap(table: OwnedTable, beyond: int) -> None:
    """The most that can be said is the most."""
    number = opened(table)
    table.overdraw(number, 5)
    table.expect(number, beyond)
    branch = table.branch(number)
    assert branch is not None
    assert (branch.available, branch.beyond) == (5, beyond)
