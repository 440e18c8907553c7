"""A private table with its own ledger and lessor: everything that a verdict needs, in one process.

For tests and single processes: nothing is shared, nothing survives. Draws are made in the call
itself, under a lock that only calls without a lease take. Knows no tokens.
"""

import threading
import time
from typing import NoReturn

import msgspec

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate._native.records import Geometry
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.budget.memory_ledger import MemoryLedger
from crewgate.core.policy.policy import CrewPolicy, Policy
from crewgate.core.verdict import Denial
from crewgate.errors import ForkedError, RefusedError
from crewgate.leases.lease_client import DrawResult, LeaseClient
from crewgate.verifier.loaded_policy import DecisionRequest, LoadedPolicy, judge_by, needs_credit
from crewgate.verifier.waiters import DrawWaiter

# An embedded verifier holds no reservations and nobody else attaches: the least there can be.
_GEOMETRY = Geometry(
    limits.table_branches_default, limits.table_branches_default, limits.table_records_min, 2
)


class StandaloneSource:
    """A source of verdicts and credit that shares nothing with any other process."""

    judge: LoadedPolicy
    wait_seconds = limits.credit_wait_seconds

    def __init__(self, policy: Policy) -> None:
        self._lock = threading.Lock()
        self._table = OwnedTable.private(_GEOMETRY)
        self._table.set_policy_generation(policy.generation)
        ledger = MemoryLedger()
        self._lease_client = LeaseClient(
            self._table, ledger, policy, "standalone", forget=ledger.forget
        )
        self._tidied = time.monotonic()
        self.judge = judge_by(policy, self._table)

    def __repr__(self) -> str:
        return f"<StandaloneSource {self._table!r}>"

    def try_fund(self, request: DecisionRequest, denial: Denial) -> Permit | Denial:
        """Draw what the call lacks, and judge it again."""
        grant = denial.grant
        if grant is None:
            return denial
        verdict: Permit | Denial = denial
        with self._lock:
            for _ in range(limits.draw_rounds_max):
                wall, boot_ns = _clocks()
                self._tidy(wall, boot_ns)
                status = self._lease_client.draw(grant, request.price, wall, boot_ns)
                if status is not DrawResult.GRANTED:
                    return request.after_draw(denial, status)
                verdict = request.ask()
                if not needs_credit(verdict):  # else another thread was faster
                    break
        return verdict

    def start_draw(self, request: DecisionRequest, denial: Denial, waiter: DrawWaiter) -> bool:  # noqa: ARG002
        """False: there is nobody to wait for."""
        return False

    def revoke(self, branch: str, crew: str) -> None:
        """See `StandaloneVerifier.revoke`."""
        try:
            ids.uuid_bytes(branch)
        except ValueError as error:
            raise RefusedError(f"not a branch id: {error}") from error
        whose = self._whose(branch, crew)
        key, owner = ids.branch_key(whose.name, branch), ids.crew_key(whose.name)
        with self._lock:
            wall, boot_ns = _clocks()
            before = limits.time_seconds_max
            most = min(whose.live_revocations_max, _GEOMETRY.revocations // 2)
            if not self._table.is_revoked(key) and self._table.revocations_of(owner) >= most:
                key, before = owner, int(wall) + limits.leeway_seconds
            life = limits.revocation_seconds
            self._table.revoke(key, owner, before, life, int(wall), boot_ns)
            self._lease_client.close(ids.branch_key(whose.name, branch))

    def close(self) -> None:
        """From now on everything is refused; the memory goes with the last permit."""
        self.judge = self.judge.closed()

    def after_fork(self) -> None:
        """In the child: a copy of the budgets would spend them twice."""
        self.judge = msgspec.structs.replace(self.judge, decide=_forked)
        self._lock = threading.Lock()

    def _whose(self, branch: str, crew: str) -> CrewPolicy:
        crews = self.judge.policy.crews
        names = [each.name for each in crews]
        if not crew:
            seen = [n for n in names if self._table.find(ids.branch_key(n, branch)) >= 0]
            possible = seen or names
            if len(possible) != 1:
                raise RefusedError(f"whose branch is {branch}? say crew=; there are: {possible}")
            crew = possible[0]
        if crew not in names:
            raise RefusedError(f"no crew {crew!r}; there are: {', '.join(names)}")
        return crews[names.index(crew)]

    def _tidy(self, wall: float, boot_ns: int) -> None:
        """Forget a little of what has expired, at most once a second."""
        now = time.monotonic()
        if now - self._tidied >= 1:
            self._tidied = now
            self._lease_client.reclaim(wall, boot_ns, limits.standalone_reclaim_records)


def _clocks() -> tuple[float, int]:
    return time.time(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _forked(
    token: bytes,  # noqa: ARG001 - as a gate is asked
    tool: int,  # noqa: ARG001 - the same
    *,
    peer_crew: str | None = None,  # noqa: ARG001 - the same
    price: int = -1,  # noqa: ARG001 - the same
) -> NoReturn:
    raise ForkedError(
        "a standalone verifier is of the process that made it: make one in the child as well, or "
        "use Verifier.from_config, whose budgets are shared"
    )
