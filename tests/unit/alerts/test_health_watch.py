"""When a person hears that a component is not well, and that it is well again."""

import pytest
from alert_fakes import LOCAL, NOW

from crewgate import limits
from crewgate.alerts.alert import Alert, AlertState
from crewgate.alerts.health_watch import HealthWatch, kind_of
from crewgate.core.alert_kinds import AlertKind, AlertSeverity
from crewgate.core.health import HealthCondition, HealthState


def bad(
    name: str = "ledger", state: HealthState = HealthState.FAILED, **more: object
) -> HealthCondition:
    return HealthCondition(name, state, "it does not answer", "start it", since=NOW, **more)


class Watch:
    """A watch with a clock, and what it remembers beyond its process."""

    def __init__(self) -> None:
        self.now = 0.0
        self.notes: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        self.watch = HealthWatch(LOCAL, self.notes)

    def see(
        self, *conditions: HealthCondition, after: float = 0, is_whole: bool = True
    ) -> list[Alert]:
        self.now += after
        found = self.watch.update(conditions, NOW + self.now, self.now, is_whole=is_whole)
        self.keep(found.notes)
        return found.alerts

    def silent(self, after: float = 0) -> list[Alert]:
        self.now += after
        found = self.watch.no_answer("it does not answer", NOW + self.now, self.now)
        self.keep(found.notes)
        return found.alerts

    def keep(self, notes: dict[str, str | None]) -> None:
        for key, text in notes.items():
            if text is None:
                self.notes.pop(key, None)
            else:
                self.notes[key] = text


def test_a_failure_and_its_end() -> None:
    """With the reason, what mends it, and how long it lasted; each once."""
    watch = Watch()
    assert not watch.see(HealthCondition("ledger"))
    (begins,) = watch.see(bad())
    assert begins.text == "ledger of machine gw-1 is failed: it does not answer"
    assert begins.next == f"start it; see more: `crewgate status -c {LOCAL.path}`"
    assert (begins.type, begins.severity) == ("ledger", AlertSeverity.CRITICAL)
    assert not watch.see(bad(), after=60)
    assert not watch.see(HealthCondition("ledger"), after=1)
    (over,) = watch.see(HealthCondition("ledger"), after=limits.alert_calm_seconds)
    assert (over.state, over.subject) == (AlertState.OVER, begins.subject)
    assert over.text == "ledger of machine gw-1 is ok again after 91 s"
    assert over.severity is AlertSeverity.CRITICAL
    assert not watch.notes


def test_a_state_that_should_pass_is_not_told() -> None:
    """As the start of a process."""
    watch = Watch()
    assert not watch.see(bad("worker 0", passing=True))
    assert watch.see(bad("worker 0"), after=30)


def test_a_bad_state_of_a_moment_is_not_told() -> None:
    watch = Watch()
    moment = HealthCondition("ledger", HealthState.FAILED, "x", since=NOW + 1)
    assert not watch.see(moment, after=2)
    assert not watch.see(HealthCondition("ledger", since=NOW + 3), after=2)
    assert not watch.see(after=60)
    lasting = HealthCondition("ledger", HealthState.FAILED, "x", since=NOW + 65)
    assert not watch.see(lasting, after=2)
    assert watch.see(lasting, after=2)


def test_worse_is_told_at_once_and_better_later() -> None:
    watch = Watch()
    watch.see(bad(state=HealthState.DEGRADED))
    (worse,) = watch.see(bad(), after=4)
    assert worse.data["state"] == "failed"
    assert not watch.see(bad(state=HealthState.DEGRADED), after=1)
    (better,) = watch.see(bad(state=HealthState.DEGRADED), after=limits.alert_calm_seconds)
    assert (better.state, better.severity) == (AlertState.BEGINS, AlertSeverity.WARNING)


def test_a_restart_neither_repeats_nor_forgets() -> None:
    watch = Watch()
    watch.see(bad(), bad("upstream a"))
    watch.start()
    assert not watch.see(bad(), bad("upstream a"), after=5)
    watch.start()
    assert not watch.see(bad("upstream a"), after=5)
    (over,) = watch.see(bad("upstream a"), after=limits.alert_calm_seconds)
    assert over.subject == "machine/gw-1/ledger"


def test_a_component_that_is_left_out_is_not_over() -> None:
    """An answer has the worst components only."""
    watch = Watch()
    watch.see(bad())
    for _ in range(3):
        assert not watch.see(after=60, is_whole=False)
    watch.see()
    assert watch.see(after=60)


def test_a_component_that_flaps_is_no_flood() -> None:
    """A day of it is two alerts an hour, not thousands."""
    watch, alerts = Watch(), 0
    for _ in range(86_400 // 120):
        alerts += len(watch.see(bad(), after=60))
        alerts += len(watch.see(after=60))
        alerts += len(watch.see(after=0))
    assert alerts < 60


def test_an_agent_that_does_not_answer_is_told_after_a_while() -> None:
    watch = Watch()
    assert not watch.silent()
    assert not watch.silent(after=limits.alert_agent_seconds / 2)
    (begins,) = watch.silent(after=limits.alert_agent_seconds)
    assert begins.subject == "machine/gw-1/agent"
    assert not watch.silent(after=60)
    assert not watch.see(after=1)
    (over,) = watch.see(after=limits.alert_calm_seconds)
    assert over.state is AlertState.OVER
    assert not watch.silent(after=1)


@pytest.mark.parametrize(
    ("component", "kind"),
    [
        ("ledger", AlertKind.LEDGER),
        ("ledger's folder", AlertKind.DISK),
        ("audit", AlertKind.DISK),
        ("audit folder", AlertKind.DISK),
        ("audit of the agent", AlertKind.DISK),
        ("control: audit", AlertKind.DISK),
        ("state folder", AlertKind.DISK),
        ("journal of revocations", AlertKind.DISK),
        ("certificate of listener agents", AlertKind.CERTIFICATE),
        ("CRL of listener agents", AlertKind.CERTIFICATE),
        ("control: certificate gateway.pem of [cluster]", AlertKind.CERTIFICATE),
        ("control: CRL", AlertKind.CERTIFICATE),
        ("cluster", AlertKind.MACHINE),
        ("cluster's folder", AlertKind.DISK),
        ("CRLs of other machines", AlertKind.CERTIFICATE),
        ("worker 0", AlertKind.PROCESS),
        ("export", AlertKind.PROCESS),
        ("upstream audit", AlertKind.HEALTH),
        ("crew article", AlertKind.HEALTH),
        ("alerts to oncall", AlertKind.HEALTH),
    ],
)
def test_each_component_has_a_kind(component: str, kind: AlertKind) -> None:
    assert kind_of(component) is kind
