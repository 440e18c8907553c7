"""The agent's periodic work: freshness, overdue reservations, idle credit, expiry, and reloads.

Each task is one loop. The steps are plain functions of the agent's state, so tests need no time.
"""

import logging
from collections.abc import Iterable
from typing import TypeVar

import msgspec
import trio

from crewgate import limits
from crewgate._native import proof_windows
from crewgate.agent.clock_monitor import ClockMonitor
from crewgate.agent.journal_file import JournalFile
from crewgate.agent.reload import reload_if_changed
from crewgate.agent.state import AgentState
from crewgate.runtime.ticks import sleep_until_tick

_log = logging.getLogger(__name__)
R = TypeVar("R", bound=msgspec.Struct)
_SECOND_NS = 1_000_000_000
_FRESH_NS = round(limits.fresh_seconds * 1e9)


def extend_freshness(agent: AgentState, watch: ClockMonitor) -> None:
    """Let all processes admit calls for the next seconds, unless the wall clock has jumped."""
    boot = agent.clock.boot_ns()
    steady = watch.is_steady(agent.clock.wall_ns(), boot)
    if steady != agent.steady:
        if steady:
            _log.info("the wall clock is steady again: admitting calls")
        else:
            _log.warning(
                "the wall clock jumped by %+.1f s: refusing all calls until it is back, or has "
                "been steady for %.0f s; set the clock",
                watch.step_seconds,
                limits.clock_settle_seconds,
            )
    agent.steady, agent.step_seconds = steady, watch.step_seconds
    agent.offset_ns = watch.offset_ns
    # By the trusted time: a clock that jumps ahead for a while opens no window of the future.
    proof_windows.open_windows(
        agent.table, (boot + watch.offset_ns) // _SECOND_NS, boot // _SECOND_NS
    )
    agent.table.extend_freshness(boot + _FRESH_NS if steady else 0, agent.synced_until_ns())
    _log_contact(agent)


def _log_contact(agent: AgentState) -> None:
    in_touch, others = agent.is_synced(), agent.fanout.others
    if others is None or in_touch == agent.in_touch or agent.is_joining():
        return
    agent.in_touch = in_touch
    if in_touch:
        _log.info("in touch with the other machines again: admitting calls")
    else:
        _log.warning(
            "out of touch with the other machines: admitting only calls of tools with "
            'when_stale = "open"; waiting for %s',
            others.waiting_for(),
        )


def burn(agent: AgentState) -> None:
    """End overdue reservations, and those of processes that did not attach again in time."""
    boot = agent.clock.boot_ns()
    agent.burn(agent.table.burn_overdue(boot), "deadline")
    agent.burn(agent.attached.drop_inherited(boot), "owner-died")


def tidy(agent: AgentState) -> None:
    """Burn what is overdue and return idle credit; if the clock is steady, forget what expired."""
    burn(agent)
    clocks = agent.clock.read()
    agent.lease_client.give_back_idle(*clocks)
    agent.minting_watch.poll(clocks, lapses=agent.is_synced())
    agent.draws.settle_overdraft()
    agent.tool_pins.tidy()
    if agent.fanout.others is not None:
        agent.fanout.others.record_pending()
        if quarantines := agent.minting_watch.take_announcements():
            agent.fanout.others.pass_on(quarantines)
    if (
        not agent.steady
        or agent.ledger_queue.unavailable_reason
        or agent.lease_client.overdraft.overdrawn
    ):
        # The ledger must know a branch's spending before the table forgets the branch.
        return
    for gone in agent.lease_client.reclaim(*clocks, limits.reclaim_records_max):
        agent.registry.forget(gone.key)
    for key in agent.revocations.keep(agent.active_config.policy.keys, clocks):
        _log.warning(
            "signing key %s of crew %s is revoked, but the crew's JWKS still has it: remove the "
            "key from the JWKS; until then this machine keeps it revoked",
            key.kid,
            key.crew,
        )
    agent.revocations.tidy(clocks)
    agent.remote_revocations.tidy(clocks.wall)
    agent.notes.tidy(clocks.wall)


async def freshness_loop(agent: AgentState, watch: ClockMonitor) -> None:
    """Extend freshness four times a second; the table stays fresh for seconds without it."""
    while True:
        extend_freshness(agent, watch)
        await sleep_until_tick(limits.fresh_interval_seconds)


async def retry_draws(agent: AgentState) -> None:
    """Retry the waiting draws, while there are any."""
    while True:
        await agent.draws.wait()
        agent.draws.retry(agent.clock.read())
        await trio.sleep(limits.draw_look_seconds)


async def prefetch_loop(agent: AgentState) -> None:
    """Refill the leases of busy branches before they are empty."""
    while True:
        await agent.draws.prefetch_due()
        # An ending agent returns its credit, so it must not draw more.
        if agent.ending:
            return
        agent.draws.prefetch(agent.clock.read())


async def tidy_for_ever(agent: AgentState) -> None:
    """Do the work that is not urgent, once a second."""
    while True:
        await sleep_until_tick(limits.tidy_seconds)
        tidy(agent)
        agent.tree_follower.forget_unused(agent.clock.boot_ns())
        if agent.audit is not None:
            agent.audit.tick()
        await reload_if_changed(agent)
        if agent.minting_watch.is_dirty:
            await trio.to_thread.run_sync(agent.minting_watch.sync)
        for journal, owner in agent.journals.values():
            await rewrite_if_due(journal, len(owner), owner)


async def rewrite_if_due(journal: JournalFile[R], count: int, live: Iterable[R]) -> None:
    """Rewrite a journal in a thread; meanwhile the agent appends lines to the old file."""
    if not journal.is_due(count):
        return
    journal.begin()
    try:
        journal.finish(await trio.to_thread.run_sync(journal.write, list(live)))
    except OSError:
        journal.abandon()
