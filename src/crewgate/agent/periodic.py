"""What the agent does by the clock: vouch, burn what is overdue, give back, forget, look at files.

Each task is one `while`; the steps are plain functions of a machine, so that a test needs no time.
"""

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
import trio

from crewgate import limits
from crewgate.agent.clock_monitor import ClockMonitor
from crewgate.agent.journal_file import JournalFile
from crewgate.agent.reload import reload_if_changed
from crewgate.agent.state import AgentState

_log = logging.getLogger(__name__)
R = TypeVar("R", bound=msgspec.Struct)
_AHEAD_NS = round(limits.fresh_seconds * 1e9)
_ASKS_NS = round(limits.staleness_seconds * 1e9)


def extend_freshness(agent: AgentState, watch: ClockMonitor) -> None:
    """Let everybody admit for the next seconds, unless the wall clock cannot be believed."""
    boot = agent.clock.boot_ns()
    steady = watch.is_steady(agent.clock.wall_ns(), boot)
    if steady != agent.steady:
        if steady:
            _log.info("the clock is steady again: admitting")
        else:
            _log.warning(
                "the clock jumped by %+.1f s: admitting nothing until it is back, or steady for "
                "%.0f s",
                watch.step_seconds,
                limits.clock_settle_seconds,
            )
    agent.steady, agent.step_seconds = steady, watch.step_seconds
    agent.offset_ns = watch.offset_ns
    agent.table.vouch(boot + _AHEAD_NS if steady else 0, agent.synced_until_ns())
    _log_contact(agent)


def _log_contact(agent: AgentState) -> None:
    """Each time that this machine loses touch with the others, and has it again.

    One that has just begun is given the time that it takes to ask them.
    """
    in_touch, others = agent.is_synced(), agent.fanout.others
    asks_yet = agent.clock.boot_ns() < agent.began_ns + _ASKS_NS
    if others is None or in_touch == agent.in_touch or asks_yet:
        return
    agent.in_touch = in_touch
    if in_touch:
        _log.info("in touch with the other machines again: admitting")
    else:
        _log.warning(
            "out of touch, admitting calls of tools alone that are open when stale: waiting for %s",
            others.waiting_for(),
        )


def burn(agent: AgentState) -> None:
    """End what is past its deadline, and what those held who did not come back."""
    boot = agent.clock.boot_ns()
    agent.burn(agent.table.burn_overdue(boot), "deadline")
    agent.burn(agent.attached.drop_inherited(boot), "owner-died")


def tidy(agent: AgentState) -> None:
    """Give idle credit back; forget what has expired, if the clock can be believed."""
    clocks = agent.clock.read()
    agent.lease_client.give_back_idle(clocks.wall, clocks.boot_ns)
    agent.minting_watch.poll(clocks, lapses=agent.is_synced())
    agent.draws.settle_overdraft()
    if agent.fanout.others is not None:
        agent.fanout.others.record_pending()
        if news := agent.minting_watch.take_announcements():
            agent.fanout.others.pass_on(news)
    if (
        not agent.steady
        or agent.ledger_queue.unavailable_reason
        or agent.lease_client.overdraft.overdrawn
    ):
        return  # what the table forgets must be known to the ledger
    for gone in agent.lease_client.reclaim(clocks.wall, clocks.boot_ns, limits.reclaim_records_max):
        agent.registry.forget(gone.key)
    for key in agent.revocations.keep(agent.active_config.policy.keys, clocks):
        _log.warning(
            "signing key %s of crew %s is revoked, and its JWKS still has it: take it out there; "
            "until then it stays revoked on this machine",
            key.kid,
            key.crew,
        )
    agent.revocations.tidy(clocks)
    agent.notes.tidy(clocks.wall)


async def freshness_loop(agent: AgentState, watch: ClockMonitor) -> None:
    """Four times a second; the table outlives a missed tick by seconds."""
    while True:
        extend_freshness(agent, watch)
        burn(agent)
        await trio.sleep(limits.fresh_interval_seconds)


async def retry_draws(agent: AgentState) -> None:
    """Try contended draws again while there are any."""
    while True:
        await agent.draws.wait()
        agent.draws.retry(agent.clock.read())
        await trio.sleep(limits.draw_look_seconds)


async def prefetch_loop(agent: AgentState) -> None:
    """Fill the leases of busy branches before they are empty."""
    while True:
        await agent.draws.busy()
        if agent.ending:  # what is drawn now would have to be given back
            return
        agent.draws.prefetch(agent.clock.read())
        await trio.sleep(limits.draw_look_seconds)


async def tidy_for_ever(agent: AgentState, audit_tick: Callable[[], None]) -> None:
    """Once a second, everything that is in no hurry."""
    while True:
        await trio.sleep(1)
        tidy(agent)
        audit_tick()
        await reload_if_changed(agent)
        await rewrite_if_due(agent.registry_journal, len(agent.registry), agent.registry)
        revocations = agent.revocations
        await rewrite_if_due(agent.revocations_journal, len(revocations), revocations)
        await rewrite_if_due(agent.notes_journal, len(agent.notes), agent.notes)
        watching = agent.minting_watch
        if watching.is_dirty:
            await trio.to_thread.run_sync(watching.sync)
        await rewrite_if_due(agent.watch_journal, len(watching), watching)


async def rewrite_if_due(journal: JournalFile[R], count: int, live: Iterable[R]) -> None:
    """Rewrite a journal in a thread, while lines go on being appended to the old file."""
    if not journal.is_due(count):
        return
    journal.begin()
    try:
        journal.finish(await trio.to_thread.run_sync(journal.write, list(live)))
    except OSError:
        journal.abandon()
