"""The runs that an audit has: what each did, and how it ended."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from audit_records import CHILD, NOON, OTHER, ROOT, burned, deny, grant, opening, permit, rule_step
from signed_audit import Machine

from crewgate import limits
from crewgate.audit.member_report import answer
from crewgate.audit.replay.extract import MachineExtract, extract, whole
from crewgate.audit.replay.question import ReplayFilter
from crewgate.audit.replay.recorded_runs import RecordedRun, RunsFilter, RunsPart, merged
from crewgate.core.audit.records import Record, RevocationRecord
from crewgate.errors import ConfigurationError
from crewgate.ipc.cluster_view import MachineAnswers
from crewgate.ipc.machine_messages import RecordedRunsQuestion, ReplayQuestion


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def revoked(second: int, target: str, name: str, **more: Any) -> RevocationRecord:
    members = {"crew": "article", "by": "operator/ada", "reason": "loops", **more}
    return RevocationRecord(
        orchestrator="", process="", role="", branch="", time=at(second), target=target, id=name,
        **members,
    )  # fmt: skip


def runs(folder: Path, records: list[Record], **asked: Any) -> list[RecordedRun]:
    """The runs, as another machine gets them."""
    machine = Machine(folder / "audit")
    for record in records:
        machine.writers[0].write(record)
    question = RecordedRunsQuestion(msgspec.json.encode(RunsFilter(**asked)))
    parts = [
        msgspec.msgpack.decode(page, type=RunsPart)
        for page in answer(machine.folder, question, folder)
    ]
    return [run for part in parts for run in part.runs]


def test_a_run_has_the_sums_of_its_branches(tmp_path: Path) -> None:
    [other, run] = runs(
        tmp_path,
        [
            grant(ROOT, "writer", 0), permit(2, ROOT, "writer", "a", 10), grant(CHILD, "b", 2),
            permit(4, CHILD, "b", "a", 20), deny(5, CHILD, "b", "a", "rate-limited"),
            opening(6, CHILD, "b", "a", "s"), burned(7, CHILD, "b", "a", "s"),
            rule_step(8, CHILD, "b", "loops", "warn", 3), permit(9, OTHER, "writer", "a", 7),
        ],
    )  # fmt: skip
    assert (other.run, other.calls) == (OTHER, 1)
    assert run == RecordedRun(
        "article", ROOT, "user_1", "article/one", at(1), at(8), 2, 2, 1, 1, 10_030, None, "", "",
        at(902),
    )  # fmt: skip
    assert run.how_ended(at(901)) == "live"
    assert run.how_ended(at(902)) == "expired"


@pytest.mark.parametrize(
    ("record", "is_ended"),
    [
        (revoked(9, "branch", ROOT), True),
        (revoked(9, "account", ROOT), True),
        (revoked(9, "subject", "user_1"), True),
        (revoked(9, "subject", "user_1", crew=""), True),
        (revoked(9, "branch", CHILD), False),
        (revoked(9, "branch", ROOT, crew="billing"), False),
        (revoked(9, "subject", "user_2"), False),
    ],
)
def test_it_ended_with_its_first_revocation(
    record: RevocationRecord, is_ended: bool, tmp_path: Path
) -> None:
    later = msgspec.structs.replace(record, time=at(10), by="owner")
    [run] = runs(tmp_path, [permit(2, ROOT, "writer", "a", 10), record, later])
    assert (run.ended, run.by, run.why) == (
        (at(9), "operator/ada", "loops") if is_ended else (None, "", "")
    )
    assert run.how_ended(at(99)) == ("revoked by operator/ada: loops" if is_ended else "live")


def test_filters_and_the_bound(tmp_path: Path) -> None:
    records: list[Record] = [
        permit(1, ROOT, "a", "a", 1), permit(2, OTHER, "a", "a", 1, crew="billing"),
        permit(3, ROOT, "a", "a", 1),
    ]  # fmt: skip
    assert [run.crew for run in runs(tmp_path / "a", records)] == ["article", "billing"]
    assert [run.run for run in runs(tmp_path / "b", records, crews=("billing",))] == [OTHER]
    assert [run.calls for run in runs(tmp_path / "c", records, since=at(2), until=at(3))] == [1]
    assert [run.run for run in runs(tmp_path / "d", records, limit=1)] == [ROOT]
    assert runs(tmp_path / "e", []) == []


def test_many_runs_come_in_pages(tmp_path: Path) -> None:
    records: list[Record] = [
        permit(second, f"0199c1d2-0000-7000-9000-{second:012x}", "a", "a", 1)
        for second in range(1, 2 * limits.replay_runs_page_max + 2)
    ]  # fmt: skip
    found = runs(tmp_path, records, limit=limits.replay_runs_max)
    assert len(found) == len(records)


def test_machines_are_merged(tmp_path: Path) -> None:
    """The machine where a person ended the run says who it was."""
    here = runs(
        tmp_path / "a",
        [permit(2, ROOT, "a", "a", 10), revoked(8, "branch", ROOT, by="gateway/gw-2", reason="")],
    )
    there = runs(
        tmp_path / "b",
        [permit(5, ROOT, "a", "a", 5), permit(6, OTHER, "a", "a", 5), revoked(9, "branch", ROOT)],
    )
    found = merged({"gw-1": here}, MachineAnswers({"gw-2": [RunsPart(there)]}, "", []), 10)
    assert found.machines == ["gw-1", "gw-2"]
    assert [run.run for run in found.runs] == [OTHER, ROOT]
    run = found.runs[1]
    assert (run.first, run.last, run.calls, run.spent_micro) == (at(2), at(5), 2, 15)
    assert (run.by, run.why) == ("operator/ada", "loops")
    assert [
        run.run for run in merged({}, MachineAnswers({"b": [RunsPart(there)]}, "", []), 1).runs
    ] == [OTHER]


def test_another_machine_gets_the_lines_of_a_run(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "audit")
    for second in range(1, 400):
        machine.writers[second % 2].write(permit(second, ROOT, "a", "a", 1))
    machine.take()
    question = ReplayFilter(ROOT)
    pages = answer(machine.folder, ReplayQuestion(msgspec.json.encode(question)), tmp_path, "gw-1")
    parts = [msgspec.msgpack.decode(page, type=MachineExtract) for page in pages]
    assert len(parts) > 2
    assert whole(parts, "gw-1") == extract(machine.folder, question, machine="gw-1")
    signed = msgspec.json.encode(msgspec.structs.replace(question, is_signed=True))
    (tmp_path / "audit.key").unlink(missing_ok=True)
    with pytest.raises(ConfigurationError, match="cannot read the key of the audit"):
        answer(machine.folder, ReplayQuestion(signed), tmp_path)


@pytest.mark.parametrize(
    "filters", [b"", b"{}", b'{"run":"x"}', b'{"run":"%b","limit":-1}' % ROOT.encode()]
)
def test_bad_filters_are_an_error(filters: bytes, tmp_path: Path) -> None:
    with pytest.raises((ValueError, msgspec.DecodeError)):
        answer(tmp_path, ReplayQuestion(filters), tmp_path)
    with pytest.raises((ValueError, msgspec.DecodeError)):
        answer(tmp_path, RecordedRunsQuestion(b'{"limit":-1}'), tmp_path)
