"""The replay of several machines: who is asked, and asked again."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from audit_records import CHILD, NOON, OTHER, ROOT, grant, permit
from random_runs import Site
from signed_audit import KEY, OTHER_KEY, Machine

from crewgate import limits
from crewgate.audit.replay.extract import MachineExtract, extract
from crewgate.audit.replay.question import ReplayFilter, count, union
from crewgate.audit.replay.run_replay import gather, merged
from crewgate.core.audit.records import RevocationRecord
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.cluster_view import MachineAnswers, SilentMachine

KEYS = {"gw-1": KEY, "gw-2": OTHER_KEY}


def ended(by: str, name: str = "user_1") -> RevocationRecord:
    return RevocationRecord(
        crew="article", orchestrator="", process="", role="", branch="",
        time=NOON + timedelta(seconds=9), target="subject", id=name, by=by,
    )  # fmt: skip


@pytest.fixture
def two(tmp_path: Path) -> Site:
    """The first machine has the calls, and the second one the order of a person."""
    machines = {name: Machine(tmp_path / name / "audit", key=key) for name, key in KEYS.items()}
    machines["gw-1"].writers[0].write(grant(ROOT, "writer", 0))
    machines["gw-1"].writers[0].write(permit(2, ROOT, "writer", "search.web", 5))
    machines["gw-2"].writer("agent").write(ended("operator/ada"))
    machines["gw-1"].writer("agent").write(ended("gateway/gw-2"))
    return Site(machines, ROOT)


def seen(site: Site, question: ReplayFilter | None = None) -> list[str]:
    found = site.replay(question)
    return [
        f"{found.machines[line.machine].machine} {line.record.kind} {line.record.by}".rstrip()
        for line in merged(found.machines)
    ]


def test_a_machine_without_calls_of_the_run_says_what_hit_it(two: Site) -> None:
    expected = [
        "gw-1 grant", "gw-1 call", "gw-1 revocation gateway/gw-2", "gw-2 revocation operator/ada",
    ]  # fmt: skip
    assert seen(two) == expected
    # So does the machine that is asked itself.
    back = Site(dict(reversed(two.machines.items())), two.run)
    assert sorted(seen(back)) == sorted(expected)


def test_a_grant_comes_before_the_call_that_had_it_first(two: Site) -> None:
    """A worker writes its record later, together with that of the call."""
    machine = two.machines["gw-2"]
    late = msgspec.structs.replace(grant(CHILD, "b", 0), time=NOON + timedelta(seconds=50))
    machine.writers[0].write(late)
    machine.writers[1].write(permit(40, CHILD, "b", "search.web", 5))
    lines = merged(two.replay().machines)
    kinds = [line.record.kind for line in lines if line.record.branch == CHILD]
    assert kinds == ["grant", "call"]
    assert lines[-2].moment_us == round((NOON + timedelta(seconds=40)).timestamp() * 1e6)


def test_a_machine_is_asked_again_only_for_names_that_it_lacks(two: Site) -> None:
    asked: list[tuple[str, int]] = []

    def others(question: ReplayFilter, name: str) -> MachineAnswers[MachineExtract]:
        asked.append((name, count(question.names)))
        found = extract(two.machines["gw-2"].folder, question)
        return MachineAnswers({"gw-2": [found]}, "", [])

    def own(question: ReplayFilter) -> MachineExtract:
        assert not question.names
        return extract(two.machines["gw-1"].folder, question)

    gather(ReplayFilter(ROOT), own, others)
    assert asked == [("", 0), ("gw-2", 6)]


def test_a_machine_that_fails_is_named_and_shown_nowhere(two: Site) -> None:
    """Also if it fails at the second question."""

    def others(question: ReplayFilter, name: str) -> MachineAnswers[MachineExtract]:
        if name:
            return MachineAnswers({}, "", [SilentMachine("gw-2", "no time")])
        return MachineAnswers({"gw-2": [MachineExtract()]}, "", [SilentMachine("gw-3", "dead")])

    found = gather(
        ReplayFilter(ROOT), lambda asked: extract(two.machines["gw-1"].folder, asked), others
    )
    assert [each.machine for each in found.machines] == [""]
    assert [each.machine for each in found.not_asked] == ["gw-2", "gw-3"]


def test_two_crews_with_one_id_are_not_mixed(two: Site) -> None:
    two.machines["gw-1"].writers[0].write(permit(3, ROOT, "writer", "a", 5, crew="billing"))
    with pytest.raises(ServiceRefusedError, match=r"--crew article\|billing"):
        two.replay(ReplayFilter(ROOT))
    assert "gw-1 call" in seen(two, ReplayFilter(ROOT, "billing"))
    assert seen(two, ReplayFilter(OTHER, "billing")) == []


def test_names_beyond_the_bound_are_left_out_grants_first() -> None:
    grants = [f"grant-{at}" for at in range(limits.replay_names_max)]
    found = union([{"grant": grants}, {"subject": ["b", "a"]}, {"subject": ["a", "c"]}])
    assert found["subject"] == ["a", "b", "c"]
    assert count(found) == limits.replay_names_max
    with pytest.raises(ValueError, match="more than"):
        ReplayFilter(ROOT, names={"grant": [*grants, "one"]})


def test_an_id_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="not the id of a run"):
        ReplayFilter("run-1")


def test_signed_answers_of_two_machines_have_their_own_statements(two: Site) -> None:
    found = two.replay()
    assert len({each.statement for each in found.machines}) == 2
    for each in found.machines:
        assert KEYS[each.machine].public in each.statement
