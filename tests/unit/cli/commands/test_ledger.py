"""`crewgate ledger`: what was spent, whether the books add up, and tables that are up to date."""

import json
import os
from pathlib import Path

import pytest
from account_family import BOOT, NOW
from audit_records import permit
from click.testing import CliRunner, Result

from crewgate.audit.folder import create
from crewgate.cli import main
from crewgate.cli.commands.init import write_all
from crewgate.config.load import load
from crewgate.core.audit.json_line import encode
from crewgate.core.budget.ledger_protocol import BranchPath as Line
from crewgate.core.budget.ledger_protocol import (
    BranchPathLevel,
    CloseBranch,
    CrewDrawLimits,
    DrawLease,
    OpenBranches,
    ReportLeaseUsage,
)
from crewgate.core.ids import branch_key, crew_key
from crewgate.ledger.factory import open_ledger, open_session

RUN, CHILD = "0199c1d2-0000-7000-8000-000000000001", "0199c1d2-0000-7000-8000-000000000002"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose ledger has one run with one child."""
    file = write_all(tmp_path / "gate", 8443)
    load(file).state.mkdir(exist_ok=True)
    ledger = open_ledger(load(file).ledger)
    root, child = (branch_key("article", each) for each in (RUN, CHILD))
    levels = BranchPathLevel(root, 10_000_000, 1, RUN), BranchPathLevel(child, 2_500_000, 1, CHILD)
    line = Line(crew_key("article"), CrewDrawLimits(), levels, "article")
    ledger.do(OpenBranches(line, "one", BOOT), 0.0)
    ledger.do(DrawLease(child, "one", BOOT, 1, 1_000_000), NOW)
    ledger.do(ReportLeaseUsage(child, "one", BOOT, 1, 250_000, reserved=10_000), 0.0)
    ledger.do(CloseBranch(child), 0.0)
    ledger.session.close()
    return file


def run(config: Path, *arguments: str) -> Result:
    """The command as typed."""
    command, *more = arguments
    return CliRunner().invoke(main, ["ledger", command, "-c", str(config), *more])


@pytest.mark.parametrize("command", ["check", "report", "reconcile"])
def test_a_missing_file_is_not_taken_for_a_missing_folder(config: Path, command: str) -> None:
    """The folder is there and this user's; without it the folder is named."""
    file = load(config).ledger.file
    assert file is not None
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()
    missing = run(config, command)
    assert f"{file}: the file is missing; bring it back, or run" in missing.output
    file.parent.rename(file.parent.with_name("away"))
    assert f"{file}: the file cannot be opened; its folder must" in run(config, command).output


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("crew", ["article 0.25 0.01 0.74 0.00"]),
        ("run", [f"article {RUN} 10.00 0.25 0.01 0.74 0.00 9.00"]),
        (
            "branch",
            [
                f"article {RUN} 10.00 0.25 0.01 0.74 0.00 9.00",
                f"article {CHILD} 2.50 0.25 0.01 0.74 0.00 1.50 closed",
            ],
        ),
    ],
)
def test_each_level_counts_all_below_it(config: Path, by: str, rows: list[str]) -> None:
    """Quota, spent, reserved, leased, burned and left, in credits."""
    result = run(config, "report", "--by", by)
    assert result.exit_code == 0
    assert [" ".join(line.split()) for line in result.stdout.splitlines()[1:]] == rows


def test_a_script_reads_micro_credits(config: Path) -> None:
    """One document, and every amount an integer."""
    (row,) = json.loads(run(config, "report", "--json").stdout)["rows"]
    assert (row["crew"], row["branch"], row["closed"]) == ("article", RUN, False)
    assert (row["quota_micro"], row["spent_micro"], row["left_micro"]) == (
        10_000_000,
        250_000,
        9_000_000,
    )
    assert json.loads(run(config, "report", "--crew", "bd", "--json").stdout) == {"rows": []}
    assert "no branch has drawn any credits" in run(config, "report", "--crew", "bd").stdout


def test_books_that_add_up_are_sound(config: Path) -> None:
    """Status 0, and said so."""
    result = run(config, "check")
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(run(config, "check", "--json").stdout) == {"ok": True, "findings": []}


def test_a_level_that_is_not_the_sum_of_its_leases_is_named(config: Path) -> None:
    """Status 1: somebody has changed a row by hand."""
    session = open_session(load(config).ledger)
    session.rows("UPDATE account SET settled = settled + 5 WHERE name = ?", (RUN,))
    session.close()
    result = run(config, "check")
    assert result.exit_code == 1
    assert result.stdout == f"{RUN}: settled is 250005, but its leases add up to 250000\n"


def test_migrating_says_from_where_to_where(config: Path) -> None:
    """Again it does nothing; a new file gets all its tables."""
    assert json.loads(run(config, "migrate", "--json").stdout) == {"before": 1, "after": 1}
    assert "which this Crewgate needs" in run(config, "migrate").stderr
    load(config).ledger.file.unlink()  # type: ignore[union-attr]
    assert "Migrated the tables from version 0 to version 1" in run(config, "migrate").stderr


@pytest.mark.parametrize("command", ["report", "check"])
def test_a_ledger_that_is_not_there_is_one_line(tmp_path: Path, command: str) -> None:
    """Reading makes no file; status 2 says what is missing."""
    file = write_all(tmp_path / "gate", 8443)
    result = run(file, command)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "ledger.db" in result.stderr
    assert not load(file).ledger.file.exists()  # type: ignore[union-attr]


def audited(config: Path, *costs: tuple[str, str, int]) -> None:
    """So much was charged for calls: (branch, tool, micro-credits)."""
    descriptor, _ = create(load(config).audit.folder, "worker-1", 1_800_000_000_000_000_000)
    for number, (branch, tool, cost) in enumerate(costs):
        os.write(descriptor, encode(permit(number, branch, "researcher", tool, cost)))
    os.close(descriptor)


def test_what_the_ledger_does_not_know_is_of_the_audit(config: Path) -> None:
    """Roles, tools and days, with how many calls were answered."""
    audited(config, (CHILD, "search.web", 200_000), (CHILD, "search.maps", 50_000))
    rows = json.loads(run(config, "report", "--by", "tool", "--json").stdout)["rows"]
    assert [(row["key"], row["calls"], row["spent_micro"]) for row in rows] == [
        ("search.web", 1, 200_000),
        ("search.maps", 1, 50_000),
    ]
    for by, key in (("role", "researcher"), ("day", "2026-11-24")):
        lines = run(config, "report", "--by", by).stdout.splitlines()
        assert [line.split() for line in lines] == [
            [by, "calls", "spent", "burned"],
            [key, "2", "0.25", "0.00"],
        ]


def test_ledger_and_audit_that_agree(config: Path) -> None:
    """Branch by branch, without what is below; status 0."""
    audited(config, (CHILD, "search.web", 200_000), (CHILD, "search.web", 50_000))
    result = run(config, "reconcile")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "agree to the micro-credit" in result.stderr


def test_every_difference_is_named(config: Path) -> None:
    """What one of them has and the other has not, in credits; status 1."""
    audited(config, (CHILD, "search.web", 249_999), (RUN, "search.web", 10_000))
    result = run(config, "reconcile")
    assert result.exit_code == 1
    said = "article {}: the ledger has {} spent and 0.00 burned, the audit {} spent and 0.00 burned"
    unreported = "; a machine may still have to report a part of 0.74 leased credits"
    lines = said.format(RUN, "0.00", "0.01"), said.format(CHILD, "0.25", "0.249999") + unreported
    assert result.stdout.splitlines() == list(lines)
    assert result.stderr.startswith("note: the audit has no calls of programs that embed")
    found = json.loads(run(config, "reconcile", "--json").stdout)
    assert found["ok"] is False
    assert found["differences"][1]["audit_spent_micro"] == 249_999


def test_an_account_of_a_crossing_has_the_calls_of_its_caller(config: Path) -> None:
    """The audit names the crew that called, even if a token of that crew has the same branch id."""
    ledger = open_ledger(load(config).ledger)
    key = branch_key("article:finance", CHILD)
    levels = (BranchPathLevel(key, 10_000_000, 1, CHILD),)
    line = Line(crew_key("article:finance"), CrewDrawLimits(), levels, "article:finance")
    ledger.do(OpenBranches(line, "one", BOOT), 0.0)
    ledger.do(DrawLease(key, "one", BOOT, 1, 1_000_000), NOW)
    ledger.do(ReportLeaseUsage(key, "one", BOOT, 1, 100_000), 0.0)
    ledger.session.close()
    audited(config, (CHILD, "search.web", 250_000), (CHILD, "finance.quote", 100_000))
    assert run(config, "reconcile").exit_code == 0
    audited(config, (CHILD, "finance.quote", 1))
    result = run(config, "reconcile")
    assert result.exit_code == 1
    assert result.stdout.count("the ledger has 0.35 spent and 0.00 burned, the audit 0.350001") == 1
    assert result.stderr == "", "the audit has more than the ledger, and not less"


def test_each_machine_has_what_it_drew(config: Path) -> None:
    """Spent, reserved, leased and burned, of all crews or one."""
    lines = run(config, "report", "--by", "machine").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["machine", "spent", "reserved", "leased", "burned"],
        ["one", "0.25", "0.01", "0.74", "0.00"],
    ]
    rows = json.loads(run(config, "report", "--by", "machine", "--json").stdout)["rows"]
    assert [row["machine"] for row in rows] == ["one"]
    other = run(config, "report", "--by", "machine", "--crew", "bd", "--json")
    assert json.loads(other.stdout) == {"rows": []}
