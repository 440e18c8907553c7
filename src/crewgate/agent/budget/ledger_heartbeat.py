"""What an agent does for a ledger that other machines use as well: hear, give back, say it lives.

Each task is one `while`. A ledger in a file is nobody else's, and has none of this.
"""

import psycopg
import trio

from crewgate import limits
from crewgate.agent.state import Machine
from crewgate.core.budget.heartbeat_monitor import Silence
from crewgate.errors import LedgerUnavailableError
from crewgate.ledger.notifications import Came, News, Wanted, read
from crewgate.ledger.postgres import PostgreSQL
from crewgate.ledger.session import Row


async def share(machine: Machine) -> None:
    """Until cancelled."""
    ledger = machine.inforce.config.ledger
    session = PostgreSQL(ledger.url, ledger.password_file)  # it grants nothing
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear_for_ever, machine, session)
        nursery.start_soon(beat_for_ever, machine)


def heed(machine: Machine, news: News) -> None:
    """Do what another machine's words ask for."""
    if news.holder == machine.lessor.holder:
        return
    if isinstance(news, Wanted):
        machine.lessor.surrender(news.level, machine.clock.boot_ns())
    elif isinstance(news, Came):
        machine.draws.hurry(machine.clock.read())


async def hear_for_ever(machine: Machine, session: PostgreSQL) -> None:
    """Listen on a connection of its own; what is said meanwhile is asked for again."""
    while True:
        try:
            connection = await trio.to_thread.run_sync(session.listening)
        except LedgerUnavailableError:  # the clerk says so
            await trio.sleep(limits.ledger_listen_seconds)
            continue
        with connection:
            await _hear(machine, connection)
        await trio.sleep(limits.ledger_listen_seconds)


async def _hear(machine: Machine, connection: psycopg.Connection[Row]) -> None:
    """Until the connection is lost."""
    try:
        while True:
            await trio.lowlevel.wait_readable(connection.fileno())
            for note in connection.notifies(timeout=0):
                news = read(note.payload)
                if news is not None:
                    heed(machine, news)
    except psycopg.Error:
        return


async def beat_for_ever(machine: Machine) -> None:
    """Say that this machine lives, and write off what those have that do not say so any more.

    Only seconds in which the ledger answered count: nobody is silent whom nobody could hear.
    """
    silence, clerk = Silence(), machine.clerk
    holder, boot = machine.lessor.holder, machine.table.life
    looked = trio.current_time()
    while True:
        await trio.sleep(limits.ledger_beat_seconds)
        try:
            await clerk.use(lambda ledger: ledger.beat(holder, boot))
            beats = await clerk.use(lambda ledger: ledger.beats())
        except LedgerUnavailableError:
            silence, looked = Silence(), trio.current_time()
            continue
        # Credit may have come back elsewhere: whoever is refused inline asks again, once a second.
        machine.lessor.lift_all()
        now = trio.current_time()
        for name, its_boot, beat in silence.look(beats, now - looked):
            if not await _write_off(machine, name, its_boot, beat):
                silence.forget(name)
        looked = now


async def _write_off(machine: Machine, name: str, boot: bytes, beat: int) -> bool:
    """False if the ledger did not answer."""
    try:
        lost = await machine.clerk.use(lambda ledger: ledger.burn(name, boot, beat))
    except LedgerUnavailableError:
        return False
    if lost:
        machine.say(f"{name} is silent: {lost} micro-credits that it had leased are burned")
    return True
