"""The steps of a replay: after each of them, each branch is what all lines until then say."""

from pathlib import Path
from random import Random
from uuid import UUID

import msgspec
import pytest
from random_runs import as_whole, model, site
from search_depth import deep

from crewgate import limits
from crewgate.audit.replay.branch_replay import BranchReplay, Revocations
from crewgate.audit.replay.extract import ExtractLine, MachineExtract
from crewgate.audit.replay.run_record import read
from crewgate.audit.replay.run_replay import merged
from crewgate.audit.replay.timeline import timeline


@pytest.mark.parametrize("seed", range(deep(25)))
def test_after_each_step_branches_are_what_the_lines_say(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    made = site(random, tmp_path, random.choice([5, 40, 120]))
    lines = merged(made.replay().machines)
    found = timeline(lines, made.run)
    assert [(step.machine, step.place) for step in found.steps] == [
        (line.machine, line.place) for line in lines
    ]
    shown: dict[str, dict[str, object]] = {}
    for number, step in enumerate(found.steps):
        assert step.moment_us == lines[number].moment_us
        for branch, snapshot in step.changes:
            shown[found.branches[branch].branch] = as_whole(snapshot)
        assert shown == model(lines, made.run, number), number


def test_a_revocation_looks_only_at_the_branches_that_it_hits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run can have thousands of branches, each of which its orchestrator has ended."""
    run, ids = str(UUID(int=1)), [str(UUID(int=number)) for number in range(2, 302)]
    common = {"time": "2026-12-01T08:00:00Z", "crew": "article"}
    grants = [{"kind": "grant", "branch": each, "ancestry": [run], **common} for each in ids]
    ends = [{"kind": "revocation", "target": "branch", "id": each, **common} for each in ids]
    texts = [msgspec.json.encode(each).decode() for each in (*grants, *ends)]
    lines = [ExtractLine("agent.jsonl", number, "", text) for number, text in enumerate(texts)]
    looks: list[BranchReplay] = []
    real = BranchReplay.state

    def state(branch: BranchReplay, revoked: Revocations, now_us: int) -> str:
        looks.append(branch)
        return real(branch, revoked, now_us)

    monkeypatch.setattr(BranchReplay, "state", state)
    found = timeline(merged([MachineExtract(lines=lines)]), run)
    assert [snapshot.state for step in found.steps[300:] for _, snapshot in step.changes] == [
        "revoked"
    ] * 300
    assert len(looks) <= 4 * len(lines)


def test_a_line_with_more_ancestors_than_a_token_has_is_no_record() -> None:
    """A few thousand such lines would take gigabytes of memory."""

    def line(depth: int) -> bytes:
        ids = [str(UUID(int=number)) for number in range(depth)]
        common = {"kind": "grant", "time": "2026-12-01T08:00:00Z", "branch": str(UUID(int=99))}
        return msgspec.json.encode({**common, "ancestry": ids})

    assert read(line(limits.depth_max)) is not None
    assert read(line(limits.depth_max + 1)) is None


def test_lines_of_other_runs_and_crews_are_left_out(tmp_path: Path) -> None:
    made = site(Random(1), tmp_path, 400)
    for line in merged(made.replay().machines):
        record = line.record
        assert record.crew in {"", "article"}
        assert made.run in record.path or record.kind in {"revocation", "watch"}
