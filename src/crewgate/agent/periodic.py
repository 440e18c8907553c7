"""What the agent does by the clock: vouch, burn what is overdue, give back, forget, look at files.

Each task is one `while`; the steps are plain functions of a machine, so that a test needs no time.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
import trio

from crewgate import limits
from crewgate.agent.clock_monitor import ClockWatch
from crewgate.agent.journal import Journal
from crewgate.agent.reload import reload_if_changed
from crewgate.agent.state import Machine

R = TypeVar("R", bound=msgspec.Struct)
_AHEAD_NS = round(limits.fresh_seconds * 1e9)
_ASKS_NS = round(limits.staleness_seconds * 1e9)


def vouch(machine: Machine, watch: ClockWatch) -> None:
    """Let everybody admit for the next seconds, unless the wall clock cannot be believed."""
    boot = machine.clock.boot_ns()
    steady = watch.is_steady(machine.clock.wall_ns(), boot)
    if steady != machine.steady:
        machine.say(
            "the clock is steady again: admitting"
            if steady
            else f"the clock jumped by {watch.step_seconds:+.1f} s: admitting nothing until it is "
            f"back, or steady for {limits.clock_settle_seconds:.0f} s"
        )
    machine.steady, machine.step_seconds = steady, watch.step_seconds
    machine.offset_ns = watch.offset_ns
    machine.table.vouch(boot + _AHEAD_NS if steady else 0, machine.synced_until_ns())
    _say_touch(machine)


def _say_touch(machine: Machine) -> None:
    """Each time that this machine loses touch with the others, and has it again.

    One that has just begun is given the time that it takes to ask them.
    """
    in_touch, others = machine.is_synced(), machine.telling.others
    asks_yet = machine.clock.boot_ns() < machine.began_ns + _ASKS_NS
    if others is None or in_touch == machine.in_touch or asks_yet:
        return
    machine.in_touch = in_touch
    machine.say(
        "in touch with the other machines again: admitting"
        if in_touch
        else f"out of touch, admitting calls of tools alone that are open when stale: waiting for "
        f"{others.waiting_for()}"
    )


def burn(machine: Machine) -> None:
    """End what is past its deadline, and what those held who did not come back."""
    boot = machine.clock.boot_ns()
    machine.burn(machine.table.burn_overdue(boot), "deadline")
    machine.burn(machine.guests.drop_inherited(boot), "owner-died")


def tidy(machine: Machine) -> None:
    """Give idle credit back; forget what has expired, if the clock can be believed."""
    clocks = machine.clock.read()
    machine.lessor.give_back_idle(clocks.wall, clocks.boot_ns)
    machine.watching.look(clocks, lapses=machine.is_synced())
    machine.draws.repay()
    if machine.telling.others is not None:
        machine.telling.others.look()
        if news := machine.watching.news():
            machine.telling.others.pass_on(news)
    if not machine.steady or machine.clerk.trouble or machine.lessor.lending.owed:
        return  # what the table forgets must be known to the ledger
    for gone in machine.lessor.reclaim(clocks.wall, clocks.boot_ns, limits.reclaim_records_max):
        machine.registry.forget(gone.key)
    for key in machine.revocations.keep(machine.inforce.policy.keys, clocks):
        machine.say(
            f"signing key {key.kid} of crew {key.crew} is revoked, and its JWKS still has it: take "
            "it out there; until then it stays revoked on this machine"
        )
    machine.revocations.tidy(clocks)
    machine.notes.tidy(clocks.wall)


async def vouch_for_ever(machine: Machine, watch: ClockWatch) -> None:
    """Four times a second; the table outlives a missed tick by seconds."""
    while True:
        vouch(machine, watch)
        burn(machine)
        await trio.sleep(limits.fresh_interval_seconds)


async def retry_draws(machine: Machine) -> None:
    """Try contended draws again while there are any."""
    while True:
        await machine.draws.wait()
        machine.draws.retry(machine.clock.read())
        await trio.sleep(limits.draw_look_seconds)


async def draw_ahead(machine: Machine) -> None:
    """Fill the leases of busy branches before they are empty."""
    while True:
        await machine.draws.busy()
        if machine.ending:  # what is drawn now would have to be given back
            return
        machine.draws.look_ahead(machine.clock.read())
        await trio.sleep(limits.draw_look_seconds)


async def tidy_for_ever(machine: Machine, audit_tick: Callable[[], None]) -> None:
    """Once a second, everything that is in no hurry."""
    while True:
        await trio.sleep(1)
        tidy(machine)
        audit_tick()
        await reload_if_changed(machine)
        await rewrite_if_due(machine.registry_journal, len(machine.registry), machine.registry)
        revocations = machine.revocations
        await rewrite_if_due(machine.revocations_journal, len(revocations), revocations)
        await rewrite_if_due(machine.notes_journal, len(machine.notes), machine.notes)
        watching = machine.watching
        if watching.is_dirty:
            await trio.to_thread.run_sync(watching.sync)
        await rewrite_if_due(machine.watch_journal, len(watching), watching)


async def rewrite_if_due(journal: Journal[R], count: int, live: Iterable[R]) -> None:
    """Rewrite a journal in a thread, while lines go on being appended to the old file."""
    if not journal.is_due(count):
        return
    journal.begin()
    try:
        journal.finish(await trio.to_thread.run_sync(journal.write, list(live)))
    except OSError:
        journal.abandon()
