"""Which table an agent goes on with, and what its machine is called in the ledger."""

from pathlib import Path

import msgspec
import pytest

from crewgate.agent.active_config import ActiveConfig
from crewgate.agent.table_setup import holder_name, open_table
from crewgate.config import Config


@pytest.fixture
def config(file: Path) -> Config:
    """With a table that is small enough to be made often."""
    small = "[table]\nbranches = 256\nrevocations = 256\nreservations = 256\n"
    file.write_text(file.read_text() + small)
    return ActiveConfig(file).config


def test_a_table_goes_on_with_the_ledger_that_its_leases_are_of(
    config: Config, log_lines: list[str]
) -> None:
    """Another ledger under it knows nothing of them: a new table, and said."""
    lives = []
    for ledger in ("one", "one", "two", "two"):
        table, new = open_table(config, ledger)
        lives.append((table.life, new))
        table.close()
    assert [new for _, new in lives] == [True, False, True, False]
    assert lives[0][0] == lives[1][0] != lives[2][0] == lives[3][0]
    assert ["another ledger" in text for text in log_lines] == [False, True]


def test_a_machine_keeps_its_name(config: Config) -> None:
    """Two nodes of one name are two holders; one that is asked again is the same."""
    name = holder_name(config)
    assert holder_name(config) == name
    (config.state / "holder").unlink()
    assert holder_name(config) != name
    (config.state / "holder").write_text("")  # a disk that was full
    assert holder_name(config)


def test_a_name_that_was_given_outlives_the_state_folder(config: Config) -> None:
    """The configuration has it, and the ledger knows the machine by it."""
    named = msgspec.structs.replace(config, name="west-1")
    (config.state / "holder").write_text("node-0011\n")
    assert holder_name(named) == "west-1"
