"""Whether the listeners' ports are free before the first worker starts.

The workers share each port (SO_REUSEPORT), and the kernel would as gladly share it with another
gateway of the same user: each of the two would then be asked with the other one's tokens. A socket
that shares with nobody finds that out. Plain blocking code; nothing is accepted here.
"""

import errno
import socket
import time
from collections.abc import Sequence

from crewgate import limits
from crewgate.config import Config, Control, Listener
from crewgate.errors import ConfigurationError


def await_free(listeners: Sequence[Listener | Control], where: str, seconds: float) -> None:
    """Return once every port can be had; ConfigurationError if one cannot within `seconds`.

    The workers of a killed `serve` die with it, but the kernel needs a moment to take them down.
    """
    deadline = time.monotonic() + seconds
    for listener in listeners:
        while (error := _refused(listener)) is not None:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise ConfigurationError(
                    f"{where}: {_named(listener)}: cannot listen on {listener.address} "
                    f"port {listener.port}: {_why(error)}"
                ) from error
            time.sleep(limits.lock_look_seconds)


def _refused(listener: Listener | Control) -> OSError | None:
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            # Connections of an earlier gateway that still linger are no obstacle.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((listener.address, listener.port))
    except OSError as error:
        return error
    return None


def _named(listener: Listener | Control) -> str:
    return f"listener {listener.name}" if isinstance(listener, Listener) else "[control]"


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program, or another gateway, is there; end it, or choose another port"
    return f"{error.strerror}; give an address of this machine and a port that is free"


def listened(config: Config) -> tuple[Listener | Control, ...]:
    """What a machine of this configuration listens for clients on."""
    workers = config.listeners if config.workers else ()
    control = () if config.control is None else (config.control,)
    return (*workers, *control)
