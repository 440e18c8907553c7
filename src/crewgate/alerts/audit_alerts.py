"""Makes alerts of records of the audit: rules, revocations, quarantines, burned credits, losses.

It reads the members of a record by name, and ignores what it does not know: a machine that is being
upgraded may have records of another version.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from crewgate import limits
from crewgate.alerts.alert import Alert, AlertState, alert_id, threshold_id
from crewgate.alerts.local_machine import LocalMachine
from crewgate.audit.audit_entry import AuditEntry
from crewgate.core.actors import ActorKind
from crewgate.core.alert_kinds import AlertKind, AlertSeverity
from crewgate.core.credits import format_credits
from crewgate.core.revocation_kinds import KINDS
from crewgate.core.rules.rule import RuleKind
from crewgate.core.terminal_text import printable

_log = logging.getLogger(__name__)
# The beginning of a line, as `audit/writer` writes it: the machine, if it has a name, and the kind.
_KIND = re.compile(rb'\{(?:"machine":"[^"]*",)?"kind":"(rule|revocation|watch|burned|event|call)"')
# Of these kinds, only lines with a member: no text in a line has a quote.
_MEMBERS = {b"event": b'"event":"audit-lost"', b"call": b'"reason":"credits-exhausted"'}
_STEPS = {
    "warn": (AlertSeverity.WARNING, "has warned"),
    "refuse": (AlertSeverity.CRITICAL, "refuses calls of"),
    "end": (AlertSeverity.CRITICAL, "has ended"),
}
# Also a rule that only observes gives warnings.
_WOULD = {"warn": "has warned", "refuse": "would refuse calls of", "end": "would end"}
_RULES = {rules.label: rules for rules in KINDS.values()}
_DIGITS = re.compile(r"[0-9a-f]{32}")
_COUNTED: dict[str, str] = {
    RuleKind.SAME_CALL: "the same call {} times",
    RuleKind.SAME_ANSWER: "the same call with the same answer {} times",
    RuleKind.SAME_FAILURE: "the same failing call {} times",
    RuleKind.ALTERNATION: "{} rounds of the same two or three calls",
    RuleKind.REFUSED_CALLS: "{} refused calls in a row",
    RuleKind.CALLS_PER_MINUTE: "{} calls in a minute",
    RuleKind.CREDITS_PER_MINUTE: "{} credits in a minute",
    RuleKind.WALL_TIME: "{} seconds since its first call",
    RuleKind.LIVE_BRANCHES: "{} live branches below it",
}
_NO_CALLS = {RuleKind.CREDITS_PER_MINUTE, RuleKind.WALL_TIME, RuleKind.LIVE_BRANCHES}
_LEVELS = {"observe": "is free again", "throttle": "is throttled", "quarantine": "is quarantined"}


def may_be_alert(line: bytes) -> bool:
    """Return whether a line of the audit may become an alert; nearly all are calls."""
    found = _KIND.match(line)
    return found is not None and _MEMBERS.get(found[1], b"") in line


def alerts_of(entries: Iterable[AuditEntry], local: LocalMachine) -> Iterator[Alert]:
    """Yield the alerts about records, the oldest first; one for all burned reservations of a crew.

    The records come file by file, and each worker writes a file of its own.
    """
    burned = defaultdict[str, list[AuditEntry]](list)
    exhausted = set[str]()
    for entry in sorted(entries, key=lambda each: each.time_ns):
        if entry.kind == "burned":
            burned[_word(entry.record, "crew")].append(entry)
        elif entry.kind == "call" and _word(entry.record, "level") in exhausted:
            pass  # an agent that does not stop
        else:
            exhausted.add(_word(entry.record, "level"))
            yield from _alerts_of_one(entry, local)
    for crew, records in burned.items():
        yield _burned(crew, records, local)


def _alerts_of_one(entry: AuditEntry, local: LocalMachine) -> list[Alert]:
    """Return the alerts about a record; none about one whose members are of another type."""
    make = _MAKERS.get(entry.kind)
    try:
        return [] if make is None else [*make(entry, local)]
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        _log.warning("no alert can be made of %s: %s", entry.uid, error)
        return []


def _word(record: dict[str, Any], name: str) -> str:
    value = record.get(name, "")
    return printable(value) if isinstance(value, str) else ""


def _number(record: dict[str, Any], name: str) -> int:
    value = record.get(name, 0)
    return value if isinstance(value, int) else 0


def _time(record: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(record["time"])


def _facts(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: record[name] for name in names if record.get(name) not in (None, "", [], ())}


def _who(record: dict[str, Any]) -> str:
    """Return the branch of a record in words, such as `branch B (researcher of crew article)`."""
    role, crew, branch = (_word(record, name) for name in ("role", "crew", "branch"))
    whose = f"{role} of crew {crew}" if role and crew else f"crew {crew}" if crew else role
    named = f"branch {branch}" if branch else "a branch that this machine does not know"
    return f"{named} ({whose})" if whose else named


def _rule(entry: AuditEntry, local: LocalMachine) -> Iterator[Alert]:
    record = entry.record
    rule, step, branch = (_word(record, name) for name in ("rule", "step", "branch"))
    is_observed = record.get("mode") == "observe"
    severity, deed = _STEPS.get(step, (AlertSeverity.WARNING, f"has done {step} to"))
    deed = _WOULD.get(step, f"would do {step} to") if is_observed else deed
    kind, tool = _word(record, "rule_kind"), _word(record, "tool")
    count, limit = (_amount(kind, _number(record, name)) for name in ("count", "limit"))
    what = _COUNTED.get(kind, f"{{}} by the count {kind}").format(count)
    text = f"rule {rule} {deed} {_who(record)}: {what}"
    # Credits, seconds and branches are no calls.
    last = "; its last call was of" if kind in _NO_CALLS else ", the last one of"
    text += f"{last} {tool}" if tool else ""
    text += f"; the limit is {limit}"
    then = f"look at its calls: `{local.command('audit', '--branch', branch)}`"
    if step != "end" or is_observed:
        then += f"; to end it: `{local.revoke_command(branch, _word(record, 'crew'))}`"
    time, mode, crew = _time(record), _word(record, "mode"), _word(record, "crew")
    # After progress, a branch can reach a limit again: a person hears of it once an hour.
    event = (local.name, crew, branch, rule, step, mode, f"{time:%Y-%m-%dT%H}")
    yield Alert(
        id=alert_id(AlertKind.RULE, *event),
        type=AlertKind.RULE.value,
        timestamp=time,
        machine=local.name,
        subject=f"branch/{branch}",
        state=AlertState.ONCE,
        severity=AlertSeverity.WARNING if is_observed else severity,
        text=text,
        next=then,
        crew=crew,
        data=_facts(
            record, "rule", "rule_kind", "step", "mode", "count", "limit", "tool", "request",
            "caller", "branch", "ancestry", "role", "orchestrator", "process", "grant",
        ),
    )  # fmt: skip


def _amount(kind: str, number: int) -> str:
    return format_credits(number) if kind == RuleKind.CREDITS_PER_MINUTE else str(number)


def _revocation(entry: AuditEntry, local: LocalMachine) -> Iterator[Alert]:
    record = entry.record
    target, name, by = (_word(record, member) for member in ("target", "id", "by"))
    crew = _word(record, "crew")
    if target in {"branch", "account", "grant", "process"}:
        kind = AlertKind.BRANCH_ENDED
    elif target in {"orchestrator", "subject", "crew"}:
        kind = AlertKind.ACCESS_ENDED
    else:
        return  # the end of a certificate or a key belongs to that of its holder
    is_own = not ActorKind.GATEWAY.is_of(by)
    # Of an end by a rule, there is an alert of the rule as well.
    severity = AlertSeverity.WARNING if by == "overrun" else AlertSeverity.INFO
    what = _who(record) if target in {"branch", "account"} else f"{target} {name}"
    if not what.endswith(")") and crew and target != "crew":
        what += f" (crew {crew})"
    cuts, reason = _number(record, "cuts"), _word(record, "reason")
    text = f"{what} has ended: {_by(by, local)} revoked it"
    if reason:
        text += f" ({reason})"
    if cuts:
        text += f"; {cuts} {'call' if cuts == 1 else 'calls'} ended with it"
    branch = _word(record, "branch")
    chosen = ("--branch", branch) if branch else ("--since", "1h")
    # A crew or an orchestrator can be revoked again; a branch ends once. The day keeps the ids of
    # machines equal that read of it a moment later.
    event = [_key(target, crew, name, is_key=not is_own)]
    if kind is AlertKind.ACCESS_ENDED:
        event.append(str(_time(record).date()))
    yield Alert(
        id=alert_id(kind, *event),
        type=kind.value,
        timestamp=_time(record),
        machine=local.name,
        subject=f"{target}/{name}",
        state=AlertState.ONCE,
        severity=severity,
        text=text,
        next=f"look at what it did: `{local.command('audit', *chosen)}`",
        crew=crew,
        # The machine where it has happened tells it in any case.
        is_shared=not is_own,
        origin=ActorKind.GATEWAY.name_in(by),
        data=_facts(
            record, "target", "id", "by", "reason", "cuts", "cut_us", "branch", "ancestry", "role",
            "orchestrator", "process", "grant", "subject",
        ),
    )  # fmt: skip


def _key(target: str, crew: str, name: str, *, is_key: bool) -> str:
    """Return the key of a target, by which a machine knows it that has never seen its name.

    If a name of a record may be the key and looks like one, it `is_key`.
    """
    rules = _RULES.get("branch" if target == "account" else target)
    if rules is None or (is_key and _DIGITS.fullmatch(name)):
        return name
    try:
        return rules.keys(crew, name)[0].hex()
    except ValueError:
        return name


def _by(by: str, local: LocalMachine) -> str:
    kind, slash, name = by.partition("/")
    if ActorKind.LOCAL.is_of(by):
        return f"{name} on machine {local.name}"
    if by == "owner":
        return f"a person on machine {local.name}"
    if by == "overrun":
        return "the gateway, because a tool stated a higher cost than a call may have,"
    return f"{kind} {name}" if slash else by


def _quarantine(entry: AuditEntry, local: LocalMachine) -> Iterator[Alert]:
    """Yield nothing for a strike that changes nothing."""
    record = entry.record
    orchestrator, crew, step = (_word(record, name) for name in ("orchestrator", "crew", "step"))
    was, level, in_force = (_word(record, name) for name in ("was", "level", "in_force"))
    if was == level:
        return
    is_over = level == "observe"
    text = f"orchestrator {orchestrator} {_LEVELS.get(level, level)} ({step})"
    if in_force != level:
        text += f", but its crew's watch has mode {in_force}, so nothing is refused"
    if record.get("measure"):
        text += f": {_word(record, 'measure')} is {_number(record, 'value')}"
        text += f", and {_number(record, 'limit')} is the limit"
    look = local.command("audit", "--watch", "--orchestrator", orchestrator)
    lift = local.command("quarantine", orchestrator, "--lift")
    by = _word(record, "by")
    severity = AlertSeverity.WARNING if in_force == "throttle" else AlertSeverity.INFO
    if in_force == "quarantine":
        severity = AlertSeverity.CRITICAL if by == "watch" else AlertSeverity.WARNING
    yield Alert(
        id=alert_id(AlertKind.QUARANTINE, entry.uid),
        type=AlertKind.QUARANTINE.value,
        timestamp=_time(record),
        machine=local.name,
        subject=f"orchestrator/{orchestrator}",
        state=AlertState.OVER if is_over else AlertState.BEGINS,
        severity=severity,
        text=text,
        next="" if is_over else f"see why: `{look}`; if it is good: `{lift}`",
        crew=crew,
        origin=ActorKind.GATEWAY.name_in(by),
        data=_facts(
            record, "orchestrator", "step", "was", "level", "in_force", "by", "branch", "measure",
            "value", "limit", "usual",
        ),
    )  # fmt: skip


def _burned(crew: str, entries: list[AuditEntry], local: LocalMachine) -> Alert:
    cost = sum(_number(entry.record, "cost_micro") for entry in entries)
    causes = sorted({_word(entry.record, "cause") for entry in entries})
    branches = sorted({_word(entry.record, "branch") for entry in entries} - {""})
    count = len(entries)
    calls = "1 call" if count == 1 else f"{count} calls"
    text = (
        f"{format_credits(cost)} credits of crew {crew or '(unknown)'} were charged for {calls} "
        f"whose cost is unknown ({', '.join(causes)})"
    )
    first = branches[0] if branches else "BRANCH"
    return Alert(
        id=alert_id(AlertKind.CREDITS_BURNED, *(entry.uid for entry in entries)),
        type=AlertKind.CREDITS_BURNED.value,
        timestamp=_time(entries[-1].record),
        machine=local.name,
        subject=f"crew/{crew}/burned",
        state=AlertState.ONCE,
        severity=AlertSeverity.WARNING,
        text=text,
        next="see which process has ended in the log of `crewgate serve`; to give the credits of a "
        f"branch back: `{local.command('ledger forgive', first)}`",
        crew=crew,
        data={
            "credits": format_credits(cost),
            "calls": count,
            "causes": causes,
            "branches": branches[: limits.alert_named_max],
        },
    )


def _exhausted(entry: AuditEntry, local: LocalMachine) -> Iterator[Alert]:
    """Return the alert that the credits of a branch do not cover a call.

    It has the id of the threshold of 100 %, which a branch with a rest may never reach.
    """
    record = entry.record
    branch = _word(record, "level")
    if not branch:
        return
    path = [*record.get("ancestry", ()), record.get("branch", "")]
    kind = AlertKind.RUN_CREDITS if path[0] == branch else AlertKind.BRANCH_CREDITS
    used, budget = _number(record, "level_used_micro"), _number(record, "level_quota_micro")
    crew = _word(record, "crew")
    what = "run" if kind is AlertKind.RUN_CREDITS else "branch"
    # The record has the role of the branch that calls, and not of those above it.
    role = f"{_word(record, 'role')} of " if branch == path[-1] else ""
    amounts = f"{format_credits(used)} of {format_credits(budget)} credits"
    look = local.command("audit", "--branch", branch)
    yield Alert(
        id=threshold_id(kind, crew, branch, 100, budget),
        type=kind.value,
        timestamp=_time(record),
        machine=local.name,
        subject=f"branch/{branch}",
        state=AlertState.BEGINS,
        severity=AlertSeverity.WARNING,
        text=f"{what} {branch} ({role}crew {crew}) has spent or reserved {amounts}: "
        "the rest does not cover a call, so its calls are refused",
        next=f"look at its calls: `{look}`; to end it: `{local.revoke_command(branch, crew)}`",
        crew=crew,
        data={
            "percent": 100,
            "spent": format_credits(used),
            "budget": format_credits(budget),
            "branch": branch,
        },
        is_shared=True,
        percent=100,
        percent_before=99,
    )


def _lost(entry: AuditEntry, local: LocalMachine) -> Iterator[Alert]:
    count = _number(entry.record, "count")
    yield Alert(
        id=alert_id(AlertKind.DISK, entry.uid),
        type=AlertKind.DISK.value,
        timestamp=_time(entry.record),
        machine=local.name,
        subject=f"machine/{local.name}/audit",
        state=AlertState.ONCE,
        severity=AlertSeverity.WARNING,
        text=f"the machine has crashed, and the audit lacks calls of {count} branches",
        next=f"list them: `{local.command('ledger reconcile')}`",
        data={"branches": count},
    )


_MAKERS: dict[str, Callable[[AuditEntry, LocalMachine], Iterator[Alert]]] = {
    "rule": _rule,
    "revocation": _revocation,
    "watch": _quarantine,
    "call": _exhausted,
    "event": _lost,
}
