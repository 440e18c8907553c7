"""Tasks for a ledger that several machines share: notifications, returned credit and heartbeats.

Each task is one loop. A ledger in a file belongs to one machine and needs none of them.
"""

import logging

import psycopg
import trio

from crewgate import limits
from crewgate.agent.state import AgentState
from crewgate.core.budget.heartbeat_monitor import HeartbeatMonitor
from crewgate.core.credits import format_credits
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger.notifications import CreditNotification, CreditReturned, CreditWanted, read
from crewgate.ledger.postgresql_session import PostgreSQLSession
from crewgate.ledger.sql_session import Row

_log = logging.getLogger(__name__)


async def share(agent: AgentState) -> None:
    """Run the tasks until cancelled."""
    ledger = agent.active_config.config.ledger
    # This session only listens: it never grants credit.
    session = PostgreSQLSession(ledger.url, ledger.password_file)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notification_loop, agent, session)
        nursery.start_soon(heartbeat_loop, agent)


def handle_notification(agent: AgentState, notification: CreditNotification) -> None:
    """Apply the notification of another machine."""
    if notification.holder == agent.lease_client.holder:
        return
    if isinstance(notification, CreditWanted):
        agent.recalls += 1
        agent.lease_client.surrender(notification.level, agent.clock.boot_ns())
    elif isinstance(notification, CreditReturned):
        agent.draws.hurry(agent.clock.read())


async def notification_loop(agent: AgentState, session: PostgreSQLSession) -> None:
    """Listen on a connection of its own; a machine repeats a request that was lost."""
    while True:
        try:
            connection = await trio.to_thread.run_sync(session.listening)
        except LedgerUnavailableError:
            # The ledger's queue logs this.
            await trio.sleep(limits.ledger_listen_seconds)
            continue
        with connection:
            await _receive(agent, connection)
        await trio.sleep(limits.ledger_listen_seconds)


async def _receive(agent: AgentState, connection: psycopg.Connection[Row]) -> None:
    try:
        while True:
            await trio.lowlevel.wait_readable(connection.fileno())
            for note in connection.notifies(timeout=0):
                notification = read(note.payload)
                if notification is not None:
                    handle_notification(agent, notification)
    except psycopg.Error:
        return


async def heartbeat_loop(agent: AgentState) -> None:
    """Send this machine's heartbeats, and burn the leases of machines that send none any more.

    Only the time in which the ledger answered counts against a machine.
    """
    monitor, ledger_queue = HeartbeatMonitor(), agent.ledger_queue
    holder, boot = agent.lease_client.holder, agent.table.life
    looked = trio.current_time()
    while True:
        await trio.sleep(limits.ledger_beat_seconds)
        try:
            await ledger_queue.use(lambda ledger: ledger.heartbeat(holder, boot))
            beats = await ledger_queue.use(lambda ledger: ledger.heartbeats())
        except LedgerUnavailableError:
            monitor, looked = HeartbeatMonitor(), trio.current_time()
            continue
        # Other machines may have returned credit, so let refused branches ask again.
        agent.lease_client.lift_all()
        now = trio.current_time()
        for name, its_boot, beat in monitor.poll(beats, now - looked):
            if not await _write_off(agent, name, its_boot, beat):
                monitor.forget(name)
        looked = now


async def _write_off(agent: AgentState, name: str, boot: bytes, beat: int) -> bool:
    """Burn the leases of a machine; return False if the ledger did not answer."""
    try:
        lost = await agent.ledger_queue.use(lambda ledger: ledger.burn(name, boot, beat))
    except LedgerUnavailableError:
        return False
    if lost:
        _log.warning(
            "machine %s sends no heartbeats: burned %s credits of its leases",
            name,
            format_credits(lost),
        )
    return True
