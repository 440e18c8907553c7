"""A whole gateway in front of the test agent, for A2A clients of all kinds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from installation import Premises
from observed_server import ObservedGateway, ObservedServer, served

from crewgate.demo.ports import reserve
from crewgate.issuer import SubAgent

ALL = ("agent.*",)
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


class Agent(ObservedServer):
    """The test agent."""

    def __init__(self, **environment: str) -> None:
        self.grpc_port = reserve()
        super().__init__("a2a_agent.py", reserve(), self.grpc_port, **environment)
        self.url = f"http://127.0.0.1:{self.port}"


class A2AGateway(ObservedGateway):
    """A gateway in front of the test agent."""

    def __init__(self, premises: Premises, agent: Agent) -> None:
        super().__init__(premises)
        self.agent = agent
        self.authority = f"localhost:{premises.port}"
        self.url = f"https://{self.authority}/a2a/agent"

    def start(self, credits_: str = "100", tools: Sequence[str] = ALL) -> SubAgent:
        """Mint a token of a branch of its own, by default for the whole endpoint."""
        return super().start(credits_, tools)


@contextmanager
def a2a_gateway(folder: Path, more: str = "", **environment: str) -> Iterator[A2AGateway]:
    """Serve until the block ends.

    `more` are further keys of the endpoint, and `environment` is the agent's.
    """
    agent = Agent(**environment)
    endpoint = ENDPOINT.format(http=agent.port, grpc=agent.grpc_port) + more
    with served(folder, agent, endpoint, ALL) as premises:
        yield A2AGateway(premises, agent)
