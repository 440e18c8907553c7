"""A whole gateway in front of the everything-server, for MCP clients of all kinds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from installation import Premises
from observed_server import ObservedGateway, ObservedServer, served
from token_shim import token_shim

from crewgate.demo.ports import reserve
from crewgate.issuer import SubAgent

ALL = ("everything.*", "everything:prompts.*", "everything:resources.*")
ENDPOINT = """
[upstream.everything]
url = "http://127.0.0.1:{port}"

[mcp.everything]
path = "/mcp/everything"
rewrite = "/mcp"
upstream = "everything"
price = "0.01"

[mcp.everything.cors]
origins = ["http://127.0.0.1:{shim}"]
"""


class Everything(ObservedServer):
    """The everything-server."""

    def __init__(self) -> None:
        super().__init__("mcp_everything.py", reserve())  # and 19 more ports
        self.url = f"http://127.0.0.1:{self.port}/mcp"


class MCPGateway(ObservedGateway):
    """A gateway in front of the everything-server."""

    def __init__(self, premises: Premises, everything: Everything) -> None:
        super().__init__(premises)
        self.everything = everything
        self.url = f"https://127.0.0.1:{premises.port}/mcp/everything"

    def start(self, credits_: str = "100", tools: Sequence[str] = ALL) -> SubAgent:
        """Mint a token of a branch of its own, by default for the whole endpoint."""
        return super().start(credits_, tools)

    @contextmanager
    def shim(self, token: str) -> Iterator[str]:
        """The address of a server that adds this token to each request, without TLS."""
        port = self.everything.port + 1
        with token_shim(port, self.premises.port, self.trust(), token):
            yield f"http://127.0.0.1:{port}/mcp/everything"


@contextmanager
def mcp_gateway(folder: Path, more: str = "", tools: Sequence[str] = ALL) -> Iterator[MCPGateway]:
    """Serve until the block ends.

    `more` is added to the configuration, whose crew may use `tools`.
    """
    everything = Everything()
    endpoint = ENDPOINT.format(port=everything.port, shim=everything.port + 1) + more
    with served(folder, everything, endpoint, tools) as premises:
        yield MCPGateway(premises, everything)
