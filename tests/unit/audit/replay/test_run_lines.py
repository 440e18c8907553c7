"""Which lines of an audit are those of a run."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from audit_records import CHILD, NOON, OTHER, ROOT, deny, grant, permit, rule_step
from signed_audit import Machine

from crewgate import limits
from crewgate.audit.replay.question import ReplayFilter
from crewgate.audit.replay.run_lines import RunLines
from crewgate.core.audit.records import Record, RevocationRecord, WatchRecord
from crewgate.core.revocation_kinds import KINDS

NOBODY: dict[str, Any] = dict.fromkeys(["orchestrator", "process", "role", "branch"], "")


def us(second: int) -> int:
    """A moment in microseconds since 1970, so many seconds after noon."""
    return round((NOON + timedelta(seconds=second)).timestamp() * 1e6)


def revocation(second: int, target: str, name: str, crew: str = "article") -> RevocationRecord:
    return RevocationRecord(
        crew=crew, **NOBODY, time=NOON + timedelta(seconds=second), target=target, id=name,
        by="operator/ada",
    )  # fmt: skip


def watch(second: int, orchestrator: str) -> WatchRecord:
    return WatchRecord(
        time=NOON + timedelta(seconds=second), crew="article", orchestrator=orchestrator,
        step="strike", was="observe", level="throttle", in_force="throttle",
    )  # fmt: skip


def found(
    folder: Path, own: list[Record], agent: Sequence[Record] = (), **asked: Any
) -> tuple[list[str], RunLines]:
    """What is found of ROOT, each as its kind and second."""
    machine = Machine(folder / "audit")
    for record in own:
        machine.writers[0].write(record)
    writer = machine.writer("agent")
    for record in agent:
        writer.write(record)
    lines = RunLines(ReplayFilter(ROOT, **{"crew": "article", **asked}))
    seen = [
        f"{each.record.kind} {(each.record.time - NOON).seconds}"
        for each in lines.read(machine.folder)
    ]
    return seen, lines


def test_a_run_has_the_lines_of_all_its_branches(tmp_path: Path) -> None:
    own: list[Record] = [
        grant(ROOT, "writer", 0), permit(2, CHILD, "researcher", "a", 5),
        deny(3, CHILD, "researcher", "a", "rate-limited"), permit(4, OTHER, "writer", "a", 5),
        permit(5, ROOT, "writer", "a", 5, crew="billing"),
        rule_step(6, ROOT, "", "loops", "end", 3),
    ]  # fmt: skip
    assert found(tmp_path, own)[0] == ["grant 1", "call 2", "call 3", "rule 6"]


def test_a_branch_has_its_own_lines_and_those_below(tmp_path: Path) -> None:
    own: list[Record] = [permit(1, ROOT, "a", "a", 5), permit(2, CHILD, "a", "a", 5)]
    assert found(tmp_path, own)[0] == ["call 1", "call 2"]
    lines = RunLines(ReplayFilter(CHILD)).read(tmp_path / "audit")
    assert [line.record.branch for line in lines] == [CHILD]


def test_revocations_of_what_the_run_names_hit_it(tmp_path: Path) -> None:
    """By name, or by the key that a machine knows of another one's revocation."""
    names = {
        "crew": "article", "grant": "grant-writer", "process": "pid_1", "subject": "user_1",
        "orchestrator": "article/one", "key": "article-1", "certificate": "0A", "branch": ROOT,
        "account": ROOT,
    }  # fmt: skip
    labels = {rules.label: rules for rules in KINDS.values()}
    own: list[Record] = [
        grant(ROOT, "writer", 0),
        permit(1, ROOT, "writer", "a", 5, certificate="0A"),
    ]
    agent: list[Record] = []
    for second, (kind, name) in enumerate(names.items(), 10):
        agent.append(revocation(second, kind, name))
        if kind != "account":
            key = labels[kind].keys("article", name)[-1].hex()
            agent.append(revocation(second + 20, kind, key, crew=""))
        agent.append(revocation(second + 40, kind, OTHER if kind == "branch" else "unknown"))
        agent.append(revocation(second + 60, kind, name, crew="billing"))
    agent += [watch(90, "article/one"), watch(91, "article/two")]
    seen, lines = found(tmp_path, own, agent)
    hits = {f"revocation {second}" for second in [*range(10, 19), *range(30, 38)]}
    assert {*seen} == {"grant 1", "call 1", "watch 90", *hits}
    assert lines.names["subject"] == ["user_1"]


def test_names_of_the_question_count_too(tmp_path: Path) -> None:
    """Another machine has the calls: this one has only ended their subject."""
    agent: list[Record] = [revocation(1, "subject", "user_1"), revocation(2, "subject", "user_2")]
    assert found(tmp_path / "a", [], agent)[0] == []
    asked: dict[str, Any] = {"names": {"subject": ["user_1"]}, "life": (us(0), us(3))}
    assert found(tmp_path / "b", [], agent, **asked)[0] == ["revocation 1"]


@pytest.mark.parametrize(
    ("kind", "name", "is_for_good"),
    [
        ("process", "pid_1", False),
        ("crew", "article", False),
        ("orchestrator", "article/one", False),
        ("subject", "user_1", True),
        ("key", "article-1", True),
    ],
)
def test_what_was_before_or_is_after_the_run_did_not_hit_it(
    kind: str, name: str, is_for_good: bool, tmp_path: Path
) -> None:
    """Names of processes come again. A revocation for good also ends what is named later."""
    own: list[Record] = [grant(ROOT, "writer", 100), permit(102, ROOT, "writer", "a", 5)]
    seconds = [1, 94, 96, 500, 1004, 1006]  # its token is good from 100 until 1000
    agent: list[Record] = [revocation(second, kind, name) for second in seconds]
    agent += [watch(second, "article/one") for second in (50, 200, 2000)]
    expected = {96, 500, 1004} | ({1, 94} if is_for_good else set())
    seen, lines = found(tmp_path, own, agent)
    assert {*seen[:]} == {
        "grant 101", "call 102", "watch 200", *(f"revocation {each}" for each in expected),
    }  # fmt: skip
    assert lines.life == (us(100), us(1000))


def test_the_end_of_a_branch_above_hits_what_is_below(tmp_path: Path) -> None:
    agent: list[Record] = [revocation(9, "branch", ROOT), revocation(9, "branch", OTHER)]
    machine = Machine(tmp_path / "audit")
    machine.writers[0].write(permit(8, CHILD, "a", "a", 5))
    writer = machine.writer("agent")
    for record in agent:
        writer.write(record)
    lines = RunLines(ReplayFilter(CHILD)).read(machine.folder)
    assert [each.record.id for each in lines] == ["", ROOT]


def test_only_the_agent_writes_revocations(tmp_path: Path) -> None:
    assert found(tmp_path, [permit(1, ROOT, "a", "a", 5), revocation(2, "crew", "article")])[0] == [
        "call 1"
    ]


def test_the_range_is_of_the_moments_of_lines(tmp_path: Path) -> None:
    """A call counts when it has ended."""
    long = msgspec.structs.replace(permit(1, ROOT, "a", "a", 5), duration_us=10**7)
    own: list[Record] = [long, permit(5, ROOT, "a", "a", 5), permit(12, ROOT, "a", "a", 5)]
    begin, end = NOON + timedelta(seconds=6), NOON + timedelta(seconds=12)
    assert found(tmp_path, own, since=begin, until=end)[0] == ["call 1"]


def test_the_oldest_lines_are_kept_and_the_rest_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own: list[Record] = [permit(second, ROOT, "a", "a", 5) for second in range(1, 60)]
    seen, lines = found(tmp_path / "a", own, limit=3)
    assert seen == ["call 1", "call 2", "call 3"]
    assert lines.left_out == 56
    assert lines.left_out_from == NOON + timedelta(seconds=4, microseconds=1500)
    monkeypatch.setattr(limits, "replay_lines_bytes_max", 1000)
    seen, lines = found(tmp_path / "b", own)
    assert seen == ["call 1", "call 2"]
    assert lines.left_out == 57


def test_a_line_that_is_no_record_is_counted(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "audit")
    begin = f'{{"kind":"call","branch":"{ROOT}","time":"2026-11-24T12:00:00'
    bad = [
        f'{{"kind":"call","branch":"{ROOT}"}}', f'["{ROOT}"]', f"{'[' * 2000}{ROOT}",
        f'{begin}"}}', f'{begin}Z","cost_micro":-1}}', f'{begin}Z","tool":"\u202e"}}',
        f'{begin}Z","cost_micro":{2**53}}}', f'{begin}Z","role":5}}',
    ]  # fmt: skip
    for line in [*bad, f'{begin}Z"}}']:
        machine.writers[0].write_lines([f"{line}\n".encode()])
    lines = RunLines(ReplayFilter(ROOT))
    assert [each.line.decode() for each in lines.read(machine.folder)] == [f'{begin}Z"}}']
    assert lines.unreadable == len(bad)


def test_a_folder_that_is_missing_has_no_lines(tmp_path: Path) -> None:
    assert RunLines(ReplayFilter(ROOT)).read(tmp_path / "none") == []
