"""What the control process reports of certificates and of what another machine gives."""

from pathlib import Path

import pytest
import trio
import trio.testing

from crewgate import limits
from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.control.health import ControlHealth
from crewgate.core.health import ComponentHealth, HealthState, degraded, ok


@pytest.fixture
def health(tmp_path: Path) -> ControlHealth:
    """Of a process that serves, and whose audit works."""
    made = ControlHealth(
        tmp_path, tmp_path, AuditRecorder(AuditWriter(tmp_path / "audit", "control"))
    )
    made.is_serving = True
    return made


def troubles(health: ControlHealth) -> list[ComponentHealth]:
    return [fact for fact in health.facts() if fact.state is not HealthState.OK]


def names(health: ControlHealth) -> list[str]:
    return [fact.component.removeprefix("control: ") for fact in troubles(health)]


async def test_a_fact_holds_until_it_is_another(health: ControlHealth) -> None:
    """What is well again is reported no more, which counts as well."""
    for days in (29, 28):
        why = f"it ends in {days} days"
        health.set("certificates", [degraded("control: certificate a.pem", why, "renew it")])
    (fact,) = troubles(health)
    assert (fact.why, fact.logged) == ("it ends in 28 days", False)
    health.set("certificates", [ok("control: certificate a.pem"), ok("control: certificate b.pem")])
    assert troubles(health) == []


async def test_what_a_source_says_no_more_is_over(health: ControlHealth) -> None:
    """A certificate under another name, a listener that is gone; other sources stay."""
    health.set("list", [degraded("control: list", "it is old")])
    health.set("certificates", [degraded("control: a.pem", "x"), degraded("control: b.pem", "x")])
    assert names(health) == ["list", "a.pem", "b.pem"]
    health.set("certificates", [degraded("control: c.pem", "x")])
    assert names(health) == ["list", "c.pem"]
    health.set("certificates", ())
    assert names(health) == ["list"]


async def test_what_is_not_looked_at_again_ends_by_itself(
    health: ControlHealth, autojump_clock: trio.testing.MockClock
) -> None:
    """A question of OCSP that failed."""
    health.set("OCSP", [degraded("control: OCSP", "it is not answered")], 60)
    await trio.sleep(59)
    assert names(health) == ["OCSP"]
    await trio.sleep(2)
    assert names(health) == []


async def test_a_report_holds_the_worst_of_too_many(
    health: ControlHealth, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is too long would be refused whole."""
    reports: list[list[ComponentHealth]] = []
    monkeypatch.setattr(health._reporter, "report", reports.append)
    many = range(limits.health_facts_max + 9)
    health.set("many", [degraded(f"control: certificate {each}", "it ends") for each in many])
    with trio.move_on_after(3 * limits.health_report_seconds):
        await health.run()
    assert reports
    for report in reports:
        assert len(report) == limits.health_facts_max
        assert {fact.state for fact in report} == {HealthState.DEGRADED}
