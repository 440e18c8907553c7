"""Waits before the first worker starts until the listeners' ports are free. Blocks."""

import errno
import time
from collections.abc import Sequence

from crewgate import limits
from crewgate.config import Config, ControlConfig, ListenerConfig
from crewgate.policy.startup_checks import cannot_listen
from crewgate.runtime.listening import taken


def await_free(
    listeners: Sequence[ListenerConfig | ControlConfig], where: str, seconds: float
) -> None:
    """Return once every port is free; ConfigurationError if one is not within `seconds`.

    The workers of a killed `serve` die with it, but the kernel needs a moment to end them.
    """
    deadline = time.monotonic() + seconds
    for listener in listeners:
        while (error := taken(listener.address, listener.port)) is not None:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise cannot_listen(where, listener, error) from error
            time.sleep(limits.lock_look_seconds)


def listened(config: Config) -> tuple[ListenerConfig | ControlConfig, ...]:
    """Return the listeners that a machine with this configuration opens for clients."""
    workers = config.listeners if config.workers else ()
    control = () if config.control is None else (config.control,)
    return (*workers, *control)
