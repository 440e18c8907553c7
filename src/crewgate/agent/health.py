"""The health of this machine: the agent's own facts, and those that the other processes report.

`facts` is the one list. A new fact about the agent is another `yield` there; see `core/health`.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import trio

from crewgate import limits
from crewgate.agent.ipc_server.attachments import Guest
from crewgate.agent.state import Machine
from crewgate.audit.health import audit_fact
from crewgate.core.health import Fact, State, Summary, degraded, failed, ok
from crewgate.leases.branch_quota import Bound

_SILENCE_NS = round(limits.health_silence_seconds * 1e9)
_START = limits.health_start_seconds
_BOUNDS = {
    Bound.RECORDS: (
        "has half of the table's branches, live and remembered; its new branches are refused",
        "raise [table] branches, or wait: a branch is forgotten a day after its last token",
    ),
    Bound.LIVE: (
        "has as many live branches as it may; its new ones are refused",
        "raise its live_branches, or end branches that nobody needs",
    ),
    Bound.MINUTE: (
        "has opened as many branches in this minute as it may; further ones are refused",
        "see `crewgate tree` for what opens so many, or raise its new_branches_per_minute",
    ),
}


def look(machine: Machine) -> Summary:
    """Look at all components now, log what changed, and answer for the whole machine.

    This is the one answer to the question whether the machine is well: a probe, `/readyz` and
    `crewgate status` all give it. Each `since` is seconds since 1970.
    """
    now_ns = machine.clock.boot_ns()
    absent_ns = machine.reports.listen(now_ns)
    if absent_ns:
        machine.say(f"did nothing for {absent_ns / 1e9:.0f} s: stopped, suspended or very busy")
    now = now_ns / 1e9
    for change in machine.health.look(facts(machine), now):
        machine.say(f"health: {change}")
    found = machine.health.summary
    wall = machine.clock.wall_ns() / 1e9
    conditions = (
        msgspec.structs.replace(each, since=wall - (now - each.since)) for each in found.conditions
    )
    return msgspec.structs.replace(found, conditions=tuple(conditions))


async def look_for_ever(machine: Machine) -> None:
    """Look once a second, so that the log says what changes; until cancelled."""
    while True:
        look(machine)
        await trio.sleep(limits.health_report_seconds)


def facts(machine: Machine) -> Iterator[Fact]:
    """Everything that is known of this machine now."""
    yield _clock(machine)
    yield _table(machine)
    yield from _cluster(machine)
    yield _ledger(machine)
    ledger = machine.inforce.config.ledger.file
    for name, disk in machine.disks.items():  # without a ledger no credit is drawn
        yield disk.fact(name, refuses=ledger is not None and ledger.parent == disk.folder)
    yield from _supervisor(machine)
    yield from _workers(machine)
    yield from _control(machine)
    yield _configuration(machine)
    yield from _journals(machine)
    yield _branches(machine)
    yield from _crews(machine)
    yield _revocations(machine)
    if machine.audit is not None:
        yield audit_fact("audit of the agent", machine.audit, refuses=False)


def _clock(machine: Machine) -> Fact:
    if machine.steady:
        return ok("clock")
    step = machine.step_seconds
    return failed(
        "clock",
        f"the time of day jumped by {step:+.1f} s",
        f"set it right, or wait {limits.clock_settle_seconds:.0f} s for it to stay as it is",
        logged=True,
    )


def _table(machine: Machine) -> Fact:
    if machine.is_fresh() or not machine.steady:
        return ok("table")
    why = "it was retired" if machine.table.retired else "the agent has not vouched for it of late"
    return failed("table", why, "if it stays so, start `crewgate serve` again", grace=_START)


def _cluster(machine: Machine) -> Iterator[Fact]:
    others = machine.telling.others
    if others is not None:
        yield _cluster_disk(machine, others.trouble())
        yield _peer_lists(others.bad_lists())
    if machine.is_synced():
        yield from () if others is None else (ok("cluster"),)
        return
    why = others.waiting_for() if others is not None else ""
    why = f"waiting for {why or 'what a majority of the members knows'}"
    mend = "see `crewgate cluster members` for who is silent"
    yield failed("cluster", why, mend, logged=True)


def _cluster_disk(machine: Machine, why: str) -> Fact:
    """Whether the disk has the members, the forgotten ones and what they revoked.

    All of it is in force.
    """
    component = "cluster on the disk"
    if not why:
        return ok(component)
    mend = f"make room in {machine.inforce.config.state / 'gossip'}"
    return degraded(component, why, mend, logged=True)


def _peer_lists(why: str) -> Fact:
    """Whether members hand over lists of the revoked that can be kept; the others' lists are."""
    component = "lists of the revoked of other machines"
    if not why:
        return ok(component)
    mend = "see to that machine: its files of the CA and its clock, or whether somebody else has it"
    return degraded(component, f"one is not kept, of {why}", mend, logged=True)


def _ledger(machine: Machine) -> Fact:
    trouble = machine.clerk.trouble
    if not trouble:
        return ok("ledger")
    mend = f"see to {machine.inforce.config.ledger}: it must answer and have room to write"
    return failed("ledger", f"it does not answer: {trouble}", mend, logged=True)


def _supervisor(machine: Machine) -> Iterator[Fact]:
    report = machine.reports.of("supervisor")
    if report is not None:
        yield from report[0]


def _workers(machine: Machine) -> Iterator[Fact]:
    """Each worker as such, and what they report: one fact for what several have in common."""
    now_ns, generation = machine.clock.boot_ns(), machine.inforce.policy.generation
    reports = []
    for index in range(machine.inforce.config.workers):
        guest = machine.guests.worker(index)
        heard_ns = now_ns if guest is None else guest.heard_ns
        silent_ns = machine.reports.silent_ns(heard_ns, now_ns)
        yield _worker(index, guest, generation, silent_ns)
        if guest is not None:
            reports.append((index, guest.facts))
    yield from merged(reports)


def _worker(index: int, guest: Guest | None, generation: int, silent_ns: int) -> Fact:
    name, mend = f"worker {index}", "see the log of `crewgate serve` for its reason"
    if guest is None:
        return failed(name, "it is not attached to the agent", mend, grace=_START)
    if silent_ns > _SILENCE_NS:
        why = f"it has said nothing for {silent_ns / 1e9:.0f} s: stopped, or stuck"
        return failed(name, why, "end its process; `crewgate serve` starts another")
    if not guest.accepting:
        return failed(name, "it accepts no connections yet", mend, grace=_START)
    if guest.policy_generation != generation:
        why = f"it serves configuration {guest.policy_generation} and not {generation}"
        return failed(name, why, mend, grace=_START)
    return ok(name)


def merged(reports: Sequence[tuple[int, Iterable[Fact]]]) -> Iterator[Fact]:
    """One fact for each component that workers (index, facts) report: the worst, and whose."""
    worst: dict[str, tuple[Fact, list[int]]] = {}
    for index, reported in reports:
        for fact in reported:
            before = worst.get(fact.component)
            if before is None or fact.state.rank > before[0].state.rank:
                worst[fact.component] = (fact, [index])
            elif fact.state is before[0].state:
                before[1].append(index)
    for fact, indices in worst.values():
        if fact.state is State.OK or len(indices) == len(reports):
            yield fact
        else:
            named = ", ".join(map(str, indices))
            text = f"{fact.why} (worker {named})"
            yield msgspec.structs.replace(fact, why=text[: limits.health_text_chars_max])


def _control(machine: Machine) -> Iterator[Fact]:
    if machine.inforce.config.ca is None:
        return
    report = machine.reports.of("control")
    if report is None:
        yield failed(
            "control",
            "the control process does not run: no API, no OCSP, no new certificates",
            "see the log of `crewgate serve` for its reason",
            refuses=False,
            grace=_START,
        )
        return
    reported, heard_ns = report
    silent_ns = machine.reports.silent_ns(heard_ns, machine.clock.boot_ns())
    if silent_ns > _SILENCE_NS:
        why = f"the control process has said nothing for {silent_ns / 1e9:.0f} s: stopped, or stuck"
        yield failed("control", why, "end it; `crewgate serve` starts another", refuses=False)
    else:
        yield ok("control")
    yield from reported


def _configuration(machine: Machine) -> Fact:
    error = machine.inforce.error
    if not error:
        return ok("configuration")
    why = f"the one before stays in force: {error}"
    mend = "see `crewgate check`; until then a process that has to start anew reads the new files"
    return degraded("configuration", why, mend, logged=True)


def _journals(machine: Machine) -> Iterator[Fact]:
    for name, journal in (
        ("registry", machine.registry_journal),
        ("revocations", machine.revocations_journal),
        ("overruns", machine.notes_journal),
        ("watch", machine.watch_journal),
    ):
        component = f"journal of {name}"
        if journal.incomplete:
            why = "records are missing on the disk: a restart now would lack them"
            mend = f"make room in {machine.inforce.config.state}"
            yield degraded(component, why, mend, logged=True)
        else:
            yield ok(component)


def _branches(machine: Machine) -> Fact:
    """Room for another branch of anybody."""
    most = machine.table.geometry.branches
    if machine.lessor.records < most and not machine.draws.found_full:
        return ok("table of branches")
    why = f"all {most} records are taken; new branches are refused"
    return failed("table of branches", why, "raise [table] branches; that needs a restart")


def _crews(machine: Machine) -> Iterator[Fact]:
    """Crews that may open no more branches; theirs alone are refused."""
    clocks = machine.clock.read()
    for crew in machine.inforce.policy.crews:
        bound = machine.lessor.bound(crew.name, clocks.wall, clocks.boot_ns)
        if bound is not None:
            why, mend = _BOUNDS[bound]
            yield degraded(f"crew {crew.name}", f"it {why}", mend)


def _revocations(machine: Machine) -> Fact:
    """Room for another revocation, of anybody and of each crew."""
    component = "table of revocations"
    crowded = machine.revocations.crowded(machine.inforce.policy.crews)
    mend = "raise [table] revocations; that needs a restart"
    if crowded is None:
        why = "it is almost full: the next revocation in a crew ends all its tokens"
        return degraded(component, why, mend)
    if crowded:
        more = f" and of {len(crowded) - 1} more crews" if len(crowded) > 1 else ""
        why = f"the share of crew {crowded[0]}{more} is full: the next revocation ends all tokens"
        return degraded(component, why, f"raise live_revocations of the crew, or {mend}")
    return ok(component)
