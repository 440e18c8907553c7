"""Ports: what another gateway has is refused, although the kernel would share it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from crewgate.config import Config, ListenerConfig
from crewgate.errors import ConfigurationError
from crewgate.runtime.listening import listen
from crewgate.supervisor.free_port_wait import await_free


def _at(config: Config, address: str, port: int) -> Config:
    """That configuration, which listens for agents alone, and there."""
    listener = ListenerConfig(
        name="agents", address=address, port=port, certificate=Path("c"), key=Path("k")
    )
    return msgspec.structs.replace(config, listeners=(listener,), control=None)


@pytest.fixture
def worker() -> Iterator[socket.socket]:
    """The socket of some gateway's worker; more workers may open its port."""
    with listen("127.0.0.1", 0) as sock:
        yield sock


def test_a_gateways_port_is_taken(config: Config, worker: socket.socket) -> None:
    """A second worker may have the port, a second gateway is told where and why not."""
    port = worker.getsockname()[1]
    listen("127.0.0.1", port).close()
    with pytest.raises(
        ConfigurationError, match=f"crewgate.toml: listener agents: .* port {port}: ano"
    ):
        await_free(_at(config, "127.0.0.1", port), 0)


def test_a_port_is_free_again_once_its_listener_is_closed(
    config: Config, worker: socket.socket
) -> None:
    """A connection that was never closed on the other side does not keep it."""
    port = worker.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        worker.settimeout(None)
        worker.accept()[0].close()
        worker.close()
        await_free(_at(config, "127.0.0.1", port), 0)
        listen("127.0.0.1", port).close()


def test_an_address_of_another_machine_is_told_at_once(config: Config) -> None:
    """It will not become ours, however long one waits."""
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1 port 8443: .*an address of this"):
        await_free(_at(config, "192.0.2.1", 8443), 3600)


def test_a_port_is_free_for_the_process_that_has_its_socket(
    config: Config, worker: socket.socket
) -> None:
    """A service manager has opened it for us."""
    port = worker.getsockname()[1]
    await_free(_at(config, "127.0.0.1", port), 0, {("127.0.0.1", port): worker})
