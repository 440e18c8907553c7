"""An exported replay proves its lines: an honest one verifies, and each change to it is found."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from audit_records import ROOT, permit
from random_runs import CREW, Site, site
from search_depth import deep
from signed_audit import KEY, OTHER_KEY, Machine

from crewgate import limits
from crewgate.audit.replay import statement, verification
from crewgate.audit.replay.export_document import ExportDocument, document
from crewgate.audit.replay.export_html import DATA_END, DATA_START, html
from crewgate.audit.replay.extract import extract
from crewgate.audit.replay.question import ReplayFilter
from crewgate.audit.replay.run_replay import RunReplay, merged
from crewgate.audit.replay.timeline import timeline
from crewgate.audit.replay.verification import ExportReport, verify_export
from crewgate.cli.output import export_report
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.cluster_view import SilentMachine
from crewgate.version import __version__

KEYS = [KEY.public]


def export(made: Site) -> ExportDocument:
    return document(made.replay())


def keys_of(found: ExportDocument) -> list[str]:
    """The keys that have signed its parts."""
    return [statement.read(each.statement).statement.key for each in found.machines]


def verified(found: ExportDocument, keys: list[str] | None = None) -> ExportReport:
    return verify_export(html(found), keys_of(found) if keys is None else keys)


def shown_anew(found: ExportDocument) -> ExportDocument:
    """With the steps of its lines, as a careful forger writes it."""
    return msgspec.structs.replace(found, timeline=timeline(merged(found.machines), found.run))


@pytest.mark.parametrize("seed", range(deep(15)))
def test_an_honest_export_verifies(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    made = site(random, tmp_path, random.choice([3, 30, 150]), machines=random.randrange(1, 4))
    found = export(made)
    report = verified(found)
    assert report.findings == []
    assert report.is_proven
    assert report.compares_page
    assert sum(each.lines for each in report.machines) == len(found.timeline.steps)
    assert not any(each.changed for each in report.machines)
    assert html(found) == html(export(made))


# Each changes an export in one place, or returns None if it has no such place.
Change = Callable[[Random, dict[str, Any]], object]


def flip(random: Random, text: str) -> str:
    """The text with another character at one place."""
    at = random.randrange(len(text))
    return (
        text[:at] + random.choice([each for each in "aZ09_:" if each != text[at]]) + text[at + 1 :]
    )


def some_machine(random: Random, data: dict[str, Any]) -> dict[str, Any]:
    return random.choice([each for each in data["machines"] if each["lines"]])


def some_line(random: Random, data: dict[str, Any]) -> list[Any]:
    return random.choice(some_machine(random, data)["lines"])


def line_text(random: Random, data: dict[str, Any]) -> None:
    line = some_line(random, data)
    line[3] = flip(random, line[3])


def line_cost(random: Random, data: dict[str, Any]) -> None:
    line = some_line(random, data)
    record = msgspec.json.decode(line[3])
    record["cost_micro"] = random.randrange(10**6, 10**7)
    line[3] = msgspec.json.encode(record).decode()


def line_time(random: Random, data: dict[str, Any]) -> None:
    line = some_line(random, data)
    record = msgspec.json.decode(line[3])
    record["time"] = "2026-11-24T12:00:00.000001Z"
    line[3] = msgspec.json.encode(record).decode()


def line_place(random: Random, data: dict[str, Any]) -> None:
    some_line(random, data)[1] += random.choice([-1, 1, 1000])


def line_file(random: Random, data: dict[str, Any]) -> None:
    line = some_line(random, data)
    line[0] = flip(random, line[0])


def line_cover(random: Random, data: dict[str, Any]) -> None:
    line = some_line(random, data)
    line[2] = random.choice(
        [each for each in ("1", "2", "unsigned", "changed", "") if each != line[2]]
    )


def line_removed(random: Random, data: dict[str, Any]) -> None:
    lines = some_machine(random, data)["lines"]
    del lines[random.randrange(len(lines))]


def line_repeated(random: Random, data: dict[str, Any]) -> None:
    lines = some_machine(random, data)["lines"]
    lines.insert(random.randrange(len(lines)), random.choice(lines))


def lines_swapped(random: Random, data: dict[str, Any]) -> None:
    lines = some_machine(random, data)["lines"]
    one, other = random.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]


def line_moved_to_another_machine(random: Random, data: dict[str, Any]) -> None:
    one, other = random.sample(data["machines"], 2)
    one, other = (one, other) if one["lines"] else (other, one)
    other["lines"].append(one["lines"].pop())


def statement_changed(random: Random, data: dict[str, Any]) -> None:
    machine = random.choice(data["machines"])
    machine["statement"] = flip(random, machine["statement"])


def statement_of_another_machine(random: Random, data: dict[str, Any]) -> None:
    one, other = random.sample(data["machines"], 2)
    one["statement"] = other["statement"]


def checkpoint_changed(random: Random, data: dict[str, Any]) -> None:
    machine = random.choice([each for each in data["machines"] if each["checkpoints"]])
    at = random.randrange(len(machine["checkpoints"]))
    machine["checkpoints"][at] = flip(random, machine["checkpoints"][at])


def checkpoint_removed(random: Random, data: dict[str, Any]) -> None:
    machine = random.choice([each for each in data["machines"] if each["checkpoints"]])
    machine["checkpoints"].pop(random.randrange(len(machine["checkpoints"])))


def checkpoint_repeated(random: Random, data: dict[str, Any]) -> None:
    machine = random.choice([each for each in data["machines"] if each["checkpoints"]])
    machine["checkpoints"].append(machine["checkpoints"][0])


def machine_repeated(random: Random, data: dict[str, Any]) -> None:
    data["machines"].append(random.choice(data["machines"]))


def machine_removed(random: Random, data: dict[str, Any]) -> None:
    data["machines"].pop(random.randrange(len(data["machines"])))


def machine_renamed(random: Random, data: dict[str, Any]) -> None:
    machine = random.choice(data["machines"])
    machine["machine"] = flip(random, machine["machine"])


def range_changed(random: Random, data: dict[str, Any]) -> None:
    data[random.choice(["since", "until"])] = "2026-11-24T12:00:00Z"


def run_changed(random: Random, data: dict[str, Any]) -> None:
    data["run"] = data["run"][:-1] + "2"


def crew_changed(random: Random, data: dict[str, Any]) -> None:
    data["crew"] = "billing"


def key_changed(random: Random, data: dict[str, Any]) -> None:
    """A forger changes a line, and signs it all anew."""
    machine = random.choice(data["machines"])
    stated = statement.read(machine["statement"]).statement
    stated = msgspec.structs.replace(stated, key=OTHER_KEY.public)
    machine["statement"] = statement.sign(stated, OTHER_KEY)


CHANGES: list[Change] = [
    line_text, line_cost, line_time, line_place, line_file, line_cover, line_removed, line_repeated,
    lines_swapped, line_moved_to_another_machine, statement_changed, statement_of_another_machine,
    checkpoint_changed, checkpoint_removed, checkpoint_repeated, machine_renamed, machine_repeated,
    machine_removed, range_changed, run_changed, crew_changed, key_changed,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found(change: Change, tmp_path: Path) -> None:
    """Even if the forger makes everything that the file shows anew."""
    random = Random(change.__name__)
    original = export(site(random, tmp_path, 80))
    for _ in range(deep(20)):
        data = msgspec.json.decode(msgspec.json.encode(original))
        change(random, data)
        changed = shown_anew(msgspec.convert(data, ExportDocument))
        if changed == original:
            continue  # it swapped a line with an equal one
        report = verified(changed, keys_of(original))
        assert not report.is_proven, data
        assert report.findings


@pytest.mark.parametrize("seed", range(deep(60)))
def test_a_change_to_what_the_file_shows_is_found(seed: int, tmp_path: Path) -> None:
    """To a word, a script, a style, or the steps in the data."""
    random = Random(seed)
    made = site(random, tmp_path, 10)
    data = bytearray(html(export(made)))
    at = random.randrange(len(data))
    data[at] = random.choice([each for each in b"aZ0 <" if each != data[at]])
    try:
        report = verify_export(bytes(data), made.keys)
    except ValueError:
        return  # it is no export any more
    assert not report.is_proven


def test_lines_that_make_too_large_a_file_are_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could verify it, and it would fill the memory of the process that makes it."""
    made = site(Random(1), tmp_path, 10, machines=2).replay()
    size = sum(each.bytes for each in made.machines)
    monkeypatch.setattr(limits, "replay_export_lines_bytes_max", size)
    assert document(made).machines
    monkeypatch.setattr(limits, "replay_export_lines_bytes_max", size - 1)
    with pytest.raises(ServiceRefusedError, match="name a shorter time with since and until"):
        document(made)


def test_each_key_must_have_signed_a_part(tmp_path: Path) -> None:
    """So a person who knows the machines misses one whose part was removed."""
    found = export(site(Random(1), tmp_path, 10))
    report = verified(found, [*keys_of(found), OTHER_KEY.public])
    assert report.findings == [f"no machine with the key {OTHER_KEY.public} is in it"]


def test_a_machine_must_have_sought_what_the_others_name(tmp_path: Path) -> None:
    """Else its order to end the run could be left out of an export, by who makes it."""
    made = site(Random(1), tmp_path, 40)
    question = ReplayFilter(made.run, CREW, is_signed=True)
    machines = [
        extract(machine.folder, question, machine.key, name)
        for name, machine in made.machines.items()
    ]
    empty = Machine(tmp_path / "gw-9" / "audit", key=OTHER_KEY)
    machines.append(extract(empty.folder, question, OTHER_KEY, "gw-9"))
    found = document(RunReplay(question, machines, []))
    assert "gw-9: it did not seek what hit all that the lines name" in verified(found).findings


def test_lines_of_another_crew_are_found(tmp_path: Path) -> None:
    """The question named no crew, so neither does the statement."""
    machine = Machine(tmp_path / "gw-1" / "audit")
    machine.writers[0].write(permit(1, ROOT, "writer", "search.web", 5))
    made = Site({"gw-1": machine}, ROOT)
    found = document(made.replay(ReplayFilter(ROOT, is_signed=True)))
    assert verified(found).is_proven
    forged = shown_anew(msgspec.structs.replace(found, crew="billing"))
    assert "a line is of another crew" in verified(forged).findings


def test_a_hostile_file_is_a_finding_and_no_crash(tmp_path: Path) -> None:
    found = export(site(Random(1), tmp_path, 10, machines=1))
    for hostile in (
        '{"kind":"call","time":"9999-12-31T23:59:59Z","duration_us":9007199254740991}',
        '{"kind":"call","time":"0001-01-01T00:00:00Z","crew":"%s"}' % ("x" * 300),
        "[" * 10**5, "",
    ):  # fmt: skip
        data = msgspec.to_builtins(found)
        data["machines"][0]["lines"][0][3] = hostile
        for made_by in (found.made_by, "0.0.1"):
            forged = msgspec.convert({**data, "made_by": made_by}, ExportDocument)
            text = html(found).partition(DATA_START)[0] + DATA_START + msgspec.json.encode(forged)
            assert not verify_export(text + DATA_END, keys_of(found)).is_proven


def test_a_key_that_nobody_named_is_found(tmp_path: Path) -> None:
    report = verified(export(site(Random(1), tmp_path, 10)), [OTHER_KEY.public])
    assert [each.is_known for each in report.machines] == [False, False]
    assert not report.is_proven


def test_a_page_of_another_version_is_not_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines are: this version cannot make the page of another one to compare it."""
    found = export(site(Random(1), tmp_path, 10))
    monkeypatch.setattr(verification, "__version__", "9.0.0")
    report = verified(found)
    assert report.findings == []
    assert report.are_lines_proven
    assert not report.compares_page
    assert not report.is_proven


def test_a_text_of_the_maker_of_a_file_is_shown_as_such(tmp_path: Path) -> None:
    """No machine can sign why another one did not answer."""
    found = export(site(Random(1), tmp_path, 10))
    missing = SilentMachine("call 7", "it was refused")
    forged = msgspec.structs.replace(found, not_asked=[missing])
    assert verified(forged).is_proven
    shown = "<dt>no lines of call 7</dt><dd>it was refused (the maker of this file wrote "
    assert shown.encode() in html(forged)
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr(export_report, "print_labeled", lambda *texts: printed.append(texts[1]))
        export_report.show(verified(forged), None, as_json=False)
    assert "call 7: the maker of the file wrote this; no machine has signed it" in printed


def test_nobody_can_name_another_version_in_the_file(tmp_path: Path) -> None:
    """Else a forger could change what the page shows: another version does not compare it."""
    found = export(site(Random(1), tmp_path, 10))
    report = verified(msgspec.structs.replace(found, made_by="0.0.1"))
    name = found.machines[0].machine
    text = f"it has signed that Crewgate {__version__} wrote the file, and the file names another"
    assert f"{name}: {text} version" in report.findings


def test_a_file_whose_machines_signed_no_version_still_verifies(tmp_path: Path) -> None:
    """An earlier version asked for it."""
    made = site(Random(1), tmp_path, 10, machines=1)
    question = ReplayFilter(made.run, CREW, is_signed=True)
    ((name, machine),) = made.machines.items()
    first = extract(machine.folder, question, machine.key, name)
    again = msgspec.structs.replace(question, names=first.names, life=first.life)
    second = extract(machine.folder, again, machine.key, name)
    assert '"made_by"' not in second.statement
    found = document(RunReplay(question, [second], []))
    assert verified(found).is_proven
    other = verified(msgspec.structs.replace(found, made_by="0.0.1"))
    assert other.are_lines_proven
    assert not other.is_proven


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b'<script type="application/json" id="replay-data">']
)
def test_another_file_is_no_export(data: bytes) -> None:
    with pytest.raises(ValueError, match="it is no exported replay"):
        verify_export(data, KEYS)


def test_data_that_is_nested_too_deep_is_no_export() -> None:
    data = b'<script type="application/json" id="replay-data">{"a":' + b"[" * 10**5
    with pytest.raises(ValueError, match="it is nested too deep"):
        verify_export(data + b"</script>", KEYS)
