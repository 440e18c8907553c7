"""What was measured of a cluster, as tables and as one member of the JSON document.

Decides which figures are held against which goals: a storm's if it is a million revocations, for a
smaller one's memory is mostly what any member needs.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from bench.cluster.costs import Cost
from bench.cluster.cut import ONE_OF
from bench.cluster.gateways import CUT, Times
from bench.cluster.storm import MILLION, After
from bench.report import Goal, goal_table, headed, machine

UNITS = {
    "times": "milliseconds from when the agent of one machine has read the revocation",
    "cpu_ms": "milliseconds of one member, above what it uses idle (as such: in the idle second)",
    "bytes": "of datagrams that one member sends, heads of IPv4 and UDP included",
    "megabytes": "10^6 bytes, resident, with the table where there is one",
}


@dataclass(frozen=True)
class Report:
    """All of one run, and how busy the machine was."""

    times: list[Times]
    costs: list[Cost]
    storms: list[After]
    load_average: float


def goals(report: Report) -> list[Goal]:
    """The figures that the project promises."""
    (cut,) = (each for each in report.times if each.name == CUT)
    (straight,) = (each for each in report.times if each.name.startswith(ONE_OF))
    found = [
        Goal("revoked to cut on another machine, median", 10, cut.median, "ms"),
        Goal("revoked to cut on another machine, p99", 50, cut.p99, "ms"),
        Goal(f"{straight.name}, p99", 10, straight.p99, "ms"),
    ]
    for storm in report.storms:
        if storm.revocations == MILLION:
            found += [
                Goal(f"memory, {storm.name}", 300, storm.peak_megabytes, "MB"),
                Goal(f"restart, {storm.name}", 20, storm.restart_seconds, "s"),
                Goal(f"a new machine, {storm.name}", 60, storm.fresh_seconds, "s"),
            ]
    return found


def document(report: Report) -> dict[str, Any]:
    """The member `cluster` of the results."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "units": UNITS,
        **asdict(report),
        "goals": [{**asdict(goal), "met": goal.met} for goal in goals(report)],
    }


def rendered(report: Report) -> Iterator[Table]:
    """All tables, the goals last."""
    table = headed("A revocation on one of three gateways", ("ms, median", "p99", "most"))
    for times in report.times:
        table.add_row(times.name, *(f"{ms:.1f}" for ms in (times.median, times.p99, times.most)))
    yield table
    table = headed("What a member spends on one", ("CPU, ms", "datagrams", "bytes"))
    for cost in report.costs:
        cells = f"{cost.cpu_ms:.2f}", f"{cost.datagrams:,.0f}", f"{cost.bytes:,.0f}"
        table.add_row(f"{cost.what}: {cost.who}", *cells)
    yield table
    for storm in report.storms:
        yield _storm_table(storm)
    yield goal_table(goals(report))


def _storm_table(storm: After) -> Table:
    table = headed(f"{storm.revocations:,} revocations, {storm.name}", ("", "for a million"))
    seconds = {
        "restart, s": storm.restart_seconds,
        "of which the disk's capsules, s": storm.restored_seconds,
        "a new machine has them, s": storm.fresh_seconds,
        "CPU of that one, s": storm.fresh_cpu_seconds,
    }
    for what, value in seconds.items():
        table.add_row(what, f"{value:.1f}", f"{storm.at_a_million(value):.1f}")
    memory = {
        "memory without any, MB": storm.empty_megabytes,
        "after the restart, MB": storm.restarted_megabytes,
        "of the new machine, MB": storm.fresh_megabytes,
        "of the one that gave, MB": storm.giving_megabytes,
        "the most of either, MB": storm.peak_megabytes,
    }
    for what, value in memory.items():
        table.add_row(what, f"{value:.0f}", "")
    return table
