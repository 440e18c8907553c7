"""When a person hears that a budget is nearly spent."""

import msgspec
import pytest
from alert_fakes import LOCAL, NOW

from crewgate import limits
from crewgate.alerts.alert import Alert, AlertState, Findings
from crewgate.alerts.budget_watch import BudgetWatch, CrewAllowance
from crewgate.core.alert_kinds import AlertSeverity
from crewgate.ipc.admin_messages import TreeRow

C = 1_000_000
ALLOWED = {"article": CrewAllowance(hour=10 * C, day=100 * C)}
RUN = TreeRow("article", "run", "live", role="writer", orchestrator="article/a", quota=10 * C)
CHILD = TreeRow("article", "child", "live", parent="run", role="researcher", quota=5 * C)


class Watch:
    """A watch, and what it remembers beyond its process."""

    def __init__(self, thresholds: tuple[int, ...] = (50, 80, 100)) -> None:
        self.thresholds = thresholds
        self.notes: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        self.watch = BudgetWatch(LOCAL, self.thresholds, ALLOWED, self.notes)

    def see(self, *rows: TreeRow, now: float = NOW) -> list[Alert]:
        found: Findings = self.watch.update(rows, now)
        for key, text in found.notes.items():
            if text is None:
                del self.notes[key]
            else:
                self.notes[key] = text
        return found.alerts


def spent(row: TreeRow, amount: float, **changes: object) -> TreeRow:
    return msgspec.structs.replace(row, spent=round(amount * C), **changes)


def test_each_threshold_is_told_once() -> None:
    """With the amounts, the commands, and a severity that grows."""
    watch = Watch()
    assert watch.watch.percent_min == 50
    assert not watch.see(spent(RUN, 4.9))
    (half,) = watch.see(spent(RUN, 5))
    assert (half.type, half.percent, half.severity) == ("run-credits", 50, AlertSeverity.INFO)
    assert half.text == (
        "run run (writer of crew article) has spent 5.00 of 10.00 credits (50 % are reached)"
    )
    assert not watch.see(spent(RUN, 6))
    (most,) = watch.see(spent(RUN, 8.5))
    assert (most.percent, most.percent_before, most.severity) == (80, 50, AlertSeverity.WARNING)
    (full,) = watch.see(spent(RUN, 10))
    assert full.text.endswith("(100 % are reached); its calls are refused")
    assert f"to end it: `crewgate revoke -c {LOCAL.path} --crew article run`" in full.next
    assert not watch.see(spent(RUN, 10))
    assert len({half.id, most.id, full.id}) == 3
    assert {each.subject for each in (half, most, full)} == {"branch/run"}


def test_the_first_look_of_all_tells_nothing() -> None:
    """But all that comes after it."""
    watch = Watch()
    watch.watch = BudgetWatch(LOCAL, (50, 80, 100), ALLOWED, {}, is_first=True)
    assert not watch.see(spent(RUN, 10), spent(CHILD, 3))
    assert [each.percent for each in watch.see(spent(RUN, 10), spent(CHILD, 4))] == [80]
    watch.start()
    assert not watch.see(spent(RUN, 10), spent(CHILD, 4))


def test_a_flood_is_told_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, and its end as well; each once."""
    monkeypatch.setattr(limits, "alerts_of_look_max", 4)
    watch = Watch()
    rows = [spent(msgspec.structs.replace(RUN, branch=f"r{number}"), 8) for number in range(10)]
    looks = [watch.see(*rows) for _ in range(4)]
    assert [len(alerts) for alerts in looks] == [4, 4, 2, 0]
    assert len({each.id for alerts in looks for each in alerts}) == 10
    assert [len(watch.see()) for _ in range(4)] == [4, 4, 2, 0]


def test_burned_credit_counts() -> None:
    assert Watch().see(spent(RUN, 4, burned=1 * C))


def test_a_restart_neither_repeats_nor_forgets() -> None:
    """What was crossed meanwhile is told as the highest threshold."""
    watch = Watch()
    watch.see(spent(RUN, 5), spent(CHILD, 4))
    watch.start()
    assert not watch.see(spent(RUN, 5), spent(CHILD, 4))
    watch.start()
    (full,) = watch.see(spent(RUN, 10), spent(CHILD, 4))
    assert (full.percent, full.percent_before) == (100, 50)


def test_all_machines_give_the_same_id() -> None:
    here, there = Watch(), Watch()
    there.watch = BudgetWatch(
        msgspec.structs.replace(LOCAL, name="gw-2"), (50, 80, 100), ALLOWED, {}
    )
    (first,) = here.see(spent(RUN, 8))
    (second,) = there.see(spent(RUN, 8.1), now=NOW + 3)
    assert first.id == second.id
    assert second.machine == "gw-2"


def test_a_higher_quota_begins_anew() -> None:
    watch = Watch()
    (before,) = watch.see(spent(RUN, 8))
    assert [each.state for each in watch.see(spent(RUN, 8, quota=20 * C))] == [AlertState.OVER]
    (after,) = watch.see(spent(RUN, 16, quota=20 * C))
    assert (after.percent, after.id == before.id) == (80, False)


def test_a_branch_that_ends_is_over() -> None:
    """Also one that the table has forgotten; the memory forgets both."""
    watch = Watch()
    watch.see(spent(RUN, 8), spent(CHILD, 5))
    (over,) = watch.see(spent(RUN, 8, state="revoked"), spent(CHILD, 5))
    assert (over.state, over.subject, over.severity.value) == (
        AlertState.OVER, "branch/run", "warning",
    )  # fmt: skip
    (child,) = watch.see()
    assert child.type == "branch-credits"
    assert not watch.notes


def test_the_hour_of_a_crew() -> None:
    """The next hour has credits again, and can be told again."""
    watch = Watch()
    crew = TreeRow("article", "", "live", left_hour=2 * C, left_day=80 * C)
    (most,) = watch.see(crew)
    assert (most.type, most.subject, most.crew) == ("crew-hour", "crew/article/hour", "article")
    assert (
        most.text == "crew article in this hour has spent 8.00 of 10.00 credits (80 % are reached)"
    )
    empty = msgspec.structs.replace(crew, left_hour=0)
    (full,) = watch.see(empty, now=NOW + 60)
    assert full.severity is AlertSeverity.CRITICAL
    assert full.text.endswith("; its calls are refused until 2026-11-30 13:00Z")
    again, over = watch.see(empty, now=NOW + 3600)
    assert (over.state, again.state) == (AlertState.OVER, AlertState.BEGINS)
    assert again.id != full.id


def test_a_crew_without_limits_is_never_told() -> None:
    assert not Watch().see(TreeRow("other", "", "live", left_hour=-1, left_day=-1))


def test_only_the_thresholds_that_somebody_wants() -> None:
    watch = Watch((90,))
    assert watch.watch.percent_min == 90
    assert not watch.see(spent(RUN, 8.9))
    assert [each.percent for each in watch.see(spent(RUN, 9))] == [90]
