"""The health of this machine: the agent's own facts, and those that the other processes report.

`facts` is the one list. A new fact about the agent is another `yield` there; see `core/health`.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import trio

from crewgate import limits
from crewgate.agent.ipc_server.attachments import AttachedProcess
from crewgate.agent.state import AgentState
from crewgate.audit.health import audit_fact
from crewgate.core.health import ComponentHealth, HealthState, HealthSummary, degraded, failed, ok
from crewgate.leases.branch_limiter import BranchLimit

_log = logging.getLogger(__name__)
_SILENCE_NS = round(limits.health_silence_seconds * 1e9)
_START = limits.health_start_seconds
_BOUNDS = {
    BranchLimit.RECORDS: (
        "has half of the table's branches, live and remembered; its new branches are refused",
        "raise [table] branches, or wait: a branch is forgotten a day after its last token",
    ),
    BranchLimit.LIVE: (
        "has as many live branches as it may; its new ones are refused",
        "raise its live_branches, or end branches that nobody needs",
    ),
    BranchLimit.MINUTE: (
        "has opened as many branches in this minute as it may; further ones are refused",
        "see `crewgate tree` for what opens so many, or raise its new_branches_per_minute",
    ),
}


def update(agent: AgentState) -> HealthSummary:
    """Look at all components now, log what changed, and answer for the whole machine.

    This is the one answer to the question whether the machine is well: a probe, `/readyz` and
    `crewgate status` all give it. Each `since` is seconds since 1970.
    """
    now_ns = agent.clock.boot_ns()
    absent_ns = agent.reports.listen(now_ns)
    if absent_ns:
        _log.warning("did nothing for %.0f s: stopped, suspended or very busy", absent_ns / 1e9)
    now = now_ns / 1e9
    for change in agent.health.update(facts(agent), now):
        _log.info("health: %s", change)
    found = agent.health.summary
    wall = agent.clock.wall_ns() / 1e9
    conditions = (
        msgspec.structs.replace(each, since=wall - (now - each.since)) for each in found.conditions
    )
    return msgspec.structs.replace(found, conditions=tuple(conditions))


async def health_loop(agent: AgentState) -> None:
    """Look once a second, so that the log says what changes; until cancelled."""
    while True:
        update(agent)
        await trio.sleep(limits.health_report_seconds)


def facts(agent: AgentState) -> Iterator[ComponentHealth]:
    """Everything that is known of this machine now."""
    yield _clock(agent)
    yield _table(agent)
    yield from _cluster(agent)
    yield _ledger(agent)
    ledger = agent.active_config.config.ledger.file
    for name, disk in agent.disks.items():  # without a ledger no credit is drawn
        yield disk.fact(name, refuses=ledger is not None and ledger.parent == disk.folder)
    yield from _supervisor(agent)
    yield from _workers(agent)
    yield from _control(agent)
    yield _configuration(agent)
    yield from _journals(agent)
    yield _branches(agent)
    yield from _crews(agent)
    yield _revocations(agent)
    if agent.audit is not None:
        yield audit_fact("audit of the agent", agent.audit, refuses=False)


def _clock(agent: AgentState) -> ComponentHealth:
    if agent.steady:
        return ok("clock")
    step = agent.step_seconds
    return failed(
        "clock",
        f"the time of day jumped by {step:+.1f} s",
        f"set it right, or wait {limits.clock_settle_seconds:.0f} s for it to stay as it is",
        logged=True,
    )


def _table(agent: AgentState) -> ComponentHealth:
    if agent.is_fresh() or not agent.steady:
        return ok("table")
    why = "it was retired" if agent.table.retired else "the agent has not vouched for it of late"
    return failed("table", why, "if it stays so, start `crewgate serve` again", grace=_START)


def _cluster(agent: AgentState) -> Iterator[ComponentHealth]:
    others = agent.fanout.others
    if others is not None:
        folder = agent.active_config.config.state / "gossip"
        yield _degraded_if(
            "cluster on the disk", others.incomplete_reason(), f"make room in {folder}"
        )
        invalid = others.invalid_crls()
        yield _degraded_if(
            "lists of the revoked of other machines",
            f"one is not kept, of {invalid}" if invalid else "",
            "see to that machine: its files of the CA and its clock, or whether somebody else has "
            "it",
        )
    if agent.is_synced():
        yield from () if others is None else (ok("cluster"),)
        return
    why = others.waiting_for() if others is not None else ""
    why = f"waiting for {why or 'what a majority of the members knows'}"
    mend = "see `crewgate cluster members` for who is silent"
    yield failed("cluster", why, mend, logged=True)


def _degraded_if(component: str, why: str, mend: str) -> ComponentHealth:
    """Return ok without a `why`. Another part of the agent logs the reason."""
    return degraded(component, why, mend, logged=True) if why else ok(component)


def _ledger(agent: AgentState) -> ComponentHealth:
    trouble = agent.ledger_queue.unavailable_reason
    if not trouble:
        return ok("ledger")
    mend = f"see to {agent.active_config.config.ledger}: it must answer and have room to write"
    return failed("ledger", f"it does not answer: {trouble}", mend, logged=True)


def _supervisor(agent: AgentState) -> Iterator[ComponentHealth]:
    report = agent.reports.of("supervisor")
    if report is not None:
        yield from report[0]


def _workers(agent: AgentState) -> Iterator[ComponentHealth]:
    """Each worker as such, and what they report: one fact for what several have in common."""
    now_ns, generation = agent.clock.boot_ns(), agent.active_config.policy.generation
    reports = []
    for index in range(agent.active_config.config.workers):
        process = agent.attached.worker(index)
        heard_ns = now_ns if process is None else process.received_ns
        silent_ns = agent.reports.silent_ns(heard_ns, now_ns)
        yield _worker(index, process, generation, silent_ns)
        if process is not None:
            reports.append((index, process.facts))
    yield from merged(reports)


def _worker(
    index: int, process: AttachedProcess | None, generation: int, silent_ns: int
) -> ComponentHealth:
    name, mend = f"worker {index}", "see the log of `crewgate serve` for its reason"
    if process is None:
        return failed(name, "it is not attached to the agent", mend, grace=_START)
    if silent_ns > _SILENCE_NS:
        why = f"it has said nothing for {silent_ns / 1e9:.0f} s: stopped, or stuck"
        return failed(name, why, "end its process; `crewgate serve` starts another")
    if not process.accepting:
        return failed(name, "it accepts no connections yet", mend, grace=_START)
    if process.policy_generation != generation:
        why = f"it serves configuration {process.policy_generation} and not {generation}"
        return failed(name, why, mend, grace=_START)
    return ok(name)


def merged(reports: Sequence[tuple[int, Iterable[ComponentHealth]]]) -> Iterator[ComponentHealth]:
    """One fact for each component that workers (index, facts) report: the worst, and whose."""
    worst: dict[str, tuple[ComponentHealth, list[int]]] = {}
    for index, reported in reports:
        for fact in reported:
            before = worst.get(fact.component)
            if before is None or fact.state.rank > before[0].state.rank:
                worst[fact.component] = (fact, [index])
            elif fact.state is before[0].state:
                before[1].append(index)
    for fact, indices in worst.values():
        if fact.state is HealthState.OK or len(indices) == len(reports):
            yield fact
        else:
            named = ", ".join(map(str, indices))
            text = f"{fact.why} (worker {named})"
            yield msgspec.structs.replace(fact, why=text[: limits.health_text_chars_max])


def _control(agent: AgentState) -> Iterator[ComponentHealth]:
    if agent.active_config.config.ca is None:
        return
    report = agent.reports.of("control")
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
    silent_ns = agent.reports.silent_ns(heard_ns, agent.clock.boot_ns())
    if silent_ns > _SILENCE_NS:
        why = f"the control process has said nothing for {silent_ns / 1e9:.0f} s: stopped, or stuck"
        yield failed("control", why, "end it; `crewgate serve` starts another", refuses=False)
    else:
        yield ok("control")
    yield from reported


def _configuration(agent: AgentState) -> ComponentHealth:
    error = agent.active_config.error
    why = f"the one before stays in force: {error}" if error else ""
    mend = "see `crewgate check`; until then a process that has to start anew reads the new files"
    return _degraded_if("configuration", why, mend)


def _journals(agent: AgentState) -> Iterator[ComponentHealth]:
    for name, journal in (
        ("registry", agent.registry_journal),
        ("revocations", agent.revocations_journal),
        ("overruns", agent.notes_journal),
        ("watch", agent.watch_journal),
    ):
        why = "records are missing on the disk: a restart now would lack them"
        mend = f"make room in {agent.active_config.config.state}"
        yield _degraded_if(f"journal of {name}", why if journal.incomplete else "", mend)


def _branches(agent: AgentState) -> ComponentHealth:
    """Room for another branch of anybody."""
    most = agent.table.geometry.branches
    if agent.lease_client.records < most and not agent.draws.found_full:
        return ok("table of branches")
    why = f"all {most} records are taken; new branches are refused"
    return failed("table of branches", why, "raise [table] branches; that needs a restart")


def _crews(agent: AgentState) -> Iterator[ComponentHealth]:
    """Crews that may open no more branches; theirs alone are refused."""
    clocks = agent.clock.read()
    for crew in agent.active_config.policy.crews:
        bound = agent.lease_client.bound(crew.name, clocks.wall, clocks.boot_ns)
        if bound is not None:
            why, mend = _BOUNDS[bound]
            yield degraded(f"crew {crew.name}", f"it {why}", mend)


def _revocations(agent: AgentState) -> ComponentHealth:
    """Room for another revocation, of anybody and of each crew."""
    component = "table of revocations"
    crowded = agent.revocations.crowded(agent.active_config.policy.crews)
    mend = "raise [table] revocations; that needs a restart"
    if crowded is None:
        why = "it is almost full: the next revocation in a crew ends all its tokens"
        return degraded(component, why, mend)
    if crowded:
        more = f" and of {len(crowded) - 1} more crews" if len(crowded) > 1 else ""
        why = f"the share of crew {crowded[0]}{more} is full: the next revocation ends all tokens"
        return degraded(component, why, f"raise live_revocations of the crew, or {mend}")
    return ok(component)
