"""Reads the configuration files again: on request, and when one of them has changed."""

import logging
from contextlib import suppress

import trio

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
    """Reload if a file has changed; an invalid configuration is only logged, and read again."""
    if agent.active_config.is_due():
        with suppress(ConfigurationError):
            await reload_now(agent)
