"""Reports when a component of the machine becomes degraded or fails, and when it is well again.

It sees the health as `crewgate status` shows it. A bad state that lasts only a moment is not
reported. A better state is reported after it has lasted for a while; each relapse doubles this
time, so that a component that flaps does not flood a person. The times are seconds of a monotonic
clock, except `wall`, which is in seconds since 1970.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from crewgate import limits
from crewgate.alerts.alert import Alert, AlertState, Findings, alert_id, cut
from crewgate.alerts.local_machine import LocalMachine
from crewgate.core.alert_kinds import AlertKind, AlertSeverity
from crewgate.core.health import HealthCondition, HealthState

AGENT: Final = "agent"
# By the whole name of the component; the first that fits.
_KINDS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"ledger", AlertKind.LEDGER),
        (r"(control: )?(certificate|CRL|OCSP)\b.*|CRLs of other machines", AlertKind.CERTIFICATE),
        (r"(control: )?audit\b.*|(state|ledger's|cluster's) folder", AlertKind.DISK),
        (r"control: folder of the CA|journal of .*|cluster state on disk", AlertKind.DISK),
        (r"cluster", AlertKind.MACHINE),
        (r"worker [0-9]+|agent|admin|alerts|control|export", AlertKind.PROCESS),
    )
)


class ReportedState(msgspec.Struct, frozen=True):
    """The state of a component that was reported last, and when it began, in seconds since 1970."""

    state: HealthState
    since: float


class _Recovery(msgspec.Struct):
    """How long a better state must last, and since when it does."""

    pause: float = limits.alert_calm_seconds
    better_since: float | None = None
    reported_at: float | None = None


class HealthWatch:
    """Remembers the reported state of each component that is not ok.

    `notes` are those of an earlier process.
    """

    def __init__(self, local: LocalMachine, notes: Mapping[str, str]) -> None:
        self._local = local
        self._reported = {
            name: msgspec.json.decode(text, type=ReportedState) for name, text in notes.items()
        }
        self._recoveries: dict[str, _Recovery] = {}
        self._silent_since: float | None = None

    def update(
        self, conditions: Sequence[HealthCondition], wall: float, now: float, *, is_whole: bool
    ) -> Findings:
        """Take the conditions of all components; unless `is_whole`, some of them are missing."""
        self._silent_since = None
        found, seen = Findings.none(), set[str]()
        for each in conditions:
            seen.add(each.component)
            is_new = 0 < wall - each.since < limits.alert_bad_seconds
            is_bad = each.state is not HealthState.OK
            if not each.passing and not (is_bad and is_new):
                self._take(found, each, wall, now)
        # If the agent no longer reports a component, the component counts as ok.
        gone = [name for name in self._reported if name not in seen] if is_whole else []
        for name in gone:
            self._take(found, HealthCondition(name), wall, now)
        return found

    def no_answer(self, why: str, wall: float, now: float) -> Findings:
        """Note that the agent does not answer; after a while, report it."""
        found = Findings.none()
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since >= limits.alert_agent_seconds:
            mend = "find the reason in the log of `crewgate serve`"
            condition = HealthCondition(AGENT, HealthState.FAILED, why, mend, refuses=True)
            self._take(found, condition, wall, now)
        return found

    def _take(self, found: Findings, each: HealthCondition, wall: float, now: float) -> None:
        name = each.component
        reported = self._reported.get(name)
        before = HealthState.OK if reported is None else reported.state
        recovery = self._recoveries.get(name)
        if each.state is before:
            if recovery is not None:
                recovery.better_since = None
            return
        if each.state.rank < before.rank and not self._has_lasted(name, now):
            return
        recovery = self._recoveries.setdefault(name, _Recovery())
        if each.state.rank > before.rank:
            is_relapse = recovery.reported_at is not None and (
                now - recovery.reported_at < limits.health_calm_seconds
            )
            longer = min(2 * recovery.pause, limits.alert_calm_seconds_max)
            recovery.pause = longer if is_relapse else limits.alert_calm_seconds
        else:
            recovery.reported_at = now
        recovery.better_since = None
        found.alerts.append(self._alert(each, reported, wall))
        if each.state is HealthState.OK:
            self._reported.pop(name, None)
            found.notes[name] = None
        else:
            self._reported[name] = ReportedState(each.state, each.since or wall)
            found.notes[name] = msgspec.json.encode(self._reported[name]).decode()
        self._forget_old(now)

    def _has_lasted(self, name: str, now: float) -> bool:
        recovery = self._recoveries.setdefault(name, _Recovery())
        if recovery.better_since is None:
            recovery.better_since = now
        return now - recovery.better_since >= recovery.pause

    def _forget_old(self, now: float) -> None:
        """Drop what is only known of components that have been well for long."""
        for name, each in [*self._recoveries.items()]:
            is_old = (
                each.reported_at is not None and now - each.reported_at > limits.health_calm_seconds
            )
            if is_old and name not in self._reported:
                del self._recoveries[name]

    def _alert(self, each: HealthCondition, reported: ReportedState | None, wall: float) -> Alert:
        kind, machine = kind_of(each.component), self._local.name
        is_over = each.state is HealthState.OK
        data: dict[str, object] = {"component": each.component, "state": each.state.value}
        if is_over:
            lasted = round(wall - reported.since) if reported is not None else 0
            text = f"{each.component} of machine {machine} is ok again after {lasted} s"
            then = ""
            data["seconds"] = lasted
        else:
            text = f"{each.component} of machine {machine} is {each.state.value}: {each.why}"
            then = f"{each.mend}; " if each.mend else ""
            then += f"see more: `{self._local.command('status')}`"
            data |= {"why": each.why, "mend": each.mend, "refuses": each.refuses}
        begin = round(each.since or wall)
        return Alert(
            id=alert_id(kind, machine, each.component, each.state.value, begin),
            type=kind.value,
            timestamp=datetime.fromtimestamp(wall if is_over else begin, UTC),
            machine=machine,
            subject=f"machine/{machine}/{each.component}",
            state=AlertState.OVER if is_over else AlertState.BEGINS,
            severity=_severity(each, reported),
            text=cut(text),
            next=cut(then),
            data=data,
        )


def _severity(each: HealthCondition, reported: ReportedState | None) -> AlertSeverity:
    """The end of a trouble is as urgent as the trouble, so that the same receivers hear of it."""
    state = reported.state if each.state is HealthState.OK and reported is not None else each.state
    return AlertSeverity.CRITICAL if state is HealthState.FAILED else AlertSeverity.WARNING


def kind_of(component: str) -> AlertKind:
    """Return the kind of the alerts about a component."""
    return next((kind for name, kind in _KINDS if name.fullmatch(component)), AlertKind.HEALTH)
