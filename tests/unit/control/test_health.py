"""What the control process reports of certificates and of what another machine gives."""

from pathlib import Path

import pytest
import trio
import trio.testing

from crewgate import limits
from crewgate.audit.sink import Sink
from crewgate.audit.writer import Writer
from crewgate.control.health import ControlHealth
from crewgate.core.health import Fact, State, degraded, ok


@pytest.fixture
def health(tmp_path: Path) -> ControlHealth:
    """Of a process whose audit works."""
    return ControlHealth(tmp_path, tmp_path, Sink(Writer(tmp_path / "audit", "control")))


def troubles(health: ControlHealth) -> list[Fact]:
    return [fact for fact in health.facts() if fact.state is not State.OK]


def test_a_fact_holds_until_it_is_another(health: ControlHealth) -> None:
    """What is well again is reported no more, which counts as well."""
    health.set(degraded("control: certificate a.pem", "it ends in 29 days", "renew it"))
    health.set(degraded("control: certificate a.pem", "it ends in 28 days", "renew it"))
    (fact,) = troubles(health)
    assert (fact.why, fact.logged) == ("it ends in 28 days", False)
    health.set(ok("control: certificate a.pem"))
    health.set(ok("control: certificate b.pem"))
    assert troubles(health) == []


async def test_a_report_holds_the_worst_of_too_many(
    health: ControlHealth, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is too long would be refused whole."""
    reports: list[list[Fact]] = []
    monkeypatch.setattr(health._reporter, "report", reports.append)
    for number in range(limits.health_facts_max + 9):
        health.set(degraded(f"control: certificate {number}", "it ends"))
    with trio.move_on_after(3 * limits.health_report_seconds):
        await health.run()
    assert reports
    for report in reports:
        assert len(report) == limits.health_facts_max
        assert {fact.state for fact in report} == {State.DEGRADED}
