"""Ports: what another gateway has is refused, although the kernel would share it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from crewgate.config import ListenerConfig
from crewgate.errors import ConfigurationError
from crewgate.server import listen
from crewgate.supervisor.port_wait import await_free


def _listener(address: str, port: int) -> ListenerConfig:
    return ListenerConfig(
        name="agents", address=address, port=port, certificate=Path("c"), key=Path("k")
    )


@pytest.fixture
def worker() -> Iterator[socket.socket]:
    """The socket of some gateway's worker; more workers may open its port."""
    with listen("127.0.0.1", 0) as sock:
        yield sock


def test_a_gateways_port_is_taken(worker: socket.socket) -> None:
    """A second worker may have the port, a second gateway is told where and why not."""
    port = worker.getsockname()[1]
    listen("127.0.0.1", port).close()
    with pytest.raises(ConfigurationError, match=f"f.toml: listener agents: .* port {port}: ano"):
        await_free([_listener("127.0.0.1", port)], "f.toml", 0)


def test_a_port_is_free_again_once_its_listener_is_closed(worker: socket.socket) -> None:
    """A connection that was never closed on the other side does not keep it."""
    port = worker.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        worker.settimeout(None)
        worker.accept()[0].close()
        worker.close()
        await_free([_listener("127.0.0.1", port)], "f.toml", 0)
        listen("127.0.0.1", port).close()


def test_an_address_of_another_machine_is_told_at_once() -> None:
    """It will not become ours, however long one waits."""
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1 port 8443: .*an address of this"):
        await_free([_listener("192.0.2.1", 8443)], "f.toml", 3600)
