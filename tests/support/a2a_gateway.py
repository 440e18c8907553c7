"""A whole gateway in front of the test agent, for A2A clients of all kinds."""

import os
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

from crewgate.demo.ports import reserve
from crewgate.issuer import SubAgent

SERVER = Path(__file__).with_name("a2a_agent.py")
ENDPOINT = """
[upstream.agent]
url = "http://127.0.0.1:{http}"

[upstream.agent-grpc]
url = "http://127.0.0.1:{grpc}"
protocol = "h2"

[a2a.agent]
path = "/a2a/agent"
upstream = "agent"
price = "0.01"
rpc_path = "/rpc"
rest_path = "/rest"
grpc = "agent-grpc"
"""


class Agent:
    """The test agent as a process of its own."""

    def __init__(self, **environment: str) -> None:
        self.port, self.grpc_port = reserve(), reserve()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, str(SERVER), str(self.port), str(self.grpc_port)]
        self._process = subprocess.Popen(
            command, env=os.environ | environment, stdin=subprocess.PIPE
        )

    def observed(self) -> dict[str, Any]:
        """What reached the agent: `requests`, oldest first, and tasks by what became of them."""
        with urllib.request.urlopen(f"{self.url}/observed") as answer:
            found: dict[str, Any] = msgspec.json.decode(answer.read())
        return found

    def wait(self) -> None:
        """Return once it answers."""

        def answers() -> bool:
            assert self._process.poll() is None, "the test agent has ended"
            try:
                self.observed()
            except OSError:
                return False
            return True

        wait_until(answers)

    def end(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class A2AGateway:
    """Where the gateway is, whom to trust, and tokens."""

    def __init__(self, premises: Premises, agent: Agent) -> None:
        self.premises, self.agent = premises, agent
        self.orchestrator = premises.orchestrator()
        self.authority = f"localhost:{premises.port}"
        self.url = f"https://{self.authority}/a2a/agent"
        self.ca = premises.folder / "certs" / "ca.pem"

    def trust(self) -> ssl.SSLContext:
        """A context that trusts the gateway."""
        return ssl.create_default_context(cafile=str(self.ca))

    def start(self, credits_: str = "100", tools: Sequence[str] = ("agent.*",)) -> SubAgent:
        """Mint a token of a branch of its own; `orchestrator.revoke` ends the branch."""
        return self.orchestrator.start_run(credits=credits_, tools=tools)


@contextmanager
def a2a_gateway(folder: Path, more: str = "", **environment: str) -> Iterator[A2AGateway]:
    """Serve until the block ends.

    `more` are further keys of the endpoint, and `environment` is the agent's.
    """
    agent = Agent(**environment)  # it starts while the gateway does
    premises = None
    try:
        premises = Premises(folder)
        head, _, _ = premises.file.read_text().partition("[upstream.tools]")
        head = head.replace("workers = 2", "workers = 1").replace('"search.*"', '"agent.*"')
        endpoint = ENDPOINT.format(http=agent.port, grpc=agent.grpc_port)
        premises.file.write_text(head + endpoint + more)
        premises.serve()
        agent.wait()
        yield A2AGateway(premises, agent)
    finally:
        if premises is not None:
            premises.end()
        agent.end()
