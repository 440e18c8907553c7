"""Two workers that judge by certificate on one table: gates, signers and a ledger, no process."""

from hashlib import sha256
from pathlib import Path

import msgspec

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.presenter import Presenter
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.config import CrewConfig, CrossingConfig
from crewgate.core.budget.memory_ledger import MemoryLedger
from crewgate.core.cross_crew_accounts import run_branch
from crewgate.core.ids import branch_key
from crewgate.core.policy.policy import CrewPolicy, Policy, ToolPolicy
from crewgate.core.verdict import Denial
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.leases.lease_client import DrawResult, LeaseClient
from crewgate.policy.certificate_token_signer import (
    CertificateTokenSigner,
    LocalSigner,
    SignedToken,
)
from crewgate.policy.loader import account

AUDIENCE = "https://gateway.example"
NOW = 1_900_000_000
BOOT_NS = 10**15
GEOMETRY = TableCapacities(64, 64, 256, 4)
PRICE = 10
BD = CrewConfig("bd", "https://bd.example", Path("bd.json"), ("bd.*",))
CROSSING = CrossingConfig(
    "bd", "finance", ("finance.*",), credits_per_hour=1000, credits_per_run=100
)
TOOLS = (
    ToolPolicy("finance.quote", PRICE, owner="finance"),
    ToolPolicy("hr.file", PRICE, owner="hr"),
    ToolPolicy("search.web", PRICE),
)


class Holder(msgspec.Struct, frozen=True):
    """A proven certificate: of the process `number` of an orchestrator."""

    number: int = 1
    name: str = "bd-1"
    crew: str = "bd"
    serial_text: str = "0A"
    not_after: int = NOW + 4 * 3600

    @property
    def certificate(self) -> bytes:
        return repr(self).encode()

    @property
    def certificate_digest(self) -> bytes:
        return sha256(self.certificate).digest()

    @property
    def identity(self) -> Identity:
        return Identity(Role.ORCHESTRATOR, self.name, self.number.to_bytes(16), self.crew)


def policy_of(crossing: CrossingConfig = CROSSING, *, generation: int = 1) -> Policy:
    """A policy of two crews and the account between them; no crew has a key."""
    crews = (
        CrewPolicy("bd", BD.issuer, BD.tools),
        CrewPolicy("finance", "https://finance.example"),
    )
    return Policy(AUDIENCE, (), (*crews, account(crossing, BD)), TOOLS, generation)


class Worker:
    """One process: its signer, its gate, and the accounts of the configuration it has loaded."""

    def __init__(self, house: "House") -> None:
        self.house = house
        self.signer = LocalSigner()
        self.attachment, _ = house.table.take_attachment()
        self.gate = Gate(house.table, self.attachment)
        self.load(CROSSING)

    def load(self, crossing: CrossingConfig, *, generation: int = 1, now: float = NOW - 10) -> None:
        policy = policy_of(crossing, generation=generation)
        self.gate.load(self.signer.admitted(policy, [crossing]))
        self.crossings = CertificateTokenSigner(self.signer, AUDIENCE, [crossing], now)

    def signed(self, holder: Holder, now: float = NOW) -> SignedToken:
        found = self.crossings.find(holder, "finance", now)
        assert isinstance(found, SignedToken), found
        return found

    def judge(
        self, holder: Holder, tool: int = 0, *, now: float = NOW, crew: str | None = "bd:finance"
    ) -> Permit | Denial:
        """The verdict, after as many draws as it asks for."""
        token = self.signed(holder, now).token
        self.gate.clock = int(now * 10**9), BOOT_NS
        presenter = Presenter(crew, holder.certificate_digest)
        verdict = self.gate.decide(token, tool, presenter=presenter)
        for _ in range(8):
            if not isinstance(verdict, Denial) or not verdict.retry or verdict.grant is None:
                break
            status = self.house.lessor.draw(verdict.grant, PRICE, now, BOOT_NS)
            drawn = status is not DrawResult.GRANTED
            verdict = self.gate.decide(token, tool, presenter=presenter, drawn=drawn)
        return verdict


class House:
    """A table, a ledger, and workers."""

    def __init__(self, crossing: CrossingConfig = CROSSING, workers: int = 2) -> None:
        self.crossing = crossing
        self.table = OwnedTable.private(GEOMETRY)
        self.table.set_policy_generation(1)
        self.lessor = LeaseClient(self.table, MemoryLedger(), policy_of(crossing), "one")
        self.workers = [Worker(self) for _ in range(workers)]
        for worker in self.workers:
            worker.load(crossing)

    def die(self, index: int, held: list[Permit]) -> None:
        """A worker is killed with these calls in flight; another one takes its place."""
        self.table.drop_attachment(self.workers[index].attachment)
        held.clear()
        self.workers[index] = Worker(self)
        self.workers[index].load(self.crossing)

    def consumed(self, holder: Holder) -> int:
        """What the table says that a run has had, burned and settled."""
        key = branch_key("bd:finance", run_branch("bd:finance", holder.identity))
        record = self.table.branch(self.table.find(key))
        assert record is not None
        return record.settled + record.burned

    def reload(self, crossing: CrossingConfig, generation: int, now: float) -> None:
        """The agent first, then every worker."""
        self.table.set_policy_generation(generation)
        self.lessor.load(policy_of(crossing, generation=generation))
        for worker in self.workers:
            worker.load(crossing, generation=generation, now=now)
