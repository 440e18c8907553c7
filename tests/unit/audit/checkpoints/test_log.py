"""The log of the checkpoints goes on after every end, and shows where it was cut."""

import os
from pathlib import Path

import pytest
from signed_audit import KEY, OTHER_KEY, Machine, kinds, verified

from crewgate import limits
from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.checkpoint import Checkpoint, sign
from crewgate.audit.checkpoints.findings import FindingKind, HeldCheckpoint
from crewgate.audit.checkpoints.log import log_files
from crewgate.audit.checkpoints.verification import verify


def test_the_log_forgets_its_oldest_files(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file of it begins with all marks."""
    monkeypatch.setattr(limits, "audit_checkpoint_file_bytes", 1500)
    monkeypatch.setattr(limits, "audit_checkpoint_files_max", 3)
    for _ in range(30):
        machine.write(1)
        machine.take()
    machine.end()
    assert len(log_files(machine.folder)) == 3
    found = verified(machine.folder)
    assert found.is_whole
    assert found.first > 1
    assert found.lines == machine.numbers
    assert machine.start().take() is False


def test_a_log_that_was_cut_before_a_start_stays_cut(machine: Machine) -> None:
    """The next agent goes on after the checkpoint that the state folder has."""
    for _ in range(3):
        machine.write(1)
        machine.take()
    machine.end()
    (log,) = log_files(machine.folder)
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    machine.writers = [machine.writer("worker-2"), machine.writer("worker-3")]
    machine.keeper = machine.start()
    machine.write()
    machine.take()
    found = verified(machine.folder).findings
    assert [each.why for each in found] == ["checkpoints 1 and 5 do not follow each other"]


def test_a_log_that_was_removed_before_a_start_stays_missing(machine: Machine) -> None:
    machine.write()
    machine.take()
    machine.end()
    for log in log_files(machine.folder):
        log.unlink()
    path = audit_folder.files(machine.folder)[0]
    path.write_bytes(path.read_bytes().replace(b"x", b"y"))
    machine.keeper = machine.start()
    machine.take()
    found = verified(machine.folder).findings
    assert [each.why for each in found] == ["the log lacks the checkpoints before number 3"]


def test_a_log_that_is_removed_while_it_is_written_begins_again(machine: Machine) -> None:
    machine.write()
    machine.take()
    (log,) = log_files(machine.folder)
    log.unlink()
    machine.write()
    machine.take()
    (found,) = verified(machine.folder).findings
    assert found.why == "the log lacks the checkpoints before number 2"


def test_a_clock_that_is_set_back_leaves_the_log_in_order(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "audit_checkpoint_file_bytes", 1)
    for _ in range(4):
        machine.write()
        machine.take()
        machine.keeper.close()
        machine.pass_time(-7200.0)
        machine.keeper = machine.start()
        machine.rotate()
    machine.end()
    found = verified(machine.folder)
    assert (found.findings, found.lines) == ([], machine.numbers)
    assert len(log_files(machine.folder)) == 5


def test_each_start_goes_on_with_the_last_file(machine: Machine) -> None:
    for _ in range(5):
        machine.write()
        machine.take()
        machine.keeper = machine.start()
    machine.end()
    assert verified(machine.folder).is_whole
    assert len(log_files(machine.folder)) == 1


def test_a_configuration_may_name_another_folder_and_the_first_again(tmp_path: Path) -> None:
    """Its checkpoints have other numbers, so those that other machines keep are not missing."""
    one = Machine(tmp_path / "one")
    one.write()
    one.take()
    kept = [one.keeper.newest]
    two = Machine(tmp_path / "two")
    assert verified(two.folder).is_whole
    two.write()
    two.take()
    kept.append(two.keeper.newest)
    again = one.start()
    one.write()
    again.take()
    kept.append(again.newest)
    assert [each.number for each in kept if each] == [1, 2, 3]
    held = [HeldCheckpoint("gw-2", *each) for each in kept if each]
    for folder in (one.folder, two.folder):
        others = [one.folder, two.folder]
        assert verify(folder, {KEY.public}, held, is_pruned=False, others=others).is_whole
    assert not verify(one.folder, {KEY.public}, held, is_pruned=False).is_whole


def test_names_with_impossible_times_stop_nobody(machine: Machine) -> None:
    machine.write()
    machine.take()
    name = "worker-9-20269999T000000.000000Z.jsonl"
    (machine.folder / name).write_bytes(b"{}\n")
    assert {each.file for each in verified(machine.folder).findings} == {name}
    machine.write()
    machine.take()
    (machine.folder / "checkpoints-99991231T235959.999999Z.log").touch()
    machine.keeper = machine.start()
    machine.write()
    with pytest.raises(OSError, match="move it away"):
        machine.take()


@pytest.mark.parametrize("part", [0, 20, None])
def test_a_disk_that_takes_no_checkpoint_for_long_costs_no_older_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, part: int | None
) -> None:
    """It may take none, a part, or all of a line, and say that it failed."""
    monkeypatch.setattr(limits, "audit_checkpoint_files_max", 3)
    for _ in range(4):
        machine.write()
        machine.take()
        machine.keeper.close()

    def fail(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:part])
        raise OSError(28, "No space left on device")

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr("crewgate.audit.checkpoints.log.append", fail)
            for _ in range(5):
                machine.write(1)
                with pytest.raises(OSError, match="No space left"):
                    machine.keeper.take()
                assert verified(machine.folder).is_whole
        machine.write()
        machine.take()
    machine.end()
    found = verified(machine.folder)
    assert (found.findings, found.first, found.lines) == ([], 4, machine.numbers)
    assert len(log_files(machine.folder)) == 3


def test_what_is_no_checkpoint_holds_nobody(machine: Machine) -> None:
    machine.write()
    machine.take()
    nested = b'{"x":' + b"[" * 100_000 + b',"signature":"' + b"A" * 86 + b'"}\n'
    with log_files(machine.folder)[-1].open("ab") as file:
        file.write(nested)
    os.mkfifo(machine.folder / f"checkpoints-{machine.now:%Y%m%dT%H%M%S.%fZ}.log")
    machine.pass_time()
    machine.keeper = machine.start()
    machine.write()
    machine.take()
    (found,) = verified(machine.folder).findings
    assert found.why == "a line is no checkpoint: it is nested too deep"


def test_a_number_that_a_person_has_made_up_is_not_gone_on_with(machine: Machine) -> None:
    """The other machines take no number above a bound."""
    machine.write()
    machine.take()
    made_up = Checkpoint(number=2**53, time=machine.now, key=OTHER_KEY.public)
    with log_files(machine.folder)[-1].open("ab") as file:
        file.write(sign(made_up, OTHER_KEY) + b"\n")
    machine.keeper = machine.start()
    machine.write()
    machine.take()
    assert machine.keeper.newest is not None
    assert machine.keeper.newest.number == 2
    assert kinds(machine.folder) == {FindingKind.LOG}
