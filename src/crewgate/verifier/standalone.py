"""A private table with its own ledger and lease client, for tests and single processes.

Nothing is shared with other processes, and nothing survives this one. A call that needs credit
draws it itself, under a lock that other calls do not take.
"""

import threading
import time
from typing import NoReturn

from crewgate import limits
from crewgate._native.limit_words import give_words
from crewgate._native.permit import Permit
from crewgate._native.proof_windows import open_windows
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.budget.memory_ledger import MemoryLedger
from crewgate.core.policy.call_limits import LimitScopes
from crewgate.core.policy.policy import CrewPolicy, Policy
from crewgate.core.verdict import Denial
from crewgate.errors import ForkedError, ServiceRefusedError
from crewgate.leases.lease_client import DrawResult, LeaseClient
from crewgate.verifier.loaded_gate import GateRequest, LoadedGate, judge_by, needs_credit
from crewgate.verifier.waiters import DrawWaiter

# The smallest possible: the verifier holds no reservations, and no other process attaches.
_GEOMETRY = TableCapacities(
    limits.table_branches_default,
    limits.table_branches_default,
    limits.table_records_min,
    attachments=2,
    proofs=limits.standalone_proofs,
)
# macOS has it by another name (see clock.h).
_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class StandaloneSource:
    """A source of verdicts and credit that shares nothing with any other process."""

    judge: LoadedGate
    wait_seconds = limits.credit_wait_seconds

    def __init__(self, policy: Policy) -> None:
        self._lock = threading.Lock()
        self._is_forked = False
        self._table = OwnedTable.private(_GEOMETRY)
        give_words(self._table, *LimitScopes.of(policy).needed(), _clocks()[1])
        self._table.set_policy_generation(policy.generation)
        ledger = MemoryLedger()
        self._lease_client = LeaseClient(
            self._table, ledger, policy, "standalone", forget=ledger.forget
        )
        self._tidied = time.monotonic()
        self.judge = judge_by(policy, self._table)
        self.open_proofs()

    def __repr__(self) -> str:
        return f"<StandaloneSource {self._table!r}>"

    def try_fund(self, request: GateRequest, denial: Denial) -> Permit | Denial:
        """Draw what the call lacks, and decide again."""
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
                if not needs_credit(verdict):
                    break
                # Another thread has taken the credit: draw again.
        return verdict

    def start_draw(self, request: GateRequest, denial: Denial, waiter: DrawWaiter) -> bool:  # noqa: ARG002
        """Return False: every draw ends at once, so there is nothing to wait for."""
        return False

    def open_proofs(self) -> None:
        """Make room for the DPoP proofs of now."""
        if self._is_forked:
            return
        with self._lock:
            wall, boot_ns = _clocks()
            open_windows(self._table, int(wall), boot_ns // 1_000_000_000)

    def revoke(self, branch: str, crew: str) -> None:
        """See `StandaloneVerifier.revoke`."""
        if self._is_forked:
            _forked()
        try:
            ids.uuid_bytes(branch)
        except ValueError as error:
            raise ServiceRefusedError(f"not a branch id: {error}") from error
        policy = self._crew_of(branch, crew)
        key, owner = ids.branch_key(policy.name, branch), ids.crew_key(policy.name)
        with self._lock:
            wall, boot_ns = _clocks()
            before = limits.time_seconds_max
            share = min(policy.live_revocations_max, _GEOMETRY.revocations // 2)
            if not self._table.is_revoked(key) and self._table.revocations_of(owner) >= share:
                key, before = owner, int(wall) + limits.leeway_seconds
            life = limits.revocation_seconds
            self._table.revoke(key, owner, before, life, int(wall), boot_ns)
            self._lease_client.close(ids.branch_key(policy.name, branch))

    def close(self) -> None:
        """Refuse all calls from now on; the last permit frees the table's memory."""
        self.judge = self.judge.closed()

    def after_fork(self) -> None:
        """In the child: refuse to decide and to revoke, since the parent cannot see this copy."""
        self.judge = self.judge.deciding_by(_forked)
        self._is_forked = True

    def _crew_of(self, branch: str, crew: str) -> CrewPolicy:
        crews = self.judge.policy.crews
        names = [each.name for each in crews]
        if not crew:
            seen = [n for n in names if self._table.find(ids.branch_key(n, branch)) >= 0]
            possible = seen or names
            if len(possible) != 1:
                raise ServiceRefusedError(
                    f"branch {branch} may belong to several crews: pass crew=, one of: "
                    f"{', '.join(possible)}"
                )
            crew = possible[0]
        if crew not in names:
            raise ServiceRefusedError(f"no crew {crew!r}; the crews are: {', '.join(names)}")
        return crews[names.index(crew)]

    def _tidy(self, wall: float, boot_ns: int) -> None:
        """Reclaim a few expired records, at most once a second."""
        now = time.monotonic()
        if now - self._tidied >= 1:
            self._tidied = now
            self._lease_client.reclaim(wall, boot_ns, limits.standalone_reclaim_records)


def _clocks() -> tuple[float, int]:
    return time.time(), time.clock_gettime_ns(_BOOT_CLOCK)


def _forked(*_: object, **__: object) -> NoReturn:
    raise ForkedError(
        "a standalone verifier works only in the process that made it: make another one in the "
        "child, or use Verifier.from_config, whose budgets are shared"
    )
