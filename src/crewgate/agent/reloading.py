"""When the files of the configuration are read again: on request, and when one has changed."""

import trio

from crewgate.agent.machine import Machine
from crewgate.errors import ConfigurationError


async def reload_now(machine: Machine) -> None:
    """Put what the files hold in force; ConfigurationError leaves the old one, and is said."""
    try:
        found = await trio.to_thread.run_sync(machine.inforce.look)
    except ConfigurationError as error:
        machine.inforce.refuse(error, machine.say)
        raise
    machine.reload(found)
    machine.say(f"configuration {machine.inforce.policy.generation} is in force")


async def reload_if_changed(machine: Machine) -> None:
    """Look at the files; a bad one has been said and is nobody's exception here."""
    if not machine.inforce.changed():
        return
    try:
        await reload_now(machine)
    except ConfigurationError:
        return
