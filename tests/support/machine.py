"""One machine for tests of leases: a table, a ledger, a lessor, and calls as a gate makes them."""

from lessees import BOOT_NS, NOW, POLICY, grant
from table_model import TableModel

from crewgate._native.records import Geometry
from crewgate.core.accounts import MemoryLedger
from crewgate.core.grant import Grant
from crewgate.core.policy import Policy
from crewgate.verifier.leasing import Lessor, Status

GEOMETRY = Geometry(64, 64, 64, 4)


class Machine:
    """A table, a ledger and a lessor; and calls as the gate would make them."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.policy = policy
        self.table = TableModel(GEOMETRY)
        self.now = NOW
        self.boot_ns = BOOT_NS
        self.step_ns = 10**11  # between draws: so long that the rate of spend is next to nothing
        self.start()

    def start(self) -> None:
        """A new life of the agent on the same table."""
        self.ledger = MemoryLedger()
        self.lessor = Lessor(self.table, self.ledger, self.policy, "one")  # type: ignore[arg-type]
        self.lessor.rebuild(self.now)

    def draw(self, of: Grant, need: int) -> Status:
        self.boot_ns += self.step_ns
        return self.lessor.draw(of, need, self.now, self.boot_ns)

    def reserve(self, of: Grant, price: int) -> int | None:
        """One call: from the lease, else after a draw; the slot it holds, None if refused."""
        number = self.table.find(of.branch_key)
        slot = None if number < 0 else self.table.reserve(number, price)
        if slot is None and self.draw(of, price) is Status.GRANTED:
            slot = self.table.reserve(self.table.find(of.branch_key), price)
        return slot

    def call(self, of: Grant, price: int) -> bool:
        """A call that is settled at its price."""
        slot = self.reserve(of, price)
        if slot is not None:
            self.table.settle(self.table.find(of.branch_key), slot, price)
        return slot is not None

    def look(self, times: int = 1) -> int:
        self.boot_ns += 10**9
        return sum(self.lessor.give_back_idle(self.now, self.boot_ns) for _ in range(times))

    def refused(self, of: Grant) -> tuple[int, int, int, int] | None:
        record = self.table.branch(self.table.find(of.branch_key))
        assert record is not None
        return record.refused

    def consumed(self, of_key: bytes) -> int:
        (line, *_) = self.ledger.report(of_key)
        return line.quota - line.remaining


def siblings(count: int, parent: int, quota: int) -> list[Grant]:
    return [grant(n, quota, (100, parent, int(NOW))) for n in range(count)]
