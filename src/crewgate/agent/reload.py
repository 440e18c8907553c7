"""When the files of the configuration are read again: on request, and when one has changed."""

import logging

import trio

from crewgate import limits
from crewgate.agent.state import AgentState
from crewgate.errors import ConfigurationError

_log = logging.getLogger(__name__)


async def reload_now(agent: AgentState) -> None:
    """Put what the files hold in force; ConfigurationError leaves the old one, and is said."""
    try:
        found = await trio.to_thread.run_sync(agent.active_config.read_files)
    except ConfigurationError as error:
        agent.active_config.refuse(error)
        raise
    agent.reload(found)
    _log.info("configuration %d is in force", agent.active_config.policy.generation)


async def reload_if_changed(agent: AgentState) -> None:
    """Look at the files; a bad one has been said and is nobody's exception here.

    What was bad is looked at again now and then: the file that was missing was in no watch.
    """
    inforce, now = agent.active_config, agent.clock.boot_ns()
    if not inforce.changed() and not (inforce.error and now >= inforce.look_again_ns):
        return
    inforce.look_again_ns = now + round(limits.reload_refused_seconds * 1e9)
    try:
        await reload_now(agent)
    except ConfigurationError:
        return
