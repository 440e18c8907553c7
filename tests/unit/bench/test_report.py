"""Groups of the hop's bench: which are chosen, what is said of them, what stays of a run before."""

import json
from pathlib import Path

import pytest

from bench.hop.__main__ import chosen
from bench.hop.figures import CPU, MEMORY, P99, RATE, Measured, Sample
from bench.hop.gateways import CREWGATE, ENVOY, STACK
from bench.hop.groups import fairness, memory, refusals, rest, share, streams
from bench.hop.groups.suite import GROUPS
from bench.hop.report import Measurement, cells, document, headings, join, result
from bench.report import Goal


def sample(cpu: float, rate: float = 1.0) -> Sample:
    names = {figure.name for group in GROUPS.values() for figure in group.figures}
    return {**dict.fromkeys(names, 1.0), CPU.name: cpu, RATE.name: rate}


def stood(case: str, name: str, *samples: Sample) -> Measured:
    return Measured(case, name, list(samples))


def measurement(*results: Measured) -> Measurement:
    return Measurement(streams.GROUP, 1, 10, results, {CREWGATE: "1.2.3"}, {"nginx": "not here"})


def test_the_usual_groups_are_measured_unless_others_are_named() -> None:
    """The long ones only by name, or all of them; always in the order of the suite."""
    usual = [group.name for group in chosen(())]
    assert usual[0] == "streams"
    assert not {"export", "idle", "fairness", "floods", "memory"} & set(usual)
    assert [group.name for group in chosen(("memory", "http1"))] == ["http1", "memory"]
    assert [group.name for group in chosen(("all",))] == list(GROUPS)


def test_a_group_takes_its_part_of_rounds_and_requests() -> None:
    """Never none."""
    assert streams.GROUP.sizes(5, 20_000) == (5, 20_000)
    assert refusals.GROUP.sizes(5, 20_000) == (3, 3_000)
    assert memory.GROUP.sizes(5, 20_000) == (1, 200_000)
    assert refusals.GROUP.sizes(1, 1) == (1, 1)


def test_crewgate_is_compared_with_the_others_and_not_with_itself() -> None:
    """Its figure over theirs."""
    own, other = stood("16 × 8", CREWGATE, sample(40, 9)), stood("16 × 8", ENVOY, sample(80, 6))
    taken = measurement(own, other)
    assert result(taken, own)["crewgate_over"] == {}
    over = result(taken, other)["crewgate_over"]
    assert over[CPU.name]["median"] == 0.5
    assert over[RATE.name]["median"] == 1.5
    assert cells((own, other), other, (CPU, RATE, P99)) == [
        *("80.0", "80.0 – 80.0", "6", "1.00", "0.50", "1.50", "1.00")
    ]
    assert headings((CPU, P99)) == ("CPU µs", "least – most", "p99 ms", "CPU ×", "p99 ×")


def by_what(goals: list[Goal]) -> dict[str, Goal]:
    return {goal.what: goal for goal in goals}


def test_the_promises_are_held_against_envoy_and_the_python_stack() -> None:
    """A part of Envoy's CPU, no longer p99, no fewer requests, a fifth of the stack's CPU."""
    cases = list(streams.BOUNDS)
    results = [stood(case, CREWGATE, sample(45, 10)) for case in cases]
    results += [stood(case, ENVOY, sample(100, 9)) for case in cases]
    results += [stood(case, STACK, sample(260, 2)) for case in cases]
    goals = streams.goals(results)
    assert [(goal.bound, goal.met) for goal in goals] == [
        *((0.40, False), (1.0, True), (1.0, True)),  # 45 / 100 is more than 0.4
        *((0.40, False), (1.0, True), (1.0, True)),
        *((0.52, True), (1.0, True), (1.0, True)),
        *((0.52, True), (1.0, True), (1.0, True)),
        *((0.50, True), (1.0, True), (1.0, True)),
        (5.0, True),
    ]
    assert streams.goals(results[: len(cases)]) == []


def test_the_first_requests_after_a_rest_are_held_against_envoy() -> None:
    """Their p99; on new connections and on open ones."""
    waits = {CREWGATE: (2.0, 5.0), ENVOY: (4.0, 4.0)}
    results = [
        stood(case, name, {P99.name: wait})
        for name, each in waits.items()
        for case, wait in zip((rest.NEW, rest.KEPT), each, strict=True)
    ]
    goals = rest.goals(results)
    assert [(goal.measured, goal.met) for goal in goals] == [(0.5, True), (1.25, False)]
    assert rest.goals(results[:2]) == []


def test_the_script_of_a_rest_sends_as_many_requests_before_it_as_after_it(tmp_path: Path) -> None:
    """One for each stream of a connection; the times are in milliseconds."""
    lines = rest.written(tmp_path / "script", 8443, 5.0).read_text().splitlines()
    assert set(lines) == {
        f"{moment}\thttps://127.0.0.1:8443/page" for moment in ("0.000", "5000.000")
    }
    assert len(lines) == 2 * rest.SHAPE.streams


def test_the_share_of_verdict_and_audit_is_what_is_gone_without_them() -> None:
    """Of the whole request's CPU, in percent; of a straight call, the time of its parts."""
    case = share.SHAPES[0].name
    results = [stood(case, CREWGATE, sample(100)), stood(case, share.BOTH, sample(80))]
    (goal,) = share.goals(results)
    assert (round(goal.measured), goal.met) == (20, False)
    call = stood(case, share.STRAIGHT, {CPU.name: 10.0, share.IN_MEMORY.name: 1.0})
    (goal,) = share.goals([call])
    assert (round(goal.measured), goal.met) == (10, True)


def test_memory_is_held_at_its_last_point() -> None:
    """What it is, and what it has grown by."""
    points = [
        stood(f"after {count}", CREWGATE, {MEMORY.name: held, memory.GROWN.name: grown})
        for count, held, grown in ((200, 90.0, 0.0), (1000, 93.0, 3.0))
    ]
    assert [(goal.measured, goal.met) for goal in memory.goals(points)] == [
        (93.0, True),
        (3.0, False),
    ]


def test_fairness_is_the_time_beside_over_the_time_alone() -> None:
    """Median of the rounds; memory from the least to the most."""
    alone, beside = (
        [{P99.name: wait, MEMORY.name: held} for wait, held in pairs]
        for pairs in (((1.0, 80.0), (2.0, 90.0)), ((1.5, 120.0), (3.0, 130.0)))
    )
    results = [stood("alone", CREWGATE, *alone), stood("beside them", CREWGATE, *beside)]
    assert [goal.measured for goal in fairness.goals(results)] == [1.5, 50.0]
    assert fairness.goals(results[:1]) == []


def test_a_group_replaces_its_own_part_of_the_document_and_no_other(tmp_path: Path) -> None:
    """Also of a document whose hop had no groups."""
    file = tmp_path / "latest.json"
    file.write_text(json.dumps({"rounds": 300, "hop": {"results": ["of a former kind"]}}))
    taken = measurement(stood("16 × 8", CREWGATE, sample(40)))
    join(file, taken)
    assert json.loads(file.read_text())["rounds"] == 300
    standing = json.loads(file.read_text())
    standing["hop"]["groups"] |= {"memory": "kept", "streams": "replaced"}
    file.write_text(json.dumps(standing))
    join(file, taken)
    groups = json.loads(file.read_text())["hop"]["groups"]
    assert groups["memory"] == "kept"
    assert groups["streams"]["results"][0]["case"] == "16 × 8"
    assert groups["streams"]["skipped"] == {"nginx": "not here"}
    assert "results" not in json.loads(file.read_text())["hop"]


def test_what_is_written_is_json() -> None:
    """Goals with whether they were met."""
    results = [
        stood(shape.name, name, sample(9)) for shape in streams.SHAPES for name in (CREWGATE, ENVOY)
    ]
    goals = json.loads(json.dumps(document(measurement(*results))))["goals"]
    assert {goal["met"] for goal in goals} == {False, True}


@pytest.mark.parametrize("signature", ["A" * 86, "B" * 86])
def test_a_bad_signature_has_the_form_of_one(signature: str) -> None:
    """One character is another, and the rest is as it was."""
    token = f"head.body.{signature}"
    bad = refusals.badly_signed(token)
    assert len(bad) == len(token)
    assert sum(ours != theirs for ours, theirs in zip(bad, token, strict=True)) == 1
    assert bad.startswith("head.body.")
