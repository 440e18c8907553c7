"""Waits before the first worker starts until the listeners' ports are free. Blocks."""

import errno
import time

from crewgate import limits
from crewgate.config import Config
from crewgate.policy.serve_config_checks import cannot_listen
from crewgate.runtime.listening import taken


def await_free(config: Config, seconds: float) -> None:
    """Return once the ports of all listeners are free; else ConfigurationError after `seconds`.

    The workers of a killed `serve` die with it, but the kernel needs a moment to end them.
    """
    deadline = time.monotonic() + seconds
    workers = config.listeners if config.workers else ()
    control = () if config.control is None else (config.control,)
    for listener in (*workers, *control):
        while (error := taken(listener.address, listener.port)) is not None:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise cannot_listen(config.path, listener, error) from error
            time.sleep(limits.lock_look_seconds)
