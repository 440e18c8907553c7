"""Whether this machine is ready, and if not, what it waits for; and the auth graph in pages."""

import os
from collections.abc import Iterator
from contextlib import closing

import trio

from crewgate import limits
from crewgate._native.owner import OwnedTable
from crewgate._native.records import Branch
from crewgate.agent import health
from crewgate.agent.branch_tree import Beyond, beyond, rows
from crewgate.agent.state import Machine
from crewgate.core.anomaly.transitions import Standing
from crewgate.errors import LedgerUnavailableError
from crewgate.ipc.admin_messages import Status, TreePage, TreeRow, WatchRow, WorkerStatus
from crewgate.ledger.factory import open_ledger


def status(machine: Machine, number: int) -> Status:
    """The answer to question `number`: what `health.look` finds, and what there is to count."""
    workers = [_worker(machine, index) for index in range(machine.inforce.config.workers)]
    others = machine.telling.others
    watched = [watch_row(each) for each in machine.watching.standings()]
    found = health.look(machine)
    return Status(
        id=number,
        ready=found.ready,
        waiting_for=found.refusals[: limits.health_shown_max],
        pid=os.getpid(),
        life=machine.table.life.hex(),
        fresh=machine.is_fresh(),
        policy_generation=machine.inforce.policy.generation,
        revocation_generation=machine.table.revocation_generation,
        ledger=str(machine.inforce.config.ledger),
        lent=machine.lessor.lending.debt,
        lent_max=machine.lessor.lending.most,
        workers=workers,
        embedders=sum(guest.worker < 0 for guest in machine.guests),
        counts=machine.table.counts(),
        configuration_error=machine.inforce.error[: limits.link_note_chars_max],
        watched=watched[: limits.watch_rows_max],
        watched_more=max(0, len(watched) - limits.watch_rows_max),
        in_touch=others.in_touch() if others is not None else None,
        machine=machine.lessor.holder,
        state=found.state,
        health=list(found.conditions[: limits.health_shown_max]),
        health_more=max(0, len(found.conditions) - limits.health_shown_max),
        coarsened=machine.revocations.coarsened.rows()[: limits.coarsened_rows_max],
    )


def watch_row(standing: Standing) -> WatchRow:
    """Where an orchestrator stands, in words."""
    return WatchRow(
        crew=standing.crew,
        orchestrator=standing.orchestrator,
        rung=standing.rung.value,
        in_force=standing.in_force.value,
        by=standing.by,
        until=standing.until,
    )


def _worker(machine: Machine, index: int) -> WorkerStatus:
    guest = machine.guests.worker(index)
    return WorkerStatus(
        index=index,
        attached=guest is not None,
        accepting=guest is not None and guest.accepting,
        policy_generation=guest.policy_generation if guest else 0,
    )


async def tree(machine: Machine) -> list[TreeRow]:
    """The auth graph; of this table alone while the ledger does not answer."""
    return await trio.to_thread.run_sync(_rows, machine)


def _beyond(machine: Machine) -> dict[bytes, Beyond]:
    """Read on a connection of its own: no draw waits for who looks at a large tree."""
    holder, boot = machine.lessor.holder, machine.table.life
    keys = [record.key for record in _records(machine.table)]
    try:
        ledger = open_ledger(machine.inforce.config.ledger, readonly=True)
        with closing(ledger.session):
            leases, lessees = ledger.leases(holder, boot), ledger.lessees(holder, boot)
            return beyond(ledger.statements(keys), leases, lessees)
    except LedgerUnavailableError:
        return {}


def _rows(machine: Machine) -> list[TreeRow]:
    """A second's work for a full table."""
    others = _beyond(machine)
    now, table = machine.clock.wall_ns() // 10**9, machine.table
    entries, crews = machine.registry.snapshot(), machine.inforce.policy.crews
    holder, overruns = machine.lessor.holder, machine.notes.amounts()
    return rows(_records(table), entries, crews, table.is_revoked, now, others, holder, overruns)


def _records(table: OwnedTable) -> Iterator[Branch]:
    size = limits.tree_scan_records
    for first in range(0, table.geometry.branches, size):
        yield from table.scan(first, min(size, table.geometry.branches - first))


def pages(found: list[TreeRow], number: int) -> Iterator[TreePage]:
    """The answer to question `number`, at least one page."""
    size = limits.link_tree_rows_max
    last = max(0, len(found) - 1) // size * size
    for first in range(0, last + 1, size):
        yield TreePage(id=number, rows=found[first : first + size], last=first == last)
