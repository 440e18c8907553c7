"""One gateway in front of one MCP server for all clients."""

from collections.abc import Iterator

import pytest
from mcp_gateway import MCPGateway, mcp_gateway


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MCPGateway]:
    with mcp_gateway(tmp_path_factory.mktemp("mcp")) as gateway:
        yield gateway
