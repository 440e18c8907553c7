"""The ledger in memory: whole paths charged at every draw, exact on every level at every step.

Decides what is granted, to whom it counts, who must wait and who is refused. Knows no clock, no
table and no socket, nor where its books are kept.
"""

from collections.abc import Sequence

from crewgate import limits
from crewgate.core.budget.account import Account, CrewAccount, TicketOf
from crewgate.core.budget.lease import NOTHING, Lease, LeaseTotals
from crewgate.core.budget.ledger_protocol import (
    AccountStatement,
    BranchClosed,
    BranchesOpened,
    DrawGranted,
    DrawLease,
    LeaseReport,
    OpenBranches,
    Operation,
    OperationResult,
    PathMismatch,
    QuotaExhausted,
    RecallTicket,
    ReturnCredit,
    SettleLease,
)
from crewgate.core.budget.ledger_reports import (
    exhausted,
    governing_grant,
    lease_report,
    least,
    statement,
)
from crewgate.core.budget.ledger_state import LeaseHolder, LedgerState
from crewgate.errors import LedgerError


class MemoryLedger:
    """The `Ledger` protocol on `books`, which are its own if none are given."""

    def __init__(self, books: LedgerState | None = None) -> None:
        self._state = books if books is not None else LedgerState()
        self._accounts = self._state.accounts
        self._holders = self._state.holders

    def __repr__(self) -> str:
        return f"<MemoryLedger accounts={len(self._accounts)} holders={len(self._holders)}>"

    def do(self, operation: Operation, now: float) -> OperationResult:
        """Any of the six but `report`; LedgerError for what the protocol excludes."""
        if isinstance(operation, DrawLease):
            return self.draw(operation, now)
        if isinstance(operation, OpenBranches):
            return self.open(operation, now)
        if isinstance(operation, SettleLease):
            self.settle(operation)
        elif isinstance(operation, ReturnCredit):
            self.give_back(operation)
        else:
            self.close(operation.key)
        return None

    def open(
        self, asked: OpenBranches, now: float = 0.0
    ) -> BranchesOpened | PathMismatch | BranchClosed:
        """Open what is unknown on the path, amend the rest; all or nothing. Then draw, if asked."""
        path, keys = asked.path, asked.path.keys
        closed = self._state.closed_of((*keys, *asked.besides))
        if closed is not None:
            return BranchClosed(closed)
        for depth, key in enumerate(keys):
            known = self._accounts.get(key)
            if known is not None and known.path != keys[:depth]:
                return PathMismatch(key)
        crew = self._accounts.get(path.crew)
        if not isinstance(crew, CrewAccount):
            crew = CrewAccount(path.crew, (), limits.quota_micro_max, 0, path.name)
            self._accounts[path.crew] = crew
        crew.allowance = path.allowance
        for depth, level in enumerate(path.levels, start=1):
            account = self._accounts.get(level.key)
            if account is None:
                account = Account(level.key, keys[:depth], level.quota, level.iat or 0, level.id)
                self._accounts[level.key] = account
                self._accounts[keys[depth - 1]].children += 1
            account.accept(level.quota, level.iat)
        lessee = asked.holder, asked.boot
        left = self._draw_at_once(asked, now) if asked.need else 0
        return BranchesOpened(
            tuple(governing_grant(self._accounts[key], lessee) for key in keys), left
        )

    def _draw_at_once(self, asked: OpenBranches, now: float) -> int:
        """What is free goes to who opens, in nobody's way; what is left besides.

        Who asks again, since the answer was lost, has it already.
        """
        branch = asked.path.keys[-1]
        lease = self._accounts[branch].leases.get((asked.holder, asked.boot))
        if lease is not None and lease.totals.idle >= asked.need:
            return lease.reply.left if isinstance(lease.reply, DrawGranted) else 0
        seq = 1 if lease is None else lease.seq + 1
        draw = DrawLease(branch, asked.holder, asked.boot, seq, asked.need, ahead=True)
        answer = self.draw(draw, now)
        return answer.left if isinstance(answer, DrawGranted) else 0

    def draw(
        self, draw: DrawLease, now: float
    ) -> DrawGranted | RecallTicket | QuotaExhausted | BranchClosed:
        """Answer once; the same (branch, holder, boot, seq) gets the same answer again."""
        account = self._accounts.get(draw.branch)
        if account is None or draw.need <= 0 or draw.rate < 0:
            raise LedgerError(
                "a draw names a branch that is open, a need above 0 and a rate of 0 or more"
            )
        lease = account.leases.get((draw.holder, draw.boot))
        if lease is not None and draw.seq <= lease.seq:
            if draw.seq < lease.seq or lease.reply is None:
                raise LedgerError(f"draw {draw.seq} was answered and applied: begin another")
            return lease.reply
        self._register_holder(draw.holder, draw.boot)
        closed = self._state.closed_of((*account.path, account.key))
        if closed is not None and not draw.owed:
            return BranchClosed(closed)
        if lease is None:
            lease = account.leases[draw.holder, draw.boot] = Lease()
        lease.reply = self._answer(self._state.levels(account), lease, draw, now)
        lease.seq = draw.seq
        return lease.reply

    def give_back(self, given: ReturnCredit) -> None:
        """Return the part of the total that is new to every level above."""
        account, lease = self._lease(given.branch, given.holder, given.boot)
        if account is None or lease is None:
            return
        before = lease.totals
        returned = lease.take(given.amount)
        self._state.count(account, before, lease.totals)
        for level in self._state.levels(account) if returned else ():
            level.take_back(lease, returned)

    def settle(self, settle: SettleLease) -> None:
        """Let the newest report count. What was forgiven and is not lost is drawn again, as now."""
        account, lease = self._lease(settle.branch, settle.holder, settle.boot)
        if account is None or lease is None or settle.seq <= lease.report:
            return
        before = lease.totals
        recanted = lease.apply_report(settle)
        self._state.count(account, before, lease.totals)
        for level in self._state.levels(account) if recanted else ():
            level.draw(lease, recanted)

    def close(self, key: bytes) -> None:
        """Mark it; what is below sees the mark, also what opens only later."""
        self._state.closed.add(key)

    def report(self, below: bytes | None = None) -> tuple[AccountStatement, ...]:
        """In the order of opening, which puts ancestors first."""
        return tuple(
            statement(account, closed=account.key in self._state.closed)
            for account in self._accounts.values()
            if below is None or below == account.key or below in account.path
        )

    def heartbeats(self) -> dict[str, tuple[bytes, int]]:
        """Of each holder its boot, and how often it was heard."""
        return {name: (holder.boot, holder.heartbeat) for name, holder in self._holders.items()}

    def heartbeat(self, holder: str, boot: bytes) -> None:
        """A sign of life of who asks for nothing."""
        known = self._holders.get(holder)
        if known is not None and known.boot == boot:
            known.heartbeat += 1

    def burn(self, holder: str, boot: bytes, beat: int) -> int:
        """Write off what a holder has that was not heard since `beat`; how much that was."""
        known = self._holders.get(holder)
        if known is None or (known.boot, known.heartbeat) != (boot, beat):
            return 0
        return self._burn(holder, boot)

    def forgive(self, branch: bytes) -> int:
        """Give back what was burned of the leases of one branch; how much that was."""
        account, returned = self._accounts.get(branch), 0
        if account is None:
            return 0
        for lease in account.leases.values():
            before = lease.totals
            amount = lease.forgive()
            self._state.count(account, before, lease.totals)
            for level in self._state.levels(account):
                level.take_back(lease, amount)
            returned += amount
        return returned

    def _burn(self, name: str, boot: bytes) -> int:
        lost = 0
        for account in self._accounts.values():
            lease = account.leases.get((name, boot))
            if lease is None:
                continue
            before = lease.totals
            lease.write_off()
            lost += lease.totals.burned - before.burned
            self._state.count(account, before, lease.totals)
            for level in self._state.levels(account):
                level.queue.drop((account.key, name, boot))
        return lost

    def statements(self, keys: Sequence[bytes]) -> dict[bytes, AccountStatement]:
        """Those of these levels that are known."""
        known = [self._accounts[key] for key in keys if key in self._accounts]
        return {each.key: statement(each, closed=each.key in self._state.closed) for each in known}

    def leases(self, holder: str, boot: bytes) -> dict[bytes, LeaseReport]:
        """What one holder has drawn in one boot, by branch."""
        lessee = holder, boot
        return {
            key: lease_report(account.leases[lessee])
            for key, account in self._accounts.items()
            if lessee in account.leases
        }

    def forget(self, branch: bytes, consumed: int) -> None:
        """Let every level above count `consumed` as settled for good, and drop the account.

        For one process that keeps nothing. LedgerError if there are accounts below it.
        """
        account = self._accounts.get(branch)
        if account is None:
            return
        if account.children:
            raise LedgerError("an account with descendants cannot be forgotten before them")
        for (name, boot), lease in account.leases.items():
            self._state.count(account, lease.totals, NOTHING)
            for level in self._state.levels(account):
                level.queue.drop((branch, name, boot))
        self._state.count(account, NOTHING, LeaseTotals(charged=consumed, settled=consumed))
        if account.path:
            self._accounts[account.path[-1]].children -= 1
        del self._accounts[branch]
        self._state.closed.discard(branch)

    def _lease(
        self, branch: bytes, holder: str, boot: bytes
    ) -> tuple[Account | None, Lease | None]:
        self.heartbeat(holder, boot)
        account = self._accounts.get(branch)
        return account, account.leases.get((holder, boot)) if account is not None else None

    def _register_holder(self, name: str, boot: bytes) -> None:
        """Hear of a holder. A new boot means that its table is gone: its old leases are burned."""
        holder = self._holders.setdefault(name, LeaseHolder(boot))
        if boot in holder.replaced:
            raise LedgerError(f"the table of {name} was replaced; its old boot draws no more")
        if boot != holder.boot:
            self._burn(name, holder.boot)
            holder.replaced.add(holder.boot)
            holder.boot = boot
        holder.heartbeat += 1

    def _answer(
        self, levels: list[Account], lease: Lease, draw: DrawLease, now: float
    ) -> DrawGranted | RecallTicket | QuotaExhausted:
        """Grant, queue or refuse; the only place where a level's credit goes down."""
        for level in levels:
            level.roll_windows(now)
        if draw.owed:
            return self._lease_out(levels, lease, draw.need)
        ticket = (draw.branch, draw.holder, draw.boot)
        own = max(0, lease.totals.idle - draw.loose)
        free, tight = least((level.free(ticket, now), level) for level in levels)
        is_wanted = any(level.queue.waiting for level in levels)
        if free >= draw.need and not (draw.ahead and is_wanted):
            return self._grant(levels, lease, draw, (free, tight))
        if draw.ahead:
            return RecallTicket(tight.key, max(0, draw.need - free))
        # What the drawer holds itself cannot come back to it: it asks for what is missing besides.
        reach, empty = least((level.reach(own), level) for level in levels)
        if reach < draw.need:
            for level in levels:
                level.queue.drop(ticket)
            return exhausted(empty, own, draw.need)
        for level in levels:
            if level.free(ticket, now) < draw.need:
                level.queue.keep(ticket, draw.need, now)
        return RecallTicket(tight.key, draw.need - free)

    def _grant(
        self, levels: list[Account], lease: Lease, draw: DrawLease, least: tuple[int, Account]
    ) -> DrawGranted:
        free, tight = least
        ticket: TicketOf = (draw.branch, draw.holder, draw.boot)
        for level in levels:
            level.queue.drop(ticket)
        amount = draw.need
        # While anybody waits, everybody takes exact amounts.
        if not any(level.queue.waiting for level in levels):
            holders = tight.totals.live + 1 - lease.totals.live
            most = max(draw.need, free // (2 * holders))
            amount = max(draw.need, min(draw.rate // limits.lease_rate_divisor, most))
        return self._lease_out(levels, lease, amount)

    def _lease_out(self, levels: list[Account], lease: Lease, amount: int) -> DrawGranted:
        before = lease.totals
        lease.granted += amount
        self._state.count(levels[-1], before, lease.totals)
        for level in levels:
            level.draw(lease, amount)
        left = min(level.tightest().remaining for level in levels)
        return DrawGranted(amount, *levels[0].windows(), max(0, left))
