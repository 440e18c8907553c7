"""One gateway for all clients, and one server of MCP behind it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_gateway import ClientWorld, client_world
from installation import is_listening, wait_until

SERVER = Path(__file__).parents[2] / "support" / "mcp_server.py"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientWorld]:
    with client_world(tmp_path_factory.mktemp("clients")) as world:
        yield world


@pytest.fixture(scope="session")
def otters(world: ClientWorld) -> Iterator[str]:
    """The URL of an MCP endpoint of the gateway."""
    pytest.importorskip("mcp", reason="mcp is not installed")
    process = subprocess.Popen([sys.executable, SERVER, str(world.mcp)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_listening(world.mcp))
        yield f"{world.url}/mcp/otters"
    finally:
        process.kill()
        process.wait()
