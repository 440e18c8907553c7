"""Reads the configuration files again: on request, and when one of them has changed."""

import logging
from contextlib import suppress

import trio

from crewgate import limits
from crewgate.agent.state import AgentState
from crewgate.errors import ConfigurationError

_log = logging.getLogger(__name__)


async def reload_now(agent: AgentState) -> None:
    """Read the files and activate the configuration.

    Raises ConfigurationError if it is invalid. The agent logs that and keeps the active one.
    """
    try:
        loaded = await trio.to_thread.run_sync(agent.active_config.read_files)
    except ConfigurationError as error:
        agent.active_config.refuse(error)
        raise
    agent.reload(loaded)
    _log.info("configuration %d is active", agent.active_config.policy.generation)


async def reload_if_changed(agent: AgentState) -> None:
    """Reload if a file has changed; an invalid configuration is only logged.

    An invalid configuration is also read again at intervals: a missing file cannot be watched.
    """
    active, now = agent.active_config, agent.clock.boot_ns()
    if not active.changed() and not (active.error and now >= active.look_again_ns):
        return
    active.look_again_ns = now + round(limits.reload_refused_seconds * 1e9)
    with suppress(ConfigurationError):
        await reload_now(agent)
