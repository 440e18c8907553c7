"""What a test of the whole agent needs: a configuration, and two clocks that only it moves."""

from collections.abc import Callable

from grant_builders import NOW

from crewgate._native.records import TableCapacities
from crewgate.agent.state import AgentState
from crewgate.agent.system_clock import SystemClock
from crewgate.core.budget.ledger_protocol import (
    CloseBranch,
    Operation,
    OperationResult,
    ReportLeaseUsage,
    ReturnCredit,
)
from crewgate.errors import InvalidLedgerOperationError
from crewgate.ledger.operation_queue import LedgerQueue, Then
from crewgate.ledger.sql import SQLLedger

S = 10**9
GEOMETRY = TableCapacities(branches=256, revocations=64, reservations=128, attachments=8)
TOML = """
audience = "https://gateway.example"
workers = {workers}
[[listener]]
name = "agents"
address = "127.0.0.1"
port = 8443
certificate = "server.pem"
key = "server.key"
[crew.article]
issuer = "https://orchestrator.example"
jwks = "jwks.json"
tools = ["search.*"]
[upstream.local]
url = "http://127.0.0.1:9"
[tool."search.web"]
method = "POST"
path = "/search"
upstream = "local"
price = "{price}"
"""
# The public key of RFC 8032, section 7.1, test 1.
X = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


class Hands(SystemClock):
    """Two clocks that only a test moves."""

    def __init__(self) -> None:
        self.wall, self.boot = int(NOW) * S, 10**12

    def wall_ns(self) -> int:
        return self.wall

    def boot_ns(self) -> int:
        return self.boot

    def go(self, seconds: float) -> None:
        """Time passes."""
        self.wall += round(seconds * S)
        self.boot += round(seconds * S)


Start = Callable[[], AgentState]


class PromptClerk(LedgerQueue):
    """Asks the ledger at once, in the test's own thread."""

    def __init__(self, ledger: SQLLedger, hands: Hands) -> None:
        super().__init__(ledger, lambda: hands.wall_ns() / S)

    def submit(self, operation: ReturnCredit | ReportLeaseUsage | CloseBranch) -> None:
        self.ledger.do(operation, self._now())

    def ask(self, operation: Operation, then: Then) -> None:
        answer: OperationResult | InvalidLedgerOperationError
        try:
            answer = self.ledger.do(operation, self._now())
        except InvalidLedgerOperationError as error:
            answer = error
        then(answer)
