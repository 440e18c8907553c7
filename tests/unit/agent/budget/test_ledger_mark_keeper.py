"""An agent starts on no ledger that has forgotten what this machine told it."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import trio
from account_family import A, draw, family, spend
from click.testing import CliRunner
from postgres import server
from trio.testing import MockClock

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent import main
from crewgate.agent.active_config import ActiveConfig
from crewgate.agent.budget.ledger_mark_keeper import (
    LedgerMarkKeeper,
    known_with_table,
    open_known_ledger,
    require_table,
)
from crewgate.agent.table_setup import open_table
from crewgate.cli import main as command
from crewgate.config import Config, Durability, LedgerConfig
from crewgate.core.budget.ledger_mark import HolderOperationCounts, LedgerMark
from crewgate.errors import LedgerReplacedError, TableError
from crewgate.ledger import schema
from crewgate.ledger.mark_file import find_ledger, read_mark, require, write_mark
from crewgate.ledger.postgresql_session import PostgreSQLSession
from crewgate.ledger.sql import SQLLedger

SMALL = "[table]\nbranches = 256\nrevocations = 256\nreservations = 256\n"


@pytest.fixture
def config(file: Path) -> Config:
    """With a table that is small enough to be made often."""
    file.write_text(file.read_text() + SMALL)
    return ActiveConfig(file).config


def begun(config: Config) -> tuple[SQLLedger, OwnedTable, LedgerMarkKeeper]:
    """What an agent opens, in its order."""
    ledger, mark = open_known_ledger(config, "one")
    table, _ = open_table(config, mark.drawn_as)
    return ledger, table, LedgerMarkKeeper(config, ledger, table, mark)


@pytest.fixture
def drawn(config: Config) -> Config:
    """A machine that has drawn, and ended; `copy.db` is its ledger as it was before the last."""
    ledger, table, keeper = begun(config)
    family(lambda: ledger)
    draw(ledger, A, 1, 60)
    ledger.session.checkpoint()
    assert config.ledger.file is not None
    shutil.copy(config.ledger.file, config.state / "copy.db")
    spend(ledger, A, 1, 10)
    keeper.write()
    table.close()
    ledger.session.close()
    return config


def ledger_file(config: Config) -> Path:
    assert config.ledger.file is not None
    return config.ledger.file


def empty(config: Config) -> None:
    ledger_file(config).write_bytes(b"")


def missing(config: Config) -> None:
    ledger_file(config).unlink()


def older(config: Config) -> None:
    shutil.copy(config.state / "copy.db", ledger_file(config))


def another(config: Config) -> None:
    ledger_file(config).unlink()
    mark = (config.state / "ledger.mark").read_bytes()
    (config.state / "ledger.mark").unlink()
    (config.state / "table.ledger").rename(config.state / "away")
    open_known_ledger(config, "one")[0].session.close()
    (config.state / "ledger.mark").write_bytes(mark)
    (config.state / "away").rename(config.state / "table.ledger")


@pytest.mark.parametrize(
    ("replace", "why"),
    [
        (missing, "every budget would start again"),
        (empty, "every budget would start again"),
        (older, "lacks the last 1 of 2 operations"),
        (another, "it is another ledger"),
    ],
)
def test_a_start_on_a_ledger_that_has_forgotten_something_is_refused(
    drawn: Config,
    replace: Callable[[Config], None],
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one line with the way out, again and again, and nothing is made in its place."""
    replace(drawn)
    before = ledger_file(drawn).read_bytes() if ledger_file(drawn).exists() else None
    for _ in range(2):
        assert main.main(["-c", str(drawn.path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line
        assert "crewgate ledger accept" in line
    after = ledger_file(drawn).read_bytes() if ledger_file(drawn).exists() else None
    assert before == after


def test_a_machine_goes_on_with_its_ledger(drawn: Config) -> None:
    """And with one that has counted more than the mark says."""
    ledger, table, _ = begun(drawn)
    draw(ledger, A, 2, 1)
    table.close()
    ledger.session.close()
    ledger, table, _ = begun(drawn)
    assert read_mark(drawn.state).count == 3  # type: ignore[union-attr]
    table.close()
    ledger.session.close()


def test_the_table_knows_of_what_the_disk_has_not_heard(
    drawn: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """The agent was killed before the mark was written; its table still stands."""
    ledger, table, keeper = begun(drawn)
    draw(ledger, A, 2, 1)
    keeper.mark_table()
    table.close()
    ledger.session.close()
    older_by_one = drawn.state / "copy.db"
    assert read_mark(drawn.state).count == 2  # type: ignore[union-attr]
    ledger, _ = open_known_ledger(drawn, "one")
    ledger.session.rows("UPDATE holder SET beat = 2")
    ledger.session.checkpoint()
    shutil.copy(ledger_file(drawn), older_by_one)
    ledger.session.close()
    (drawn.state / "holder").write_text("one\n")
    for _ in range(2):
        assert main.main(["-c", str(drawn.path)]) == 2
        assert "lacks the last 1 of 3 operations" in capsys.readouterr().err
    assert known_with_table(drawn.state).count == 3  # type: ignore[union-attr]


def test_an_agent_that_runs_is_not_asked_behind_its_back(drawn: Config) -> None:
    """Its table is locked: end the agent before you accept another ledger."""
    ledger, table, _ = begun(drawn)
    with pytest.raises(
        TableError, match="another agent uses this state folder; end its `crewgate serve` first"
    ):
        known_with_table(drawn.state)
    table.close()
    ledger.session.close()


async def test_the_mark_follows_the_ledger(
    config: Config,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the table at once, on the disk some seconds later; never ahead of a commit."""

    async def at_once(act: Callable[[], None]) -> None:
        act()

    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)  # a thread's time is not the clock's
    ledger, table, keeper = begun(config)
    family(lambda: ledger)
    nursery.start_soon(keeper.keep_for_ever)
    draw(ledger, A, 1, 60)
    keeper.on_transaction()
    assert (table.ledger_count, keeper.mark.count) == (1, 0)
    await trio.sleep(limits.ledger_mark_seconds + 1)
    assert read_mark(config.state) == keeper.mark
    assert keeper.mark.count == 1
    nursery.cancel_scope.cancel()
    table.close()
    ledger.session.close()


def test_a_disk_that_cannot_keep_it_is_said_once(
    config: Config, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And calls go on."""
    ledger, table, keeper = begun(config)
    family(lambda: ledger)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "ledger.mark")

    with monkeypatch.context() as patch:
        patch.setattr("crewgate.agent.budget.ledger_mark_keeper.write_mark", fail)
        for seq in (1, 2):
            draw(ledger, A, seq, 1)
            keeper.write()
    assert sum("No space left" in text for text in log_lines) == 1
    keeper.write()
    assert read_mark(config.state).count == 2  # type: ignore[union-attr]
    table.close()
    ledger.session.close()


def test_a_person_accepts_it_and_the_old_leases_are_burned(drawn: Config) -> None:
    """No agent goes on with a table of the older term."""
    (drawn.state / "holder").write_text("one\n")
    older(drawn)
    done = CliRunner().invoke(command, ["ledger", "accept", "-c", str(drawn.path)])
    assert done.exit_code == 0, done.output
    said = f"Accepted ledger {drawn.ledger}. Until now, `crewgate serve` refused it: it is an older"
    assert said in done.stderr
    assert "lacks the last 1 of 2 operations" in done.stderr
    life = OwnedTable.open(str(drawn.state / "table"))
    before = life.life
    life.close()
    ledger, table, _ = begun(drawn)
    assert table.life != before
    draw(ledger, A, 1, 1, boot=table.life)
    assert {each.key: each.burned for each in ledger.report()}[A] == 60
    table.close()
    ledger.session.close()
    again = CliRunner().invoke(command, ["ledger", "accept", "-c", str(drawn.path)])
    assert (again.exit_code, "Nothing to accept" in again.stderr) == (0, True)


@pytest.mark.parametrize(
    ("changes", "said_so"),
    [
        ({}, ""),
        ({"count": 1}, ""),
        ({"term": -1, "count": 99}, ""),
        ({"count": 99}, "lacks the last 97 of 99 operations"),
        ({"ledger": "other"}, "it is another ledger"),
        ({"term": 1}, "a person has accepted another state of it since"),
    ],
)
def test_the_others_know_of_more(
    drawn: Config,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, int | str],
    said_so: str,
) -> None:
    """A whole disk was put back from a copy: it ends, and does not start before a person says."""
    (drawn.state / "holder").write_text("one\n")
    ledger, table, keeper = begun(drawn)
    ended: list[bool] = []
    keeper.on_refusal = lambda: ended.append(True)
    keeper.check_peer_mark(msgspec.structs.replace(keeper.mark, **changes))
    keeper.write()
    assert keeper.mark.count == (changes.get("count", 2) if said_so else 2)
    table.close()
    ledger.session.close()
    assert (said_so in keeper.refusal, ended) == (True, [True] if said_so else [])
    if "lacks" in said_so or "another ledger" in said_so:
        assert main.main(["-c", str(drawn.path)]) == 2
        assert said_so in capsys.readouterr().err
        done = CliRunner().invoke(command, ["ledger", "accept", "-c", str(drawn.path)])
        assert said_so in done.stderr


def test_a_new_name_is_another_account(drawn: Config) -> None:
    """What the others kept under the old one is no reproach."""
    ledger, mark = open_known_ledger(drawn, "two")
    assert (mark.holder, mark.count, mark.term) == ("two", 0, 1)
    ledger.session.close()


def on_a_server(config: Config, durability: Durability = "single") -> Config:
    """The same ledger, as one that no machine's disk has."""
    ledger = msgspec.structs.replace(
        config.ledger, engine="postgresql", file=None, durability=durability
    )
    return msgspec.structs.replace(config, ledger=ledger)


def test_an_older_mark_that_is_being_written_is_not_the_last(
    drawn: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' word comes while a thread writes: the disk has their word in the end."""
    ledger, table, keeper = begun(drawn)
    known = msgspec.structs.replace(keeper.mark, count=99)
    draw(ledger, A, 2, 1)

    def slow(state: Path, mark: LedgerMark) -> None:
        if not keeper.refusal:
            keeper.check_peer_mark(known)
        write_mark(state, mark)

    monkeypatch.setattr("crewgate.agent.budget.ledger_mark_keeper.write_mark", slow)
    keeper.write()
    assert read_mark(drawn.state).count == 3  # type: ignore[union-attr]
    keeper.write()
    assert read_mark(drawn.state) == known
    table.close()
    ledger.session.close()


@pytest.mark.parametrize("is_renamed", [False, True])
def test_a_server_s_ledger_that_has_all_is_no_older_one(drawn: Config, *, is_renamed: bool) -> None:
    """Only this machine's disk has forgotten: it goes on, its leases too, and others hear of it."""
    ledger, table, _ = begun(drawn)
    table.close()
    if is_renamed:
        (drawn.state / "ledger.mark").unlink()
        (drawn.state / "table.ledger").unlink()
        ledger, mark = open_known_ledger(drawn, "two")
    else:
        mark = read_mark(drawn.state)  # type: ignore[assignment]
    table, _ = open_table(drawn, mark.drawn_as)
    keeper = LedgerMarkKeeper(on_a_server(drawn), ledger, table, mark)
    told: list[LedgerMark] = []
    keeper.on_written = told.append
    keeper.check_peer_mark(LedgerMark(mark.ledger, "one", 2, 7))
    keeper.write()
    keeper.write()
    expected = msgspec.structs.replace(mark, term=8 if is_renamed else 7)
    assert (keeper.refusal, told, read_mark(drawn.state)) == ("", [expected], expected)
    life = table.life
    table.close()
    after, is_new = open_table(drawn, expected.drawn_as)
    assert (after.life, is_new) == (life, False)
    after.close()
    keeper.check_peer_mark(LedgerMark(mark.ledger, "one", 3, 9))
    assert "lacks the last 1 of 3 operations" in keeper.refusal
    ledger.session.close()


def test_a_new_name_after_the_state_folder_was_lost_is_no_reproach(drawn: Config) -> None:
    """The ledger still has all that this machine told it under its old one, also in a file."""
    shutil.move(drawn.state / "ledger.mark", drawn.state / "away")
    (drawn.state / "table.ledger").unlink()
    ledger, mark = open_known_ledger(drawn, "two")
    table, _ = open_table(drawn, mark.drawn_as)
    keeper = LedgerMarkKeeper(drawn, ledger, table, mark)
    keeper.check_peer_mark(LedgerMark(mark.ledger, "one", 2))
    keeper.write()
    assert (keeper.refusal, keeper.mark) == ("", LedgerMark(mark.ledger, "two", 0, 1))
    keeper.check_peer_mark(LedgerMark(mark.ledger, "one", 3, 1))
    assert "lacks the last 1 of 3 operations" in keeper.refusal
    table.close()
    ledger.session.close()


def test_of_a_trusted_server_nobody_asks_what_it_has_forgotten(file: Path) -> None:
    """After a failover that lost commits the machine starts, and its leases go on."""
    file.write_text(file.read_text() + SMALL)
    url = server().new_database("trusted")
    with closing(PostgreSQLSession(url)) as session:
        schema.migrate(session)
    config = ActiveConfig(file).config
    config = msgspec.structs.replace(
        config, ledger=LedgerConfig("postgresql", url=url, durability="trusted")
    )
    ledger, table, keeper = begun(config)
    family(lambda: ledger)
    for seq in (1, 2):
        draw(ledger, A, seq, 1)
    keeper.write()
    keeper.mark_table()
    ledger.session.rows("UPDATE holder SET beat = 1")
    ledger.session.close()
    known, life = keeper.mark, table.life
    table.close()
    require(config.ledger, known, find_ledger(config.ledger))
    ledger, table, keeper = begun(config)
    require_table(config, table, msgspec.structs.replace(keeper.mark, count=0))
    assert (keeper.mark.count, table.life, known.count) == (1, life, 2)
    keeper.check_peer_mark(known)
    assert keeper.refusal == ""
    keeper.check_peer_mark(msgspec.structs.replace(known, ledger="other"))
    assert "it is another ledger" in keeper.refusal
    single = msgspec.structs.replace(config.ledger, durability="single")
    with pytest.raises(LedgerReplacedError, match="lacks the last 1 of 2 operations"):
        require(single, known, HolderOperationCounts(known.ledger, {"one": 1}))
    table.close()
    ledger.session.close()
