"""What is shown of the answers: rates of branches, crews and tools, over several machines."""

from live_trees import FAMILY, LEAD, LOOP, OTHER, RUN, answer, changed, node

from crewgate.cli.top.once import document
from crewgate.cli.top.rates import Counts
from crewgate.cli.top.reading import Readings, UsageRow
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.answer_parts import CallTotalRow
from crewgate.ipc.cluster_tree import MachineTree, merged
from crewgate.ipc.cluster_view import ClusterTree


def test_rates_of_branches_are_those_of_two_readings() -> None:
    """In micro-credits and calls per minute; a crew calls as its runs do."""
    readings = Readings()
    readings.take(answer(), 100.0)
    later = changed(
        crew={"spent": 30_060_000},
        run={"spent": 30_060_000, "calls": 6},
        researcher={"spent": 20_060_000, "calls": 6},
    )
    found = readings.take(answer(later), 101.0)
    assert found.seconds == 1.0
    assert found.rows[node(LOOP)].rate == Counts(3_600_000, 360)
    assert found.rows[node(OTHER)].rate == Counts()
    assert found.rows[node()].rate == Counts(3_600_000, 360)
    assert found.total == Counts(3_600_000)


def test_branches_below_are_counted() -> None:
    """All of them, and those that are live."""
    rows = Readings().take(answer(changed(checker={"state": "revoked"})), 0).rows
    assert (rows[node()].below, rows[node()].live_below) == (4, 3)
    assert (rows[node(LEAD)].below, rows[node(LEAD)].live_below) == (2, 1)
    assert rows[node(LOOP)].below == 0


def test_calls_that_no_rule_counts_are_not_said_to_be_none() -> None:
    """Without [loops] and [rule.NAME]."""
    unknown = changed(
        run={"calls": -1}, editor={"calls": -1}, researcher={"calls": -1}, checker={"calls": -1}
    )
    rows = Readings().take(answer(unknown), 0).rows
    assert not any(live.counts_calls for live in rows.values())
    rows = Readings().take(answer(changed(run={"calls": -1})), 0).rows
    assert (rows[node(LOOP)].counts_calls, rows[node()].counts_calls) == (True, False)


def test_a_branch_without_a_row_above_is_below_its_crew() -> None:
    """Its parent is unknown to every machine by now."""
    rows = Readings().take(answer([FAMILY[0], FAMILY[3]]), 0).rows
    assert rows[node(LOOP)].parent == node()


def test_tools_and_crews_are_added_over_machines() -> None:
    """Each counts since its own start; one that starts again has no negative rate."""
    readings = Readings()

    def take(at: float, first: int, second: int) -> list[UsageRow]:
        totals = {
            "gw-1": [CallTotalRow("article", "search.web", first, 1, 10 * first)],
            "gw-2": [CallTotalRow("article", "search.web", second, 2, 10 * second),
                     CallTotalRow("bd", "crm.read", 5, 0, 50)],
        }  # fmt: skip
        found = ClusterTree([], ["gw-1", "gw-2"], "gw-1", [], 0, {}, totals)
        reading = readings.take(found, at)
        assert [row.crew for row in reading.crews] == ["article", "bd"]
        return [*reading.tools]

    take(0, 100, 50)
    web, crm = take(6, 110, 70)
    assert web == UsageRow("article", "search.web", Counts(1800, 180, 3), Counts(3000, 300))
    assert crm.rate == Counts()
    assert take(12, 120, 3)[0].rate.calls == 100


def test_rates_are_added_over_machines() -> None:
    """Each with a minute of its own; one that does not answer takes only its own rate away."""

    def found(first: int, second: int | None) -> ClusterTree:
        rows = {
            "gw-1": [TreeRow("article", RUN, "live", spent=first, calls=first)],
            "gw-2": [TreeRow("article", RUN, "live", spent=second or 0, calls=second or 0)],
        }
        asked = ["gw-1"] if second is None else ["gw-1", "gw-2"]
        trees = [MachineTree(name, f"of {name}", rows[name]) for name in asked]
        return ClusterTree(merged(trees), asked, "gw-1", [], 0, {"gw-1": 3, "gw-2": 900}, {})

    readings = Readings()
    readings.take(found(10, 20), 0)
    assert readings.take(found(11, 22), 1).rows[node(RUN)].rate == Counts(180, 180)
    assert readings.take(found(12, None), 2).rows[node(RUN)].rate == Counts(60, 60)
    assert readings.take(found(13, 26), 3).rows[node(RUN)].rate == Counts(180, 60)


def test_a_document_has_the_tree_with_rates() -> None:
    """Null where calls are not counted."""
    readings = Readings()
    readings.take(answer(), 0)
    totals = [CallTotalRow("article", "search.web", 4, 1, 900)]
    found = document(readings.take(answer(changed(run={"calls": 3}), totals=totals), 1))
    (run,) = [each for each in found["branches"] if each["branch"] == RUN]
    assert (run["calls_per_minute"], run["spent_micro_per_minute"]) == (180.0, 0)
    assert found["crews"][0]["calls_per_minute"] == 180.0
    assert found["tools"] == [
        {
            "crew": "article", "tool": "search.web", "calls": 4, "refused": 1, "spent_micro": 900,
            "calls_per_minute": 0.0, "refused_per_minute": 0.0, "spent_micro_per_minute": 0,
        }
    ]  # fmt: skip
    assert "tool" not in found["calls_of_crews"][0]
    assert found["seconds"] == 1.0
