"""The listening sockets that a service manager opened, and which process accepts from each.

The service manager keeps its own copies of them. A client would wait for ever in a socket from
which no process accepts, so each must belong to a listener of the configuration.
"""

import socket
from collections.abc import Mapping

from crewgate.config import Config
from crewgate.runtime.listening import ListenAddress, normal
from crewgate.runtime.socket_activation import describe


class ServiceSockets:
    """The sockets by address; `by_address` is empty without a service manager."""

    def __init__(self, by_address: Mapping[ListenAddress, socket.socket]) -> None:
        self.by_address = dict(by_address)

    def of_control(self, config: Config) -> list[int]:
        """Return the descriptor of the socket of the control API, if there is one."""
        address = _control(config)
        return [self.by_address[address].fileno()] if address in self.by_address else []

    def unserved(self, config: Config) -> str:
        """Return a sentence about sockets from which no process would accept; else ""."""
        workers = config.listeners if config.workers else ()
        served = {_control(config), *(normal(each.address, each.port) for each in workers)}
        places = ", ".join(describe(each) for each in self.by_address if each not in served)
        if not places:
            return ""
        return (
            f"{config.path}: clients wait at {places}, where the service manager has a socket and "
            "no process accepts; give the socket unit and [[listener]] or [control] the same "
            "address and port"
        )


def _control(config: Config) -> ListenAddress | None:
    return None if config.control is None else normal(config.control.address, config.control.port)
