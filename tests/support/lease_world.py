"""One machine for tests of leases: a table, a ledger, a lessor, and calls through a gate.

The table is the slow model with a gate as short as it can be said, or the native table with the
native gate and signed tokens: what is shown on one is shown on the other.
"""

import warnings
from typing import Protocol

import msgspec
import tokens
from grant_builders import BOOT_NS, NOW, POLICY, grant
from reporting_ledger import ReportingLedger
from table_model import TableModel

from crewgate import limits
from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core.policy.policy import Policy, ToolPolicy, VerificationKey
from crewgate.core.reasons import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.leases.lease_client import DrawResult, LeaseClient

GEOMETRY = TableCapacities(64, 64, 256, 4)
PRICES = (*range(400), limits.price_micro_max)
OF_CREDIT = {Reason.BUDGET_UNAVAILABLE, Reason.CREDITS_EXHAUSTED, Reason.BRANCH_REVOKED}


class GateLike(Protocol):
    """What a call does to a lease; slots are whatever the gate makes of them."""

    def reserve(
        self, of: Grant, price: int, now: float, boot_ns: int, *, loose: bool = False
    ) -> object | None: ...
    def grow(self, of: Grant, slot: object, more: int) -> bool: ...
    def settle(self, of: Grant, slot: object, cost: int) -> None: ...
    def charge(self, of: Grant, price: int, now: float, boot_ns: int) -> object | None: ...
    def undo(self, of: Grant, charged: object) -> None: ...
    def lose(self, of: Grant, price: int, now: float, boot_ns: int) -> None: ...


class ModelGate:
    def __init__(self, table: TableModel) -> None:
        self.table = table

    def number(self, of: Grant) -> int:
        return self.table.find(of.branch_key)

    def reserve(
        self, of: Grant, price: int, now: float, boot_ns: int, *, loose: bool = False
    ) -> object | None:
        number = self.number(of)
        return None if number < 0 else self.table.reserve(number, price, loose=loose)

    def grow(self, of: Grant, slot: object, more: int) -> bool:
        assert isinstance(slot, int)
        return self.table.grow(self.number(of), slot, more)

    def settle(self, of: Grant, slot: object, cost: int) -> None:
        assert isinstance(slot, int)
        self.table.settle(self.number(of), slot, cost)

    def charge(self, of: Grant, price: int, now: float, boot_ns: int) -> object | None:
        slot = self.reserve(of, price, now, boot_ns)
        if slot is not None:
            self.settle(of, slot, price)
        return None if slot is None else price

    def undo(self, of: Grant, charged: object) -> None:
        assert isinstance(charged, int)
        self.table.undo(self.number(of), charged)

    def lose(self, of: Grant, price: int, now: float, boot_ns: int) -> None:
        slot = self.reserve(of, price, now, boot_ns)
        assert isinstance(slot, int)
        self.table.burn(self.number(of), slot)


class NativeGate:
    """There is a tool for every price; the key of the tests signs for every crew."""

    def __init__(self, table: OwnedTable, policy: Policy) -> None:
        self.table = table
        self.policy = msgspec.structs.replace(
            policy,
            keys=tuple(
                VerificationKey(f"{crew.name}-1", crew.name, tokens.PUBLIC) for crew in policy.crews
            ),
            crews=tuple(
                msgspec.structs.replace(crew, tools=("search.*",)) for crew in policy.crews
            ),
            tools=tuple(ToolPolicy(f"search.p{price}", price) for price in PRICES),
        )
        table.set_policy_generation(policy.generation)
        self.holding = self.gate(holds=True)
        self.embedded = self.gate(holds=False)
        self.minted: dict[tuple[bytes, int], bytes] = {}

    def gate(self, *, holds: bool) -> Gate:
        self.attachment, _ = self.table.take_attachment()
        gate = Gate(self.table, self.attachment, holds=holds)
        gate.load(self.policy)
        return gate

    def token(self, of: Grant) -> bytes:
        name = of.branch_key, of.claims.iat
        if name not in self.minted:
            header = {**tokens.HEADER, "kid": f"{of.crew}-1"}
            claims = msgspec.to_builtins(of.claims)
            self.minted[name] = tokens.token(header, **claims)
        return self.minted[name]

    def decide(
        self, gate: Gate, of: Grant, price: int, now: float, boot_ns: int, *, loose: bool = False
    ) -> Permit | Denial:
        gate.clock = int(now * 10**9), boot_ns
        if loose:
            verdict = gate.decide(self.token(of), 0, price=price, is_upper_bound=True)
        else:
            verdict = gate.decide(self.token(of), PRICES.index(price))
        if isinstance(verdict, Denial):
            assert verdict.reason in OF_CREDIT, verdict
        return verdict

    def reserve(
        self, of: Grant, price: int, now: float, boot_ns: int, *, loose: bool = False
    ) -> object | None:
        verdict = self.decide(self.holding, of, price, now, boot_ns, loose=loose)
        return verdict if isinstance(verdict, Permit) else None

    def grow(self, of: Grant, slot: object, more: int) -> bool:
        assert isinstance(slot, Permit)
        return slot.grow(more)

    def settle(self, of: Grant, slot: object, cost: int) -> None:
        assert isinstance(slot, Permit)
        slot.settle(cost)

    def charge(self, of: Grant, price: int, now: float, boot_ns: int) -> object | None:
        verdict = self.decide(self.embedded, of, price, now, boot_ns)
        return verdict if isinstance(verdict, Permit) else None

    def undo(self, of: Grant, charged: object) -> None:
        assert isinstance(charged, Permit)
        charged.release()

    def lose(self, of: Grant, price: int, now: float, boot_ns: int) -> None:
        dying = self.gate(holds=True)
        permit = self.decide(dying, of, price, now, boot_ns)
        assert isinstance(permit, Permit)
        self.table.drop_attachment(self.attachment)
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            del permit  # a process that died warns about nothing


class Machine:
    """A table, a ledger and a lessor; and calls as the gate would make them."""

    table: TableModel | OwnedTable
    gate: GateLike

    def __init__(self, policy: Policy = POLICY, *, native: bool = False, name: str = "one") -> None:
        self.policy = policy
        self.name = name
        if native:
            self.table = OwnedTable.private(GEOMETRY)
            self.gate = NativeGate(self.table, policy)
        else:
            self.table = TableModel(GEOMETRY, name.encode().ljust(16))
            self.gate = ModelGate(self.table)
        self.now = NOW
        self.boot_ns = BOOT_NS
        self.lent_max = 0
        self.step_ns = 10**11  # between draws: so long that the rate of spend is next to nothing
        self.ledger = ReportingLedger()
        self.start()

    def start(self) -> None:
        """A new life of the agent on the same table; it takes a moment to begin."""
        self.boot_ns += 10**7
        self.join(self.ledger)
        self.lessor.rebuild(self.now, self.boot_ns)

    def join(self, ledger: ReportingLedger) -> None:
        """Draw from a ledger, which other machines may share."""
        self.ledger = ledger
        self.lessor = LeaseClient(
            self.table,  # type: ignore[arg-type]
            ledger,
            self.policy,
            self.name,
            overdraft_micro_max=self.lent_max,
        )

    def draw(self, of: Grant, need: int) -> DrawResult:
        self.boot_ns += self.step_ns
        return self.lessor.draw(of, need, self.now, self.boot_ns)

    def reserve(self, of: Grant, price: int, *, loose: bool = False) -> object | None:
        """One call: from the lease, else after a draw; the slot it holds, None if refused."""
        slot = self.gate.reserve(of, price, self.now, self.boot_ns, loose=loose)
        if slot is None and self.draw(of, price) is DrawResult.GRANTED:
            slot = self.gate.reserve(of, price, self.now, self.boot_ns, loose=loose)
        return slot

    def call(self, of: Grant, price: int) -> bool:
        """A call that is settled at its price."""
        slot = self.reserve(of, price)
        if slot is not None:
            self.gate.settle(of, slot, price)
        return slot is not None

    def charge(self, of: Grant, price: int) -> object | None:
        """An embedded call: charged at once; what can undo it, None if refused."""
        charged = self.gate.charge(of, price, self.now, self.boot_ns)
        if charged is None and self.draw(of, price) is DrawResult.GRANTED:
            charged = self.gate.charge(of, price, self.now, self.boot_ns)
        return charged

    def lose(self, of: Grant, price: int) -> None:
        """A call in flight whose process dies."""
        assert self.draw(of, price) is DrawResult.GRANTED
        self.gate.lose(of, price, self.now, self.boot_ns)

    def look(self, times: int = 1, *, seconds: float = 1.0) -> int:
        """The agent scans the leases so often, after so many seconds each; what goes back."""
        returned = 0
        for _ in range(times):
            self.boot_ns += round(seconds * 1e9)
            returned += self.lessor.give_back_idle(self.now, self.boot_ns)
        return returned

    def rest(self) -> int:
        """The lease of no branch changes for as long as one may be idle; what goes back."""
        return self.look() + self.look(seconds=limits.lease_idle_seconds)

    def repay(self) -> None:
        """The ledger is back."""
        for owing in self.lessor.overdraft.owing:
            self.lessor._at_once(self.lessor.settle_overdraft(owing), self.now)

    def refused(self, of: Grant) -> tuple[int, int, int, int] | None:
        record = self.table.branch(self.table.find(of.branch_key))
        assert record is not None
        return record.refused

    def consumed(self, of_key: bytes) -> int:
        (line, *_) = self.ledger.report(of_key)
        return line.quota - line.remaining


New = type[Machine]  # what the fixture `new_machine` is called like


def siblings(count: int, parent: int, quota: int) -> list[Grant]:
    return [grant(n, quota, (100, parent, int(NOW))) for n in range(count)]
