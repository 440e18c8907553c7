"""The alerts on the page: of all machines, of what holds now, and only those that one may see."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from alert_fakes import NOW, TIME, alert
from live_page import LOCAL, Machines, live_feed, status_of, viewer

from crewgate import limits
from crewgate.alerts.alert import threshold_id
from crewgate.alerts.budget_watch import CrewAllowance
from crewgate.alerts.health_watch import HealthWatch
from crewgate.core.alert_kinds import AlertKind
from crewgate.core.health import HealthCondition, HealthState
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.cluster_tree import ClusterTreeRow, MachineShare
from crewgate.ipc.cluster_view import ClusterStatus, SilentMachine
from crewgate.ui.live import feed as feed_module
from crewgate.ui.live.active_alerts import ActiveAlerts
from crewgate.ui.live.alert_list import AlertList, read_alerts
from crewgate.ui.live.machine_alerts import ReportedAlerts
from crewgate.ui.live.watcher import View

BRANCH = "01890a5d-ac96-774b-bcce-b302099a8057"
LATER = TIME + timedelta(hours=1)


def shown(found: AlertList, *crews: str) -> list[dict[str, Any]]:
    alerts: list[dict[str, Any]] = json.loads(found.document(View(viewer(*crews))))["alerts"]
    return alerts


def test_each_sees_the_alerts_of_its_crews_the_newest_first() -> None:
    """What is of no crew is for who sees all; one id is one alert."""
    of_bd = alert(2, crew="bd", timestamp=TIME + timedelta(seconds=1))
    of_account = alert(3, crew="article:bd", timestamp=TIME + timedelta(seconds=2))
    of_machine = alert(4, crew="", timestamp=TIME + timedelta(seconds=3))
    told = {
        name: read_alerts(name, [each.document() for each in alerts], LATER)
        for name, alerts in {
            "gw-1": (alert(1), of_bd), "gw-2": (of_bd, of_account, of_machine),
        }.items()
    }  # fmt: skip
    found = AlertList.of(told, [SilentMachine("gw-3", "finance")], [alert(1), alert(5)])
    texts = [each["text"] for each in shown(found)]
    assert texts == ["number 4", "number 3", "number 2", "number 1", "number 5"]
    assert [each["text"] for each in shown(found, "bd")] == ["number 2"]
    mine = [each["text"] for each in shown(found, "article")]
    assert mine == ["number 3", "number 1", "number 5"]
    assert [each["machine"] for each in shown(found)] == ["gw-2", "gw-2", "gw-1", "gw-1", "gw-1"]
    assert b"finance" in found.document(View(viewer()))
    assert b"finance" not in found.document(View(viewer("article")))


def test_a_machine_that_lies_makes_no_harm() -> None:
    """Nonsense is left out; no alert is of the future, or of another machine."""
    future = alert(1, timestamp=datetime(9999, 1, 1, tzinfo=UTC), machine="gw-9")
    documents = [
        b"", b"[]", b"{" * 10_000, b"\xff", future.document(),
        msgspec.json.encode({"id": "x"}), alert(2, text="x" * 9999).document(),
    ]  # fmt: skip
    (found,) = read_alerts("gw-2", documents, LATER)
    assert (found.machine, found.timestamp) == ("gw-2", LATER)


def test_so_many_alerts_are_sent_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest that a person may see."""
    monkeypatch.setattr(limits, "ui_alerts_max", 3)
    many = [alert(n, timestamp=TIME + timedelta(seconds=n), crew="ab"[n % 2]) for n in range(9)]
    found = AlertList.of({"gw-1": read_alerts("gw-1", [a.document() for a in many], LATER)}, [], [])
    assert [each["text"] for each in shown(found, "a")] == ["number 8", "number 6", "number 4"]


def row(spent: int, *shares: int, quota: int = 100, state: Any = "live") -> ClusterTreeRow:
    machines = tuple(MachineShare(f"gw-{n}", "live", each, 0, 0) for n, each in enumerate(shares))
    return ClusterTreeRow(
        "article", BRANCH, state, quota=quota, spent=spent, machines=machines,
        quotas=max(1, len(shares)),
    )  # fmt: skip


def test_spent_budgets_hold_with_the_ids_that_receivers_get() -> None:
    """Of a branch, and of the hour of a crew; once there are credits again, no more."""
    active = ActiveAlerts(LOCAL, {"article": CrewAllowance(hour=1000)})

    def held(*rows: ClusterTreeRow) -> list[tuple[str, int]]:
        active.take_tree(rows, NOW)
        return [(each.id, each.percent) for each in active.alerts(NOW)]

    assert held(row(79)) == []
    eighty = threshold_id(AlertKind.RUN_CREDITS, "article", BRANCH, 80, 100)
    assert held(row(80)) == [(eighty, 80)]
    assert [percent for _, percent in held(row(100))] == [100]
    assert held(row(100, quota=1000)) == []
    assert held(row(100, state="revoked")) == []
    # Two ledgers, each with the whole quota.
    assert held(row(150, 75, 75)) == []
    assert held(row(155, 75, 80)) == [(eighty, 80)]
    crew = ClusterTreeRow("article", "", "live", left=100, left_hour=100)
    (alert_of_crew,) = held(crew)
    assert alert_of_crew[1] == 80


def test_a_crew_that_spends_a_whole_hour_at_once_is_seen_in_each_hour() -> None:
    """The end of the alert of the hour before is not that of this one."""
    active = ActiveAlerts(LOCAL, {"article": CrewAllowance(hour=1000)})
    crew = ClusterTreeRow("article", "", "live", left=0, left_hour=0)
    hour = 3600 * (int(NOW) // 3600)
    for at in (hour + 3590, hour + 3601):
        active.take_tree([crew], at)
        [found] = active.alerts(at)
        assert found.type == "crew-hour"
        assert found.timestamp.timestamp() == at
    active.take_tree([msgspec.structs.replace(crew, left_hour=1000)], hour + 7201)
    assert not [*active.alerts(hour + 7201)]


def test_of_branches_without_credits_so_many_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with nothing left come first."""
    monkeypatch.setattr(limits, "ui_budget_alerts_max", 2)
    active = ActiveAlerts(LOCAL, {})
    spent = {"a": 80, "b": 100, "c": 80, "d": 100}
    rows = [msgspec.structs.replace(row(each), branch=name) for name, each in spent.items()]
    active.take_tree(rows, NOW)
    assert [each.percent for each in active.alerts(NOW)] == [100, 100]


def condition(state: HealthState, since: float = NOW - 60) -> HealthCondition:
    return HealthCondition("ledger", state, "it is away", "start it", since=since)


def test_components_of_all_machines_hold_until_they_are_well() -> None:
    """With the ids that receivers of their machines get; a machine that was evicted has none."""
    active = ActiveAlerts(LOCAL, {})
    bad = status_of(health=[condition(HealthState.FAILED)], state=HealthState.FAILED)
    active.take_machines(["gw-1", "gw-2"], [], NOW)
    active.take_health(ClusterStatus({"gw-1": bad, "gw-2": bad}, "gw-1", []), NOW, 0.0)
    found = [*active.alerts(NOW)]
    assert [each.machine for each in found] == ["gw-1", "gw-2"]
    for each in found:
        theirs = HealthWatch(msgspec.structs.replace(LOCAL, name=each.machine), {})
        sent = theirs.update([condition(HealthState.FAILED)], NOW, 0.0, is_whole=True)
        assert [alert.id for alert in sent.alerts] == [each.id]
    well = status_of(health=[condition(HealthState.OK)])
    for now in (0.0, limits.alert_calm_seconds):
        active.take_health(ClusterStatus({"gw-1": well}, "gw-1", []), NOW, now)
    assert [each.machine for each in active.alerts(NOW)] == ["gw-2"]
    # While the agent of this machine does not answer, nobody says which machines there are.
    active.take_machines(None, [SilentMachine("gw-1", "it restarts")], NOW)
    assert [each.machine for each in active.alerts(NOW)] == ["gw-2"]
    active.take_machines(["gw-1"], [], NOW)
    assert [*active.alerts(NOW)] == []


@pytest.mark.parametrize("since", [float("inf"), float("nan"), -1e300, 1e300, 1e15])
def test_a_moment_that_no_calendar_has_ends_nothing(since: float) -> None:
    """A machine can say what it likes about its health; the others are shown."""
    active = ActiveAlerts(LOCAL, {})
    bad = status_of(health=[condition(HealthState.FAILED, since)])
    good = status_of(health=[condition(HealthState.FAILED)])
    active.take_health(ClusterStatus({"gw-2": bad, "gw-3": good}, "gw-1", []), NOW, 0.0)
    assert "gw-3" in [each.machine for each in active.alerts(NOW)]


def test_a_machine_that_does_not_answer_is_away_after_a_while() -> None:
    """Since when it has not; it is back once it answers."""
    active = ActiveAlerts(LOCAL, {})
    away = [SilentMachine("gw-2", "timed out")]
    for at in (0.0, limits.ui_away_seconds - 1):
        active.take_machines(["gw-1"], away, NOW + at)
        assert [*active.alerts(NOW + at)] == []
    later = NOW + limits.ui_away_seconds
    (found,) = active.alerts(later)
    assert (found.subject, found.timestamp.timestamp()) == ("machine/gw-2", NOW)
    assert "does not answer machine gw-1: timed out" in found.text
    active.take_machines(["gw-1", "gw-2"], [], later)
    assert [*active.alerts(later)] == []


async def test_machines_are_asked_again_sooner_after_something_has_happened(
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:
    """After a step of a rule, or an action of a person; otherwise twice a minute."""
    feed, count = live_feed(), 0
    send, asked = trio.open_memory_channel[float](9)

    def ask(folder: Path, machine: str) -> ReportedAlerts:
        nonlocal count
        count += 1
        trio.from_thread.run_sync(lambda: send.send_nowait(trio.current_time()))
        documents = [alert(count).document()]
        return ReportedAlerts({machine: read_alerts(machine, documents, LATER)}, [])

    show, is_shown = feed._show_alerts, trio.Event()

    def show_and_tell() -> None:
        show()
        if feed._reported.alerts["gw-1"][0].text == "number 4":
            is_shown.set()

    monkeypatch.setattr(feed_module.machine_alerts, "ask", ask)
    monkeypatch.setattr(feed, "_show_alerts", show_and_tell)
    nursery.start_soon(feed._read_alerts)
    first = await asked.receive()
    feed.hurry()
    second = await asked.receive()
    third = await asked.receive()
    assert second - first == pytest.approx(limits.ui_alerts_seconds_min)
    assert third - second == pytest.approx(limits.ui_alerts_seconds)
    machines = Machines()
    reader = machines.reader(monkeypatch)
    for step in (None, RuleStep.WARN):
        rule = {"rule": "loops", "rule_step": step, "rule_mode": RuleMode.ENFORCE}
        machines.trees["gw-1"] = [TreeRow("article", "a", "live", **rule)]
        feed.publish(reader.read())
    assert await asked.receive() - third == pytest.approx(limits.ui_alerts_seconds_min)
    await is_shown.wait()
    found = json.loads(feed.documents["alerts"](View(viewer("article"))))
    assert [each["text"] for each in found["alerts"]] == ["number 4"]
    nursery.cancel_scope.cancel()
