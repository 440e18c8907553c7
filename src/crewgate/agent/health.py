"""Determines this machine's health from the agent's own facts and the reports of other processes.

`facts` lists them all. To add a fact about the agent, add a `yield` there; see `core/health`.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from crewgate import limits
from crewgate._native import proof_windows
from crewgate.agent.ipc_server.attachments import AttachedProcess
from crewgate.agent.state import AgentState
from crewgate.agent.tool_pins import pin_health
from crewgate.audit.health import audit_fact
from crewgate.config.restart_only import WAY_OUT
from crewgate.core.budget.ledger_protocol import WINDOW_SECONDS_HOUR, window_end
from crewgate.core.health import (
    ComponentHealth,
    HealthState,
    HealthSummary,
    degraded,
    failed,
    first_of,
    ok,
)
from crewgate.ipc.admin_messages import ReportSource
from crewgate.leases.branch_count_limiter import ReachedBranchLimit
from crewgate.runtime.ticks import sleep_until_tick

_log = logging.getLogger(__name__)
_SILENCE_NS = round(limits.health_silence_seconds * 1e9)
_START = limits.health_start_seconds
_READ_LOG = "find the reason in the log of `crewgate serve`"
_CORRECT_FILES = (
    "run `crewgate check`, and correct what it names; until then, a process that restarts may not "
    "start"
)
_LIMIT_TEXTS = {
    ReachedBranchLimit.RECORDS: (
        "has half of the branches in the table; the gateway refuses its new branches",
        "raise [table] branches, or wait: the table forgets a branch a day after its last token",
    ),
    ReachedBranchLimit.LIVE: (
        "has its maximum of live branches; the gateway refuses its new branches",
        "raise its live_branches, or revoke branches that are not needed",
    ),
    ReachedBranchLimit.MINUTE: (
        "has opened its maximum of branches in this minute; the gateway refuses its new branches",
        "find who opens them with `crewgate tree`, or raise its new_branches_per_minute",
    ),
}


def update(agent: AgentState) -> HealthSummary:
    """Check all components, log the changes, and return the health of the whole machine.

    Probes, `/readyz` and `crewgate status` all show this summary. Each `since` is seconds since
    1970.
    """
    now_ns = agent.clock.boot_ns()
    absent_ns = agent.reports.listen(now_ns)
    if absent_ns:
        _log.warning(
            "the agent did nothing for %.0f s: it was stopped, suspended or very busy",
            absent_ns / 1e9,
        )
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
    """Check the health once a second, and so log its changes, until cancelled.

    Log when the machine is ready for the first time: before, `update` logs only long waits.
    """
    was_ready = False
    while True:
        if update(agent).ready and not was_ready:
            was_ready = True
            _log.info("ready: the gateway admits calls")
        await sleep_until_tick(limits.health_report_seconds, limits.health_after_seconds)


def facts(agent: AgentState) -> Iterator[ComponentHealth]:
    """Yield every fact about this machine."""
    yield _clock(agent)
    yield _table(agent)
    yield from _cluster(agent)
    yield _ledger(agent)
    ledger = agent.active_config.config.ledger.file
    for name, disk in agent.disks.items():
        # If the ledger's disk is full, the agent cannot draw credit, so the gateway refuses calls.
        yield disk.fact(name, refuses=ledger is not None and ledger.parent == disk.folder)
    supervisor = agent.reports.of("supervisor")
    yield from supervisor[0] if supervisor is not None else ()
    yield from _workers(agent)
    yield from _control(agent)
    if agent.active_config.config.exports:
        yield from _reporting(agent, "export", "no record reaches a receiver")
    if agent.active_config.config.alerts:
        yield from _reporting(agent, "alerts", "no person is told of anything")
    if agent.active_config.config.ui is not None:
        yield from _reporting(agent, "ui", "no browser reaches the live page")
    yield _configuration(agent)
    yield from _journals(agent)
    yield _branches(agent)
    yield _proofs(agent)
    yield from _crews(agent)
    yield _revocations(agent)
    yield from pin_health.facts(agent.tool_pins)
    if agent.audit is not None:
        yield audit_fact("audit of the agent", agent.audit, refuses=False)
    if agent.checkpoints is not None:
        yield agent.checkpoints.fact()


def _clock(agent: AgentState) -> ComponentHealth:
    if agent.steady:
        return ok("clock")
    why = f"the wall clock jumped by {agent.step_seconds:+.1f} s"
    settle = limits.clock_settle_seconds
    mend = f"set the clock, or wait until it has been steady for {settle:.0f} s"
    return failed("clock", why, mend, logged=True)


def _table(agent: AgentState) -> ComponentHealth:
    if agent.is_fresh() or not agent.steady:
        return ok("table")
    why = "it was retired" if agent.table.retired else "the agent has not extended its freshness"
    return failed("table", why, "if this lasts, restart `crewgate serve`", grace=_START)


def _cluster(agent: AgentState) -> Iterator[ComponentHealth]:
    others = agent.fanout.others
    if others is not None:
        mend = f"make room in {agent.active_config.config.state / 'gossip'}"
        yield _degraded_if("cluster state on disk", others.incomplete_reason(), mend)
        invalid = others.invalid_crls()
        why = f"this machine rejected the CRL of {invalid}" if invalid else ""
        mend = (
            "check the CA files and the clock of that machine, and whether an attacker controls it"
        )
        yield _degraded_if("CRLs of other machines", why, mend)
    if agent.is_synced():
        yield from () if others is None else (ok("cluster"),)
        return
    why = others.waiting_for() if others is not None else ""
    why = f"waiting for {why or 'any missing revocations'}"
    # Otherwise `why` says how to repair this machine.
    lacks_members = others is None or others.can_sync()
    mend = "find the unresponsive members with `crewgate cluster members`" if lacks_members else ""
    grace = limits.staleness_seconds if agent.is_joining() else 0.0
    yield failed("cluster", why, mend, grace=grace, logged=True)


def _degraded_if(component: str, why: str, mend: str) -> ComponentHealth:
    """Return a fact that is ok without a `why`, and whose reason another part logs."""
    return degraded(component, why, mend, logged=True) if why else ok(component)


def _ledger(agent: AgentState) -> ComponentHealth:
    trouble = agent.ledger_queue.unavailable_reason
    if not trouble:
        return ok("ledger")
    mend = f"check that {agent.active_config.config.ledger} answers and has room to write"
    return failed("ledger", f"it does not answer: {trouble}", mend, logged=True)


def _workers(agent: AgentState) -> Iterator[ComponentHealth]:
    now_ns, generation = agent.clock.boot_ns(), agent.active_config.policy.generation
    reports = []
    for index in range(agent.active_config.config.workers):
        process = agent.attached.worker(index)
        received_ns = now_ns if process is None else process.received_ns
        silent_ns = agent.reports.silent_ns(received_ns, now_ns)
        yield _worker(index, process, generation, silent_ns)
        if process is not None:
            reports.append((index, process.facts))
    yield from merged(reports)


def _worker(
    index: int, process: AttachedProcess | None, generation: int, silent_ns: int
) -> ComponentHealth:
    name = f"worker {index}"
    if process is None:
        return failed(name, "it is not attached to the agent", _READ_LOG, grace=_START)
    if silent_ns > _SILENCE_NS:
        why = f"it has not reported for {silent_ns / 1e9:.0f} s: it is stopped or stuck"
        return failed(name, why, "end its process; `crewgate serve` starts another one")
    if not process.accepting:
        return failed(name, "it does not accept connections yet", _READ_LOG, grace=_START)
    if process.policy_generation != generation:
        why = f"it serves configuration {process.policy_generation} instead of {generation}"
        return failed(name, why, _READ_LOG, grace=_START)
    return ok(name)


def merged(reports: Sequence[tuple[int, Iterable[ComponentHealth]]]) -> Iterator[ComponentHealth]:
    """Yield the worst fact of each component in `reports` (index of the worker, facts)."""
    worst: dict[str, tuple[ComponentHealth, list[int]]] = {}
    for index, reported in reports:
        for fact in reported:
            known = worst.get(fact.component)
            if known is None or fact.state.rank > known[0].state.rank:
                worst[fact.component] = (fact, [index])
            elif fact.state is known[0].state:
                known[1].append(index)
    for fact, indices in worst.values():
        if fact.state is HealthState.OK or len(indices) == len(reports):
            yield fact
        else:
            named = ", ".join(map(str, indices))
            text = f"{fact.why} (worker {named})"
            yield msgspec.structs.replace(fact, why=text[: limits.health_text_chars_max])


def _control(agent: AgentState) -> Iterator[ComponentHealth]:
    if agent.active_config.config.ca is not None:
        lack = "there is no control API, no OCSP and no new certificate"
        yield from _reporting(agent, "control", lack)


def _reporting(agent: AgentState, source: ReportSource, lack: str) -> Iterator[ComponentHealth]:
    """Yield the facts that a process reports; without it, no call is refused, but `lack`."""
    report = agent.reports.of(source)
    if report is None:
        why = (
            f"the {source} process is not connected to the agent process: it is starting or has "
            f"ended, and without it {lack}"
        )
        yield failed(source, why, _READ_LOG, refuses=False, grace=_START)
        return
    reported, received_ns = report
    silent_ns = agent.reports.silent_ns(received_ns, agent.clock.boot_ns())
    if silent_ns > _SILENCE_NS:
        why = f"it has not reported for {silent_ns / 1e9:.0f} s: it is stopped or stuck"
        mend = f"end the {source} process; `crewgate serve` starts another one"
        yield failed(source, why, mend, refuses=False)
    else:
        yield ok(source)
    yield from reported


def _configuration(agent: AgentState) -> ComponentHealth:
    error = agent.active_config.error
    why = f"keeping the active configuration: {first_of(error)}" if error else ""
    # A key that cannot change while serving is no mistake, and `crewgate check` finds nothing.
    mend = "" if error.endswith(WAY_OUT) else _CORRECT_FILES
    return _degraded_if("configuration", why, mend)


def _journals(agent: AgentState) -> Iterator[ComponentHealth]:
    for name, (journal, _) in agent.journals.items():
        why = "records are missing on disk: a restarted agent would lack them"
        mend = f"make room in {agent.active_config.config.state}"
        yield _degraded_if(f"journal of {name}", why if journal.incomplete else "", mend)


def _branches(agent: AgentState) -> ComponentHealth:
    branches_max = agent.table.geometry.branches
    if agent.lease_client.records < branches_max and not agent.draws.found_full:
        return ok("table of branches")
    why = f"all {branches_max} places are taken; the gateway refuses new branches"
    return failed("table of branches", why, "raise [table] branches and restart")


def _proofs(agent: AgentState) -> ComponentHealth:
    full = proof_windows.are_full(agent.table)
    why = (
        "a crew has used up its places for the proofs of 16 seconds; the gateway refuses further "
        "ones"
    )
    return _degraded_if("table of proofs", why if full else "", "raise [table] proofs and restart")


def _crews(agent: AgentState) -> Iterator[ComponentHealth]:
    clocks = agent.clock.read()
    for crew in agent.active_config.policy.crews:
        limit = agent.lease_client.bound(crew.name, *clocks)
        if limit is not None:
            why, mend = _LIMIT_TEXTS[limit]
            yield degraded(f"crew {crew.name}", f"it {why}", mend)
        elif window := agent.lease_client.spent_window(crew.name):
            yield _spent(crew.name, window)


def _spent(crew: str, window: int) -> ComponentHealth:
    """Return the fact that the credits of an hour or a day (`window_of`) did not cover a call."""
    seconds, end = window_end(window)
    length = "hour" if seconds == WINDOW_SECONDS_HOUR else "day"
    why = (
        f"its credits of the {length} do not cover a call; the gateway answers such calls with 429"
    )
    until = f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M}Z"
    mend = f"wait until {until}, or raise its credits_per_{length}"
    return degraded(f"crew {crew}", why, mend)


def _revocations(agent: AgentState) -> ComponentHealth:
    component = "table of revocations"
    crowded = agent.revocations.crowded()
    mend = "raise [table] revocations and restart"
    if crowded is None:
        why = "it is almost full: the next revocation of a crew revokes all tokens of the crew"
        return degraded(component, why, mend)
    if crowded:
        more = f" and of {len(crowded) - 1} more crews" if len(crowded) > 1 else ""
        effect = "the next revocation of such a crew revokes all tokens of the crew"
        why = f"the share of crew {crowded[0]}{more} is full: {effect}"
        return degraded(component, why, f"raise live_revocations of the crew, or {mend}")
    return ok(component)
