"""What an agent does for a ledger that other machines use as well: hear, give back, say it lives.

Each task is one `while`. A ledger in a file is nobody else's, and has none of this.
"""

import logging

import psycopg
import trio

from crewgate import limits
from crewgate.agent.state import AgentState
from crewgate.core.budget.heartbeat_monitor import HeartbeatMonitor
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger.notifications import CreditNotification, CreditReturned, CreditWanted, read
from crewgate.ledger.postgres import PostgreSQL
from crewgate.ledger.session import Row

_log = logging.getLogger(__name__)


async def share(agent: AgentState) -> None:
    """Until cancelled."""
    ledger = agent.active_config.config.ledger
    session = PostgreSQL(ledger.url, ledger.password_file)  # it grants nothing
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notification_loop, agent, session)
        nursery.start_soon(heartbeat_loop, agent)


def handle_notification(agent: AgentState, notification: CreditNotification) -> None:
    """Do what another machine's words ask for."""
    if notification.holder == agent.lease_client.holder:
        return
    if isinstance(notification, CreditWanted):
        agent.lease_client.surrender(notification.level, agent.clock.boot_ns())
    elif isinstance(notification, CreditReturned):
        agent.draws.hurry(agent.clock.read())


async def notification_loop(agent: AgentState, session: PostgreSQL) -> None:
    """Listen on a connection of its own; what is said meanwhile is asked for again."""
    while True:
        try:
            connection = await trio.to_thread.run_sync(session.listening)
        except LedgerUnavailableError:  # the clerk says so
            await trio.sleep(limits.ledger_listen_seconds)
            continue
        with connection:
            await _receive(agent, connection)
        await trio.sleep(limits.ledger_listen_seconds)


async def _receive(agent: AgentState, connection: psycopg.Connection[Row]) -> None:
    """Until the connection is lost."""
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
    """Say that this machine lives, and write off what those have that do not say so any more.

    Only seconds in which the ledger answered count: nobody is silent whom nobody could hear.
    """
    silence, ledger_queue = HeartbeatMonitor(), agent.ledger_queue
    holder, boot = agent.lease_client.holder, agent.table.life
    looked = trio.current_time()
    while True:
        await trio.sleep(limits.ledger_beat_seconds)
        try:
            await ledger_queue.use(lambda ledger: ledger.heartbeat(holder, boot))
            beats = await ledger_queue.use(lambda ledger: ledger.heartbeats())
        except LedgerUnavailableError:
            silence, looked = HeartbeatMonitor(), trio.current_time()
            continue
        # Credit may have come back elsewhere: whoever is refused inline asks again, once a second.
        agent.lease_client.lift_all()
        now = trio.current_time()
        for name, its_boot, beat in silence.poll(beats, now - looked):
            if not await _write_off(agent, name, its_boot, beat):
                silence.forget(name)
        looked = now


async def _write_off(agent: AgentState, name: str, boot: bytes, beat: int) -> bool:
    """False if the ledger did not answer."""
    try:
        lost = await agent.ledger_queue.use(lambda ledger: ledger.burn(name, boot, beat))
    except LedgerUnavailableError:
        return False
    if lost:
        _log.warning("%s is silent: %d micro-credits that it had leased are burned", name, lost)
    return True
