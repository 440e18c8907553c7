"""Which table an agent goes on with, and what its machine is called in the ledger."""

import hashlib
import os
from pathlib import Path

import msgspec
import proofs
import pytest
import tokens
from crew_world import World
from gate_world import NS, Gatehouse
from proofs import Ed25519Client

from crewgate._native.presenter import Presenter
from crewgate._native.proof import Origin, Proof
from crewgate._native.proof_windows import open_windows
from crewgate.agent.active_config import ActiveConfig
from crewgate.agent.table_setup import holder_name, open_table, state_folder
from crewgate.config import Config
from crewgate.core.reasons import Reason
from crewgate.errors import TableError


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
    path, why = config.state / "table", "the leases of the old table do not fit this ledger"
    assert log_lines == [
        f"{path}: a new table",
        f"{path}: a new table, because {why}; the ledger burns the leases of the old table",
    ]


@pytest.mark.parametrize(
    ("ahead", "reason"),
    [(0, None), (5000, Reason.USE_NONCE)],
    ids=["the clock goes on", "it is behind"],
)
def test_a_new_table_knows_the_newest_time_of_its_machine(
    config: Config, ahead: int, reason: Reason | None
) -> None:
    """An earlier table may have seen proofs of until then; the audit is written all the time."""
    client, world = Ed25519Client(), World.make()
    config.audit.folder.mkdir(parents=True)
    line = config.audit.folder / "worker-0-x.jsonl"
    line.touch()
    os.utime(line, (world.now + ahead, world.now + ahead))
    table, _ = open_table(config, "one")
    house = Gatehouse(world, table=table)
    table.extend_freshness(2**62, 2**62)
    open_windows(table, world.now, house.boot_ns // NS)
    house.boot_ns += 600 * NS
    house.at(600)
    open_windows(table, world.now + 600, house.boot_ns // NS)
    token = world.mint(cnf={"jkt": proofs.thumbprint(client)})
    ath = tokens.base64url(hashlib.sha256(token).digest()).decode()
    text = proofs.proof(client, iat=world.now + 600, ath=ath)
    proof = Proof(text, b"POST", Origin("https", b"gateway.example"), b"/search/web")
    assert house.reason(token, presenter=Presenter(proof=proof)) is reason
    table.close()


def test_a_state_folder_that_cannot_be_made_is_told_with_two_ways_out() -> None:
    """Nothing creates a folder in /proc."""
    with pytest.raises(TableError) as raised:
        state_folder(Path("/proc/x"))
    assert str(raised.value) == (
        "state folder /proc/x: No such file or directory: create it, or set `state` to another "
        "folder"
    )


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
