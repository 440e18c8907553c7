"""An honest audit verifies, whatever ended its processes; a changed one does not."""

import os
import random
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from signed_audit import BEGIN, OTHER_KEY, Machine, kinds, verified

from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.checkpoint import Checkpoint, read, sign
from crewgate.audit.checkpoints.log import log_files
from crewgate.audit.checkpoints.verification import (
    FindingKind,
)

TAMPERINGS = 1000


def a_day(machine: Machine) -> None:
    """Lines, rotations, kills of each process and of the agent."""
    for round_ in range(6):
        machine.write()
        machine.take()
        if round_ % 2:
            machine.rotate()
        if round_ == 3:
            machine.kill(0)
        if round_ == 4:
            machine.write()  # which the agent that is killed has not signed
            machine.keeper = machine.start()
    machine.end()


def test_an_honest_audit_is_as_it_was_signed(machine: Machine) -> None:
    a_day(machine)
    found = verified(machine.folder)
    assert (found.findings, found.unsigned, found.gone) == ([], [], 0)
    assert found.lines == machine.numbers
    assert found.files == len(audit_folder.files(machine.folder)) > 6
    assert found.bytes == audit_folder.size(machine.folder)
    assert (found.first, found.since) == (1, BEGIN)
    assert all(not machine.keeper.changed for _ in range(1))


def test_checkpoints_of_another_key_are_one_finding_in_each_run(tmp_path: Path) -> None:
    """A run ends where a number is missing, or another finding follows."""
    machine = Machine(tmp_path / "audit", key=OTHER_KEY)
    for _ in range(7):
        machine.write(1)
        machine.take()
    (log,) = log_files(machine.folder)
    whole = log.read_bytes().splitlines(keepends=True)
    end = f"signed by another key, {OTHER_KEY.public}; compare it with the key you noted"
    found = [(each.file, each.why) for each in verified(machine.folder).findings]
    assert found[0] == (log.name, f"checkpoints 1 to 7 are {end}")
    assert len(found) == 2  # the other one: the state folder knows a checkpoint of the machine
    log.write_bytes(b"".join([*whole[:3], b"{}\n", whole[3], *whole[5:]]))
    whys = [each.why for each in verified(machine.folder).findings]
    assert [whys[0], *whys[2:-1]] == [
        f"checkpoints 1 to 3 are {end}",
        f"checkpoint 4 is {end}",
        f"checkpoints 6 to 7 are {end}",
    ]
    assert "a line is no checkpoint" in whys[1]


def test_what_nobody_has_signed_yet_is_said_and_is_no_finding(machine: Machine) -> None:
    """Of the last seconds, or of a machine that was not started again."""
    machine.write()
    machine.keeper.take()
    machine.write(3)
    machine.rotate()
    machine.write(2)
    found = verified(machine.folder)
    assert found.is_whole
    assert sorted(each.lines for each in found.unsigned) == [2, 2, 3, 3]
    assert verified(machine.folder).lines == 10
    machine.pass_time()
    machine.start().take()
    assert (verified(machine.folder).unsigned, verified(machine.folder).findings) == ([], [])


def test_an_audit_that_nobody_has_signed(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "audit")
    machine.write()
    found = verified(machine.folder)
    assert (found.checkpoints, found.since, len(found.unsigned)) == (0, None, 2)


def test_a_torn_line_in_the_log_or_in_a_file_is_honest(machine: Machine) -> None:
    """A full disk or a power loss leaves such lines, and the log goes on in another file."""
    machine.write()
    machine.take()
    machine.keeper.close()
    with log_files(machine.folder)[-1].open("ab") as file:
        file.write(b'{"number":2,"time":')
    os.write(machine.writers[0]._descriptor, b'{"number":')
    machine.keeper = machine.start()
    machine.write()
    machine.take()
    machine.end()
    assert verified(machine.folder).is_whole
    assert len(log_files(machine.folder)) == 2


def test_retention_may_delete_the_oldest_files(machine: Machine) -> None:
    for _ in range(5):
        machine.write()
        machine.rotate()
        machine.take()
    machine.take()
    total = audit_folder.size(machine.folder)
    removed = audit_folder.prune(machine.folder, total // 2)
    assert len(removed) > 2
    assert verified(machine.folder, is_pruned=True).gone == len(removed)
    machine.take()  # which notes them
    machine.end()
    found = verified(machine.folder, is_pruned=True)
    assert (found.findings, found.gone) == ([], len(removed))
    assert kinds(machine.folder) == {FindingKind.REMOVED}  # without retention


def test_retention_may_delete_newer_files_than_one_that_is_in_use(machine: Machine) -> None:
    """A process that writes little has a file for long, which then stands there as the oldest."""
    machine.write()
    machine.take()
    idle, busy = machine.writers
    for _ in range(3):
        busy._rotate()
        busy.write_lines([b'{"number":0}\n'])
        machine.take()
    removed = audit_folder.prune(machine.folder, idle._size + 30)
    assert removed
    assert all(path.name > idle.path.name for path in removed)  # type: ignore[union-attr]
    machine.take()
    machine.rotate()
    for _ in range(3):
        machine.take()
        assert verified(machine.folder, is_pruned=True).findings == []


def test_a_file_that_retention_would_have_deleted_later_is_missed_for_ever(
    machine: Machine,
) -> None:
    for _ in range(5):
        machine.write()
        machine.rotate()
        machine.take()
    machine.take()
    machine.take()
    removed = [path for path in audit_folder.files(machine.folder) if path.stat().st_size][4]
    removed.unlink()
    assert kinds(machine.folder, is_pruned=True) == {FindingKind.REMOVED}
    machine.take()
    machine.take()
    audit_folder.prune(machine.folder, 0)
    machine.take()
    (found,) = verified(machine.folder, is_pruned=True).findings
    assert (found.kind, found.file) == (FindingKind.REMOVED, removed.name)


def test_a_writer_may_delete_a_file_without_lines(machine: Machine) -> None:
    """It does so if its disk does not take the first line. A file may be without lines for long."""
    machine.take()
    machine.take()
    machine.write()
    assert verified(machine.folder).is_whole
    machine.take()
    machine.rotate()
    machine.take()
    for writer in machine.writers:
        writer._discard()
    machine.take()
    machine.end()
    assert verified(machine.folder).is_whole


def _some_file(folder: Path, chance: random.Random) -> Path:
    return chance.choice([path for path in audit_folder.files(folder) if path.stat().st_size])


def _change_a_byte(folder: Path, chance: random.Random) -> None:
    path = _some_file(folder, chance)
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    path.write_bytes(data)


def _remove_a_line(folder: Path, chance: random.Random) -> None:
    path = _some_file(folder, chance)
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[chance.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def _insert_a_line(folder: Path, chance: random.Random) -> None:
    path = _some_file(folder, chance)
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(chance.randrange(len(lines) + 1), b'{"kind":"call","forged":true}\n')
    path.write_bytes(b"".join(lines))


def _swap_two_lines(folder: Path, chance: random.Random) -> None:
    path = chance.choice(
        [each for each in audit_folder.files(folder) if each.read_bytes().count(b"\n") > 1]
    )
    lines = path.read_bytes().splitlines(keepends=True)
    one, other = chance.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    path.write_bytes(b"".join(lines))


def _cut_a_tail(folder: Path, chance: random.Random) -> None:
    path = _some_file(folder, chance)
    os.truncate(path, chance.randrange(path.stat().st_size))


def _remove_a_file(folder: Path, chance: random.Random) -> None:
    _some_file(folder, chance).unlink()


def _insert_a_file(folder: Path, chance: random.Random) -> None:
    source = _some_file(folder, chance)
    start = BEGIN + timedelta(seconds=chance.randrange(1, 300))
    shutil.copy(source, folder / f"worker-7-{start:%Y%m%dT%H%M%S.%fZ}.jsonl")


def _put_a_file_in_place_of_another(folder: Path, chance: random.Random) -> None:
    one, other = chance.sample(
        [path for path in audit_folder.files(folder) if path.stat().st_size], 2
    )
    shutil.copy(one, other)


def _remove_a_checkpoint(folder: Path, chance: random.Random) -> None:
    path = chance.choice(log_files(folder))
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[chance.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def _cut_audit_and_log(folder: Path, chance: random.Random) -> None:
    """As if the machine had been killed some time before."""
    last = log_files(folder)[-1]
    os.truncate(last, chance.randrange(last.stat().st_size))
    _cut_a_tail(folder, chance)


def _sign_again_with_another_key(folder: Path, chance: random.Random) -> None:
    path = chance.choice(log_files(folder))
    lines = path.read_bytes().splitlines()
    at = chance.randrange(len(lines))
    found = read(lines[at]).checkpoint
    lines[at] = sign(
        Checkpoint(
            number=found.number, time=found.time, machine=found.machine, key=OTHER_KEY.public,
            before=found.before, is_full=found.is_full, files=found.files, gone=found.gone,
        ),
        OTHER_KEY,
    )  # fmt: skip
    path.write_bytes(b"\n".join([*lines, b""]))


def _change_a_checkpoint(folder: Path, chance: random.Random) -> None:
    path = chance.choice(log_files(folder))
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data))
    data[at] = ord("7") if data[at] != ord("7") else ord("8")
    path.write_bytes(data)


TAMPER: list[Callable[[Path, random.Random], None]] = [
    _change_a_byte, _remove_a_line, _insert_a_line, _swap_two_lines, _cut_a_tail, _remove_a_file,
    _insert_a_file, _put_a_file_in_place_of_another, _remove_a_checkpoint, _cut_audit_and_log,
    _sign_again_with_another_key, _change_a_checkpoint,
]  # fmt: skip


def test_each_of_a_thousand_tamperings_is_found(tmp_path: Path, machine: Machine) -> None:
    a_day(machine)
    assert verified(machine.folder).is_whole
    copy, missed = tmp_path / "copy", []
    for number in range(TAMPERINGS):
        chance = random.Random(number)
        tamper = TAMPER[number % len(TAMPER)]
        shutil.copytree(machine.folder, copy)
        tamper(copy, chance)
        if verified(copy, known=machine.folder).is_whole:
            missed.append((number, tamper.__name__))
        shutil.rmtree(copy)
    assert missed == []


def test_a_finding_says_where_and_when(machine: Machine) -> None:
    """Between two checkpoints: the lines before are as they were signed."""
    for _ in range(3):
        machine.write(2)
        machine.take()
    path = audit_folder.files(machine.folder)[0]
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third + 9] ^= 1
    path.write_bytes(data)
    (found,) = verified(machine.folder).findings
    assert (found.kind, found.file) == ("changed", path.name)
    assert (found.begin, found.end) == (third, 2 * third)
    step = timedelta(seconds=70)
    assert (found.since, found.until) == (BEGIN, BEGIN + step)
    os.truncate(path, third + 5)
    (found,) = verified(machine.folder).findings
    assert (found.kind, found.end) == ("cut", 2 * third)


def test_a_file_whose_process_has_left_it_gets_no_lines(machine: Machine) -> None:
    machine.write()
    machine.end()
    path = audit_folder.files(machine.folder)[0]
    with path.open("ab") as file:
        file.write(b"{}\n")
    machine.pass_time()
    machine.start().take()  # which signs no line that is forged
    (found,) = verified(machine.folder).findings
    assert (found.kind, found.file) == ("grown", path.name)


def test_a_restarted_agent_signs_no_changed_file(machine: Machine) -> None:
    machine.write()
    machine.take()
    path = audit_folder.files(machine.folder)[1]
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)
    machine.write()
    keeper = machine.start()
    keeper.take()
    assert [*keeper.changed] == [path.name]
    assert {each.file for each in verified(machine.folder).findings} == {path.name}


def test_an_agent_notices_a_file_that_was_cut(machine: Machine) -> None:
    machine.write()
    machine.take()
    path = audit_folder.files(machine.folder)[0]
    os.truncate(path, 10)
    machine.keeper.take()
    assert [*machine.keeper.changed] == [path.name]


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("put", [os.mkfifo, a_folder, a_link])
def test_what_is_no_file_holds_nobody(machine: Machine, put: Callable[[Path], None]) -> None:
    """The other files are still signed."""
    machine.write()
    machine.take()
    path = audit_folder.files(machine.folder)[0]
    path.unlink()
    put(path)
    late = machine.folder / f"worker-9-{machine.now:%Y%m%dT%H%M%S.%fZ}.jsonl"
    put(late)
    machine.write()
    machine.take()
    assert [*machine.keeper.changed] == [path.name, late.name]
    found = verified(machine.folder)
    assert {(each.kind, each.file) for each in found.findings} == {
        ("changed", path.name), ("inserted", late.name),
    }  # fmt: skip
    assert found.lines == 10


def test_a_file_that_is_inserted_while_the_agent_signs_is_found(machine: Machine) -> None:
    """The agent signs what stands there, and its name says that it is older."""
    a_day(machine)
    source = audit_folder.files(machine.folder)[0]
    inserted = machine.folder / f"worker-7-{BEGIN:%Y%m%dT%H%M%S.%fZ}.jsonl"
    shutil.copy(source, inserted)
    machine.keeper = machine.start()
    machine.take()
    machine.take()
    (found,) = verified(machine.folder).findings
    assert (found.kind, found.file) == ("inserted", inserted.name)


def test_a_disk_that_fails_loses_no_mark(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next checkpoint has all that the failed one should have had."""
    machine.write()
    machine.take()
    machine.write()

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="Input/output"):
            machine.keeper.take()
    machine.write()
    machine.take()
    machine.end()
    found = verified(machine.folder)
    assert (found.is_whole, found.lines) == (True, machine.numbers)
