"""Waits before the first worker starts until the listeners' ports are free. Blocks."""

import errno
import time
from collections.abc import Container

from crewgate import limits
from crewgate.config import Config
from crewgate.policy.serve_config_checks import cannot_listen
from crewgate.runtime.listening import ListenAddress, normal, taken


def await_free(config: Config, seconds: float, given: Container[ListenAddress] = ()) -> None:
    """Return once the ports of all listeners are free; else ConfigurationError after `seconds`.

    The workers of a killed `serve` die with it, but the kernel needs a moment to end them. At the
    addresses `given`, this process has sockets already.
    """
    deadline = time.monotonic() + seconds
    workers = config.listeners if config.workers else ()
    control = () if config.control is None else (config.control,)
    for listener in (*workers, *control):
        if normal(listener.address, listener.port) in given:
            continue
        while (error := taken(listener.address, listener.port)) is not None:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise cannot_listen(config.path, listener, error) from error
            time.sleep(limits.lock_look_seconds)
