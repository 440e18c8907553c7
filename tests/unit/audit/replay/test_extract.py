"""What a machine states about the lines of a run: which checkpoints cover them, and which none."""

from collections import Counter
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from audit_records import ROOT, permit
from signed_audit import BEGIN, KEY, OTHER_KEY, Machine

from crewgate import limits
from crewgate.audit.checkpoints import checkpoint
from crewgate.audit.checkpoints.log import log_files
from crewgate.audit.replay import coverage, statement
from crewgate.audit.replay.extract import MachineExtract, extract, pages, whole
from crewgate.audit.replay.question import ReplayFilter
from crewgate.audit.replay.run_lines import RunLine, RunLines
from crewgate.ipc.machine_messages import encode

QUESTION = ReplayFilter(ROOT, "article", is_signed=True)


def covers(found: MachineExtract) -> list[str]:
    return [line.cover for line in found.lines]


def extracted(machine: Machine) -> MachineExtract:
    return extract(machine.folder, QUESTION, KEY, "gw-1", now=BEGIN)


def call(machine: Machine, second: int, writer: int = 0) -> None:
    assert machine.writers[writer].write(permit(second, ROOT, "writer", "search.web", 5))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "audit")


def test_each_line_is_covered_by_a_checkpoint_that_has_its_file(machine: Machine) -> None:
    call(machine, 1)
    machine.take()
    call(machine, 2)
    call(machine, 3, 1)
    machine.take()
    machine.write(1)  # lines of others
    machine.take()
    call(machine, 4)
    found = extracted(machine)
    # One checkpoint proves all lines of a file before it.
    assert covers(found) == ["2", "2", "2", "unsigned"]
    stated = statement.read(found.statement)
    assert stated.is_signed
    assert stated.statement.newest == 3
    assert stated.statement.unsigned == 1
    [signed] = found.checkpoints
    assert checkpoint.read(signed.encode()).digest == stated.statement.checkpoints[0].digest


def test_lines_stay_proven_after_rotation_kill_and_restart(machine: Machine) -> None:
    call(machine, 1)
    machine.take()
    machine.rotate()
    call(machine, 2)
    machine.kill(0)
    call(machine, 3)
    machine.end()
    machine.keeper = machine.start()
    machine.take()
    assert Counter(covers(extracted(machine))) == {"1": 1, "2": 2}


def test_a_line_before_a_change_stays_proven(machine: Machine) -> None:
    for second in range(1, 4):
        call(machine, second)
        machine.take()
    [path] = [path for path in machine.folder.glob("worker-0-*") if path.stat().st_size]
    lines = path.read_bytes().splitlines(keepends=True)
    for at, expected in enumerate(
        (["changed"] * 3, ["1", "changed", "changed"], ["2", "2", "changed"])
    ):
        changed = lines[at].replace(b'"cost_micro":5', b'"cost_micro":6')
        path.write_bytes(b"".join([*lines[:at], changed, *lines[at + 1 :]]))
        found = extracted(machine)
        assert covers(found) == expected
        assert statement.read(found.statement).statement.changed == expected.count("changed")


def test_what_another_key_has_signed_covers_nothing(machine: Machine) -> None:
    """A person who can write into the folder adds a mark, for a file that they have changed."""
    call(machine, 1)
    machine.take()
    call(machine, 2)
    [path] = [path for path in machine.folder.glob("worker-0-*") if path.stat().st_size]
    [log] = log_files(machine.folder)
    data = path.read_bytes()
    mark = checkpoint.FileMark(path.name, len(data), sha256(data).hexdigest())
    forged = checkpoint.Checkpoint(number=2, time=BEGIN, key=OTHER_KEY.public, files=[mark])
    wrong = msgspec.structs.replace(forged, files=[checkpoint.FileMark(path.name, 500, "00" * 32)])
    with log.open("ab") as file:
        file.write(
            checkpoint.sign(wrong, OTHER_KEY) + b"\n" + checkpoint.sign(forged, OTHER_KEY) + b"\n"
        )
    assert covers(extracted(machine)) == ["1", "unsigned"]


def test_a_file_that_changes_between_the_two_readings_proves_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person puts a forged line there for the search, and the true one for the digest."""
    monkeypatch.setattr(coverage, "_PIECE", 7)
    for second in range(1, 4):
        call(machine, second)
    machine.take()
    [path] = [path for path in machine.folder.glob("worker-0-*") if path.stat().st_size]
    data = path.read_bytes()
    path.write_bytes(data.replace(b"request-2", b"request-7"))
    find = RunLines.read

    def find_and_restore(lines: RunLines, folder: Path) -> list[RunLine]:
        found = find(lines, folder)
        path.write_bytes(data)
        return found

    monkeypatch.setattr(RunLines, "read", find_and_restore)
    found = extracted(machine)
    assert [line.text.count("request-7") for line in found.lines] == [0, 1, 0]
    assert covers(found) == ["1", "changed", "1"]


def test_without_a_log_no_line_is_covered(machine: Machine) -> None:
    call(machine, 1)
    found = extracted(machine)
    assert covers(found) == ["unsigned"]
    assert statement.read(found.statement).statement.newest == 0


def test_nothing_is_signed_unless_somebody_asks(machine: Machine) -> None:
    call(machine, 1)
    machine.take()
    found = extract(machine.folder, QUESTION)
    assert covers(found) == [""]
    assert not found.statement
    assert not found.checkpoints


def test_no_line_of_others_is_in_it(machine: Machine) -> None:
    """The proof has the names, sizes and digests of files, and nothing of what they hold."""
    machine.write(3)
    call(machine, 1)
    machine.write(3)
    machine.take()
    assert b'"text"' not in msgspec.json.encode(extracted(machine))


def test_it_goes_in_pages_and_comes_back_whole(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for second in range(1, 40):
        call(machine, second, second % 2)
        machine.take()
    found = extracted(machine)
    for size in (200, 1000, 10**6):
        monkeypatch.setattr(limits, "replay_page_bytes_max", size)
        parts = [*pages(found)]
        decoded = [msgspec.msgpack.decode(encode(part), type=MachineExtract) for part in parts]
        assert whole(decoded, "gw-1") == found
        assert all(len(encode(part)) < limits.member_page_bytes_max for part in parts)


def test_a_page_of_the_longest_lines_and_names_fits_a_message(machine: Machine) -> None:
    text = "x" * (limits.what_if_line_bytes_max - 700)
    machine.writers[0].write(permit(1, ROOT, "writer", text, 5))
    names = {"subject": [f"{at:0128d}" for at in range(limits.replay_names_max)]}
    question = msgspec.structs.replace(QUESTION, names=names)
    assert len(msgspec.json.encode(question)) <= limits.replay_question_bytes_max
    found = extract(machine.folder, question, KEY, "gw-1")
    assert len(found.lines) == 1
    found = msgspec.structs.replace(found, names=names)
    for part in pages(found):
        assert len(encode(part)) < limits.member_page_bytes_max - limits.claim_chars_max


def test_a_checkpoint_that_is_too_long_is_named_only(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(machine, 1)
    machine.take()
    monkeypatch.setattr(limits, "replay_checkpoint_bytes_max", 100)
    found = extracted(machine)
    assert covers(found) == ["1"]
    assert not found.checkpoints
    assert len(statement.read(found.statement).statement.checkpoints) == 1
