"""Tells when a branch, a run, or the hour or day of a crew has reached a share of its credits.

The amounts are those of `crewgate tree`, so they are of all machines that share the ledger. The
watch sees states and no events: it reports the highest threshold that is reached and not reported
yet. So a crossing while no process looked is reported afterwards, as long as the machine knows the
branch, and within the same hour or day. It does not know how the rows are read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from crewgate import limits
from crewgate.alerts.alert import Alert, AlertState, Findings, alert_id, threshold_id
from crewgate.alerts.local_machine import LocalMachine
from crewgate.config import Config
from crewgate.core.alert_kinds import AlertKind, AlertSeverity
from crewgate.core.credits import format_credits
from crewgate.core.terminal_text import printable
from crewgate.ipc.admin_messages import TreeRow

_WARNING_PERCENT, _ALL_PERCENT = 80, 100
_HOUR, _DAY = 3600, 86_400


class CrewAllowance(msgspec.Struct, frozen=True):
    """The micro-credits that a crew may spend in an hour and in a day; None: no limit."""

    hour: int | None = None
    day: int | None = None


class ReportedThreshold(msgspec.Struct, frozen=True):
    """The highest threshold reported for an account, and the budget that it is a share of."""

    percent: int
    budget: int
    kind: AlertKind
    crew: str
    name: str


def allowances_of(config: Config) -> dict[str, CrewAllowance]:
    """Return what each crew, and each account of calls between crews, may spend."""
    unbounded = limits.quota_micro_max
    found = {crew.name: (crew.credits_per_hour, crew.credits_per_day) for crew in config.crews}
    for crossing in config.crossings:
        found[crossing.account] = crossing.credits_per_hour, unbounded
    return {
        name: CrewAllowance(*(None if each == unbounded else each for each in both))
        for name, both in found.items()
    }


class _Account(msgspec.Struct, frozen=True):
    """The account of one row: it has spent `spent` of `budget` micro-credits."""

    key: str
    kind: AlertKind
    crew: str
    name: str
    spent: int
    budget: int
    row: TreeRow | None = None
    ends: int = 0  # of the hour or the day, in seconds since 1970

    @property
    def event(self) -> str:
        """The part of an id besides the crew: the branch, or the end of the hour or day."""
        return self.name if self.row is not None else str(self.ends)


class BudgetWatch:
    """Remembers the threshold reported for each account, by its key.

    `notes` are those of an earlier process.
    """

    def __init__(
        self,
        local: LocalMachine,
        thresholds: Sequence[int],
        allowances: Mapping[str, CrewAllowance],
        notes: Mapping[str, str],
        *,
        is_first: bool = False,
    ) -> None:
        """`thresholds` are percentages.

        If it `is_first` of all, the first look reports nothing: a gateway that gets its first
        receiver may have thousands of branches that have spent their credits.
        """
        self._is_first = is_first
        self._local = local
        self._thresholds = sorted({*thresholds})
        self._allowances = allowances
        self._reported = {
            key: msgspec.json.decode(text, type=ReportedThreshold) for key, text in notes.items()
        }

    @property
    def percent_min(self) -> int:
        """The lowest threshold: rows below it say nothing."""
        return self._thresholds[0]

    def update(self, rows: Iterable[TreeRow], now: float) -> Findings:
        """Take all rows that have reached `percent_min` at `now` (seconds since 1970)."""
        found, seen = Findings.none(), set[str]()
        for account in self._accounts(rows, now):
            level = self._reached(account)
            if not level:
                continue
            seen.add(account.key)
            reported = self._reported.get(account.key)
            is_same = reported is not None and reported.budget == account.budget
            before = reported.percent if reported is not None and is_same else 0
            if before >= level:
                continue
            if len(found.alerts) >= limits.alerts_of_look_max:
                continue  # the next look reports it
            if not self._is_first:
                found.alerts.append(self._alert(account, level, before, now))
            fields = account.kind, account.crew, account.name
            self._note(found, account.key, ReportedThreshold(level, account.budget, *fields))
        rest = limits.alerts_of_look_max - len(found.alerts)
        for key in [each for each in self._reported if each not in seen][:rest]:
            found.alerts.append(self._over(key, self._reported[key], now))
            self._note(found, key, None)
        self._is_first = False
        return found

    def _note(self, found: Findings, key: str, reported: ReportedThreshold | None) -> None:
        if reported is None:
            del self._reported[key]
            found.notes[key] = None
        else:
            self._reported[key] = reported
            found.notes[key] = msgspec.json.encode(reported).decode()

    def _reached(self, account: _Account) -> int:
        """Return the highest threshold that is reached; 0 for none."""
        share = 100 * account.spent
        reached = [each for each in self._thresholds if share >= each * account.budget]
        return reached[-1] if reached else 0

    def _accounts(self, rows: Iterable[TreeRow], now: float) -> Iterator[_Account]:
        for row in rows:
            if not row.branch:
                yield from self._windows(row, now)
            elif row.quota and row.state not in {"revoked", "closed", "expired"}:
                kind = AlertKind.BRANCH_CREDITS if row.parent else AlertKind.RUN_CREDITS
                spent = row.spent + row.burned
                key = f"branch/{row.crew}/{row.branch}"
                yield _Account(key, kind, row.crew, row.branch, spent, row.quota, row)

    def _windows(self, row: TreeRow, now: float) -> Iterator[_Account]:
        allowed = self._allowances.get(row.crew, CrewAllowance())
        for kind, budget, left, seconds in (
            (AlertKind.CREW_HOUR, allowed.hour, row.left_hour, _HOUR),
            (AlertKind.CREW_DAY, allowed.day, row.left_day, _DAY),
        ):
            if budget and left >= 0:
                number = int(now) // seconds
                key = f"{kind.value}/{row.crew}/{number}"
                ends = (number + 1) * seconds
                spent = max(0, budget - left)
                yield _Account(key, kind, row.crew, row.crew, spent, budget, ends=ends)

    def _alert(self, account: _Account, level: int, before: int, now: float) -> Alert:
        name, what = account.name, _words(account)
        spent, budget = format_credits(account.spent), format_credits(account.budget)
        is_crew = account.row is None
        text = f"{what} has spent {spent} of {budget} credits ({level} % are reached)"
        data: dict[str, Any] = {"percent": level, "spent": spent, "budget": budget}
        if account.row is None:
            end = datetime.fromtimestamp(account.ends, UTC)
            data["until"] = end.isoformat().replace("+00:00", "Z")
            if level >= _ALL_PERCENT:
                text += f"; its calls are refused until {end:%Y-%m-%d %H:%M}Z"
            then = f"see which branch spends: `{self._local.command('tree')}`"
        else:
            row = account.row
            data |= {"branch": name, "parent": row.parent, "role": row.role}
            data |= {"orchestrator": row.orchestrator, "process": row.process}
            data |= {"subject": row.subject, "state": row.state}
            if level >= _ALL_PERCENT:
                text += "; its calls are refused"
            then = (
                f"look at its calls: `{self._local.command('audit', '--branch', name)}`; "
                f"to end it: `{self._local.revoke_command(name, row.crew)}`"
            )
        return Alert(
            id=threshold_id(account.kind, account.crew, account.event, level, account.budget),
            type=account.kind.value,
            timestamp=datetime.fromtimestamp(now, UTC),
            machine=self._local.name,
            subject=_subject(account.kind, account.crew, name),
            state=AlertState.BEGINS,
            severity=_severity(level, is_crew=is_crew),
            text=text,
            next=then,
            crew=account.crew,
            data={name: value for name, value in data.items() if value != ""},
            is_shared=True,
            percent=level,
            percent_before=before,
        )

    def _over(self, key: str, reported: ReportedThreshold, now: float) -> Alert:
        """Return the alert that an account is closed, forgotten, or below its thresholds again."""
        return Alert(
            id=alert_id(reported.kind, key, "over", reported.percent, reported.budget),
            type=reported.kind.value,
            timestamp=datetime.fromtimestamp(now, UTC),
            machine=self._local.name,
            subject=_subject(reported.kind, reported.crew, reported.name),
            state=AlertState.OVER,
            severity=_severity(reported.percent, is_crew=reported.name == reported.crew),
            text=f"{_plain(reported)} has ended, or has credits again",
            crew=reported.crew,
            data={"percent": reported.percent, "budget": format_credits(reported.budget)},
            is_shared=True,
            percent=reported.percent,
        )


def _severity(level: int, *, is_crew: bool) -> AlertSeverity:
    """A branch without credits has stopped where its orchestrator wanted; a crew has not."""
    if level >= _ALL_PERCENT and is_crew:
        return AlertSeverity.CRITICAL
    return AlertSeverity.WARNING if level >= _WARNING_PERCENT else AlertSeverity.INFO


def _subject(kind: AlertKind, crew: str, name: str) -> str:
    if kind in {AlertKind.CREW_HOUR, AlertKind.CREW_DAY}:
        return f"crew/{crew}/{kind.value.removeprefix('crew-')}"
    return f"branch/{name}"


_NOUNS = {
    AlertKind.RUN_CREDITS: "run",
    AlertKind.BRANCH_CREDITS: "branch",
    AlertKind.CREW_HOUR: "hour of crew",
    AlertKind.CREW_DAY: "day of crew",
}


def _plain(reported: ReportedThreshold) -> str:
    return f"{_NOUNS[reported.kind]} {printable(reported.name)}"


def _words(account: _Account) -> str:
    """Return an account in words, such as `run B (writer of crew article)`."""
    if account.row is None:
        length = "this hour" if account.kind is AlertKind.CREW_HOUR else "this day"
        return f"crew {printable(account.crew)} in {length}"
    role, crew = printable(account.row.role), printable(account.crew)
    whose = f"{role} of crew {crew}" if role else f"crew {crew}"
    return f"{_NOUNS[account.kind]} {printable(account.name)} ({whose})"
