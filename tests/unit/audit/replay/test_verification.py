"""An exported replay proves its lines: an honest one verifies, and each change to it is found."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from random_runs import Site, site
from search_depth import deep
from signed_audit import KEY, OTHER_KEY

from crewgate.audit.replay import statement
from crewgate.audit.replay.export_document import ExportDocument, document
from crewgate.audit.replay.export_html import html
from crewgate.audit.replay.run_replay import merged
from crewgate.audit.replay.timeline import timeline
from crewgate.audit.replay.verification import ExportReport, verify_export

KEYS = [KEY.public]


def export(made: Site) -> ExportDocument:
    return document(made.replay())


def verified(found: ExportDocument, keys: list[str] = KEYS) -> ExportReport:
    return verify_export(html(found), keys)


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
    assert report.compares_words
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
    checkpoint_changed, checkpoint_removed, checkpoint_repeated, machine_renamed, range_changed,
    run_changed, crew_changed, key_changed,
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
        report = verified(changed)
        assert not report.is_proven, data
        assert report.findings


@pytest.mark.parametrize("seed", range(deep(60)))
def test_a_change_to_what_the_file_shows_is_found(seed: int, tmp_path: Path) -> None:
    """To a word, a script, a style, or the steps in the data."""
    random = Random(seed)
    data = bytearray(html(export(site(random, tmp_path, 10))))
    at = random.randrange(len(data))
    data[at] = random.choice([each for each in b"aZ0 <" if each != data[at]])
    try:
        report = verify_export(bytes(data), KEYS)
    except ValueError:
        return  # it is no export any more
    assert not report.is_proven or not report.compares_words


def test_each_key_must_have_signed_a_part(tmp_path: Path) -> None:
    """So a person who knows the machines misses one whose part was removed."""
    found = export(site(Random(1), tmp_path, 10))
    report = verified(found, [KEY.public, OTHER_KEY.public])
    assert report.findings == [f"no machine with the key {OTHER_KEY.public} is in it"]


def test_a_key_that_nobody_named_is_found(tmp_path: Path) -> None:
    report = verified(export(site(Random(1), tmp_path, 10)), [OTHER_KEY.public])
    assert [each.is_known for each in report.machines] == [False, False]
    assert not report.is_proven


def test_words_of_another_version_are_not_compared(tmp_path: Path) -> None:
    found = export(site(Random(1), tmp_path, 10))
    report = verified(msgspec.structs.replace(found, made_by="0.0.1"))
    assert report.is_proven
    assert not report.compares_words


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
