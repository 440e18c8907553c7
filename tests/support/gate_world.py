"""A gate with a table, a ledger and clocks of its own: verdicts without any other process."""

from typing import Any

import msgspec
from crew_world import BRANCH, CREW, World

from crewgate import limits
from crewgate._native.gate import Gate
from crewgate._native.limit_words import give_words
from crewgate._native.permit import Permit
from crewgate._native.records import BranchRecord, BurnedReservation, TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.budget.memory_ledger import MemoryLedger
from crewgate.core.ids import EntityKind
from crewgate.core.policy.call_limits import LimitScopes
from crewgate.core.policy.policy import Policy
from crewgate.core.reasons import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.leases.lease_client import DrawResult, LeaseClient

GEOMETRY = TableCapacities(64, 64, 128, 4)
BOOT_NS = 10**15
NS = 10**9


class Gatehouse:
    """A world's gate. Both clocks stand still unless a test moves them."""

    def __init__(
        self,
        world: World,
        *,
        holds: bool = True,
        geometry: TableCapacities = GEOMETRY,
        table: OwnedTable | None = None,
    ) -> None:
        self.world = world
        self.boot_ns = BOOT_NS
        self.table = table or OwnedTable.private(geometry)
        self._begin(world.policy)
        self.lessor = LeaseClient(self.table, MemoryLedger(), world.policy, "one")
        self.attach(holds=holds)

    def at(self, seconds: float) -> None:
        """Set the wall clock to so long after the world's tokens were issued."""
        self.gate.clock = (self.world.now * NS + round(seconds * NS), self.boot_ns)

    def _begin(self, policy: Policy) -> None:
        """Put a policy in force in the table, as the agent does."""
        give_words(self.table, *LimitScopes.of(policy).needed(), self.boot_ns)
        self.table.set_policy_generation(policy.generation)

    def load(self, policy: Policy) -> None:
        """A new configuration, told to the table and loaded by the gate."""
        self._begin(policy)
        self.lessor.load(policy)
        self.gate.load(policy)

    def attach(self, *, holds: bool = True) -> None:
        """Judge by the table, as a worker that has just attached."""
        self.attachment, _ = self.table.take_attachment()
        self.gate = Gate(self.table, self.attachment, holds=holds)
        self.gate.load(self.world.policy)
        self.at(0)

    def reattach(self, table: OwnedTable | None = None) -> list[BurnedReservation]:
        """Attach again after a restart of the agent, perhaps to another table.

        The permits of calls in flight are revoked. Returns their reservations, which are burned.
        """
        old = self.table
        self.gate.holder.load(msgspec.structs.replace(self.world.policy, keys=()))
        if table is not None:
            old.retire()
            self.table = table
            self._begin(self.world.policy)
            self.lessor = LeaseClient(self.table, MemoryLedger(), self.world.policy, "one")
        burned = old.drop_attachment(self.attachment)
        self.attach()
        return burned

    def draw(self, grant: Grant, need: int) -> DrawResult:
        """Have credit drawn for a branch."""
        return self.lessor.draw(grant, need, float(self.world.now), self.boot_ns)

    def judge(self, token: bytes, tool: int = 0, **how: Any) -> Permit | Denial:
        """The verdict, after as many draws as it asks for."""
        verdict = self.gate.decide(token, tool, **how)
        for _ in range(8):
            if not isinstance(verdict, Denial) or not verdict.retry or verdict.grant is None:
                break
            price = self.world.policy.tools[tool].price
            status = self.draw(verdict.grant, price)
            verdict = self.gate.decide(token, tool, drawn=status is not DrawResult.GRANTED, **how)
        return verdict

    def permit(self, token: bytes, tool: int = 0, **how: Any) -> Permit:
        """A permit, or a failed test that shows the denial."""
        verdict = self.judge(token, tool, **how)
        assert isinstance(verdict, Permit), verdict
        return verdict

    def denial(self, token: bytes, tool: int = 0, **how: Any) -> Denial:
        """A denial, or a failed test."""
        verdict = self.judge(token, tool, **how)
        assert isinstance(verdict, Denial), verdict
        return verdict

    def reason(self, token: bytes, tool: int = 0, **how: Any) -> Reason | None:
        """Why the call is refused; None if it is not (it is released then)."""
        verdict = self.judge(token, tool, **how)
        if isinstance(verdict, Denial):
            return verdict.reason
        verdict.release()
        return None

    def revoke(
        self,
        kind: EntityKind,
        identifier: bytes,
        *,
        crew: str = CREW,
        before: int = limits.time_seconds_max,
    ) -> None:
        """Enter a revocation of the crew's."""
        key = ids.table_key(kind, crew, identifier)
        self.table.revoke(key, ids.crew_key(crew), before, 3600, self.world.now, self.boot_ns)

    def record(self, branch: str = BRANCH, crew: str = CREW) -> BranchRecord:
        """A copy of a branch's record."""
        record = self.table.branch(self.table.find(ids.branch_key(crew, branch)))
        assert record is not None
        return record


def opened(policy: Policy, *tools: int) -> Policy:
    """The policy in which these tools, and no others, go on when stale."""
    return msgspec.structs.replace(
        policy,
        tools=tuple(
            msgspec.structs.replace(tool, stale_open=number in tools)
            for number, tool in enumerate(policy.tools)
        ),
    )
