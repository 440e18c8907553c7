"""A whole gateway in front of the everything-server, for MCP clients of all kinds."""

import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from installation import Premises, wait_until
from token_shim import token_shim

from crewgate.demo.ports import reserve
from crewgate.issuer import SubAgent

SERVER = Path(__file__).with_name("mcp_everything.py")
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


class Everything:
    """The everything-server as a process of its own."""

    def __init__(self) -> None:
        self.port = reserve()  # and 19 more
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        command = [sys.executable, "-W", "ignore", str(SERVER), str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def observed(self) -> dict[str, Any]:
        """What reached the server: `requests`, oldest first, and the state of each of `tasks`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/observed") as answer:
            found: dict[str, Any] = msgspec.json.decode(answer.read())
        return found

    def wait(self) -> None:
        """Return once it answers."""

        def answers() -> bool:
            assert self._process.poll() is None, "the everything-server has ended"
            try:
                self.observed()
            except OSError:
                return False
            return True

        wait_until(answers)

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class MCPGateway:
    """Where the gateway is, whom to trust, and tokens."""

    def __init__(self, premises: Premises, everything: Everything) -> None:
        self.premises, self.everything = premises, everything
        self.orchestrator = premises.orchestrator()
        self.url = f"https://127.0.0.1:{premises.port}/mcp/everything"
        self.ca = premises.folder / "certs" / "ca.pem"

    def trust(self) -> ssl.SSLContext:
        """A context that trusts the gateway."""
        return ssl.create_default_context(cafile=str(self.ca))

    def start(self, credits_: str = "100", tools: Sequence[str] = ALL) -> SubAgent:
        """Mint a token of a branch of its own; `orchestrator.revoke` ends the branch."""
        return self.orchestrator.start_run(credits=credits_, tools=tools)

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
    everything = Everything()  # it starts while the gateway does
    premises = None
    try:
        premises = Premises(folder)
        head, _, _ = premises.file.read_text().partition("[upstream.tools]")
        head = head.replace("workers = 2", "workers = 1")
        head = head.replace('"search.*"', ", ".join(f'"{each}"' for each in tools))
        premises.file.write_text(
            head + ENDPOINT.format(port=everything.port, shim=everything.port + 1) + more
        )
        premises.serve()
        everything.wait()
        yield MCPGateway(premises, everything)
    finally:
        if premises is not None:
            premises.end()
        everything.end()
