"""The ledger in memory: it decides every operation, and charges each draw to the whole path.

After every operation the totals of each level equal the sum of the leases at and below it. The SQL
ledgers let this code decide on the state that they load.
"""

from crewgate import limits
from crewgate.core.budget.account import Account, CrewAccount, TicketOf
from crewgate.core.budget.ledger_answers import (
    exhausted,
    governing_grant,
    lease_report,
    least,
)
from crewgate.core.budget.ledger_lease import NOTHING, CreditTotals, LedgerLease
from crewgate.core.budget.ledger_protocol import (
    BranchClosed,
    BranchesOpened,
    DrawGranted,
    DrawLease,
    DrawQueued,
    LeaseUsage,
    OpenBranches,
    Operation,
    OperationResult,
    PathMismatch,
    QuotaExhausted,
    ReportLeaseUsage,
    ReturnCredit,
)
from crewgate.core.budget.ledger_state import LeaseHolder, LedgerState
from crewgate.errors import InvalidLedgerOperationError


class MemoryLedger:
    """A ledger on a `LedgerState`: on the given one, or on a new and empty one."""

    def __init__(self, state: LedgerState | None = None) -> None:
        self._state = state if state is not None else LedgerState()
        self._accounts = self._state.accounts
        self._holders = self._state.holders

    def do(self, operation: Operation, now: float) -> OperationResult:
        """Do one operation; raises InvalidLedgerOperationError if the protocol forbids it."""
        if isinstance(operation, DrawLease):
            return self.draw(operation, now)
        if isinstance(operation, OpenBranches):
            return self.open(operation, now)
        if isinstance(operation, ReportLeaseUsage):
            self.settle(operation)
        elif isinstance(operation, ReturnCredit):
            self.give_back(operation)
        else:
            self.close(operation.key)
        return None

    def open(
        self, opening: OpenBranches, now: float = 0.0
    ) -> BranchesOpened | PathMismatch | BranchClosed:
        """Make all levels known or none, let the newest grants govern, and draw the need."""
        path, keys = opening.path, opening.path.keys
        closed = self._state.closed_of((*keys, *opening.besides))
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
        lessee = opening.holder, opening.boot
        left = self._draw_at_once(opening, now) if opening.need else 0
        return BranchesOpened(
            tuple(governing_grant(self._accounts[key], lessee) for key in keys), left
        )

    def _draw_at_once(self, opening: OpenBranches, now: float) -> int:
        """Draw the need if it is free and nobody waits; return what the levels could still grant.

        If the answer was lost and the holder sends the opening again, its lease already has the
        credit, and the ledger draws nothing more.
        """
        branch = opening.path.keys[-1]
        lease = self._accounts[branch].leases.get((opening.holder, opening.boot))
        if lease is not None and lease.totals.idle >= opening.need:
            return lease.reply.left if isinstance(lease.reply, DrawGranted) else 0
        seq = 1 if lease is None else lease.seq + 1
        draw = DrawLease(branch, opening.holder, opening.boot, seq, opening.need, ahead=True)
        answer = self.draw(draw, now)
        return answer.left if isinstance(answer, DrawGranted) else 0

    def draw(
        self, draw: DrawLease, now: float
    ) -> DrawGranted | DrawQueued | QuotaExhausted | BranchClosed:
        """Decide a draw; the same (branch, holder, boot, seq) gets the same answer again.

        `BranchClosed` is no final answer: it uses up no `seq`.
        """
        account = self._accounts.get(draw.branch)
        if account is None or draw.need <= 0 or draw.rate < 0:
            raise InvalidLedgerOperationError(
                "a draw must name an open branch, a need above 0 and a rate of 0 or more"
            )
        lease = account.leases.get((draw.holder, draw.boot))
        if lease is not None and draw.seq <= lease.seq:
            if draw.seq < lease.seq or lease.reply is None:
                raise InvalidLedgerOperationError(
                    f"draw {draw.seq} was answered and applied: the next is {lease.seq + 1}"
                )
            return lease.reply
        self._register_holder(draw.holder, draw.boot)
        closed = self._state.closed_of((*account.path, account.key))
        if closed is not None and not draw.owed:
            return BranchClosed(closed)
        if lease is None:
            lease = account.leases[draw.holder, draw.boot] = LedgerLease()
        lease.reply = self._answer(self._state.levels(account), lease, draw, now)
        lease.seq = draw.seq
        return lease.reply

    def give_back(self, returned: ReturnCredit) -> None:
        """Return the new part of the total to every level."""
        account, lease = self._lease(returned.branch, returned.holder, returned.boot)
        if account is None or lease is None:
            return
        before = lease.totals
        amount = lease.take(returned.amount)
        self._state.count(account, before, lease.totals)
        for level in self._state.levels(account) if amount else ():
            level.take_back(lease, amount)

    def settle(self, settle: ReportLeaseUsage) -> None:
        """Take over a report, if it is newer than the last one.

        The crew's present windows are charged for forgiven credit that was not lost.
        """
        account, lease = self._lease(settle.branch, settle.holder, settle.boot)
        if account is None or lease is None or settle.seq <= lease.report:
            return
        before = lease.totals
        not_lost = lease.apply_report(settle)
        self._state.count(account, before, lease.totals)
        for level in self._state.levels(account) if not_lost else ():
            level.draw(lease, not_lost)

    def close(self, key: bytes) -> None:
        """Mark `key` as closed; a branch below it is closed too, even if it opens later.

        Leased credit stays charged until its holder gives the unspent part back: only the holder
        knows it.
        """
        self._state.closed.add(key)

    def heartbeat(self, holder: str, boot: bytes) -> None:
        """Increment the holder's heartbeat counter, if `boot` is its newest boot."""
        known = self._holders.get(holder)
        if known is not None and known.boot == boot:
            known.heartbeat += 1

    def burn(self, holder: str, boot: bytes, heartbeat: int) -> int:
        """Burn the holder's leases if its counter is still `heartbeat`; return the amount."""
        known = self._holders.get(holder)
        if known is None or (known.boot, known.heartbeat) != (boot, heartbeat):
            return 0
        return self._burn(holder, boot)

    def forgive(self, branch: bytes) -> int:
        """Return the burned credit of one branch's leases to all levels, and the amount of it.

        If a holder later reports that the credit was not lost, the ledger charges it again.
        """
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

    def leases(self, holder: str, boot: bytes) -> dict[bytes, LeaseUsage]:
        """Return what one holder has drawn in one boot, by branch."""
        lessee = holder, boot
        return {
            key: lease_report(account.leases[lessee])
            for key, account in self._accounts.items()
            if lessee in account.leases
        }

    def forget(self, branch: bytes, consumed: int) -> None:
        """Drop an account; every level above counts `consumed` as settled for good.

        Only for a ledger that ends with its process. Raises InvalidLedgerOperationError if there
        are accounts below this one.
        """
        account = self._accounts.get(branch)
        if account is None:
            return
        if account.children:
            raise InvalidLedgerOperationError(
                f"account {branch.hex()} still has {account.children} accounts below it: "
                "forget those first"
            )
        for (name, boot), lease in account.leases.items():
            self._state.count(account, lease.totals, NOTHING)
            for level in self._state.levels(account):
                level.queue.drop((branch, name, boot))
        self._state.count(account, NOTHING, CreditTotals(charged=consumed, settled=consumed))
        if account.path:
            self._accounts[account.path[-1]].children -= 1
        del self._accounts[branch]
        self._state.closed.discard(branch)

    def _lease(
        self, branch: bytes, holder: str, boot: bytes
    ) -> tuple[Account | None, LedgerLease | None]:
        self.heartbeat(holder, boot)
        account = self._accounts.get(branch)
        return account, account.leases.get((holder, boot)) if account is not None else None

    def _register_holder(self, name: str, boot: bytes) -> None:
        """Count a draw of a holder. A new boot means that the old table is gone: burn its leases.

        Raises InvalidLedgerOperationError if a newer boot has replaced this one.
        """
        holder = self._holders.setdefault(name, LeaseHolder(boot))
        if boot in holder.replaced:
            raise InvalidLedgerOperationError(
                f"machine {name} has a newer table: no draw from its replaced table counts"
            )
        if boot != holder.boot:
            self._burn(name, holder.boot)
            holder.replaced.add(holder.boot)
            holder.boot = boot
        holder.heartbeat += 1

    def _answer(
        self, levels: list[Account], lease: LedgerLease, draw: DrawLease, now: float
    ) -> DrawGranted | DrawQueued | QuotaExhausted:
        """Grant, queue or refuse a draw.

        1. An owed draw is charged, whatever is left.
        2. If the tightest level has the need free, grant (`_grant`).
        3. If the need is above what would be left after all other idle credit came back, refuse.
        4. Otherwise queue the draw at each level that lacks credit, and ask for a recall.

        A draw `ahead` is granted only while no draw waits, and is never queued.
        """
        for level in levels:
            level.roll_windows(now)
        if draw.owed:
            return self._lease_out(levels, lease, draw.need)
        ticket = (draw.branch, draw.holder, draw.boot)
        # The need comes on top of the lease's own idle credit, so that credit cannot help.
        own_idle = max(0, lease.totals.idle - draw.loose)
        free, tight = least((level.free(ticket, now), level) for level in levels)
        is_contended = any(level.queue.waiting for level in levels)
        if free >= draw.need and not (draw.ahead and is_contended):
            return self._grant(levels, lease, draw, (free, tight))
        if draw.ahead:
            return DrawQueued(tight.key, max(0, draw.need - free))
        reach, empty = least((level.reach(own_idle), level) for level in levels)
        if reach < draw.need:
            for level in levels:
                level.queue.drop(ticket)
            return exhausted(empty, own_idle, draw.need)
        for level in levels:
            if level.free(ticket, now) < draw.need:
                level.queue.keep(ticket, draw.need, now)
        return DrawQueued(tight.key, draw.need - free)

    def _grant(
        self, levels: list[Account], lease: LedgerLease, draw: DrawLease, least: tuple[int, Account]
    ) -> DrawGranted:
        """Grant at least the need; `least` is the tightest level, after what it has free.

        A lease gets a quarter second of recent spending, so that a crash burns little, and at most
        its share of half of what is free, so that other machines find credit too.
        Example: need 0.01, rate 0.80 per second, free 2.23, one other live lease: 2 holders. The
        ledger grants min(0.80 / 4, 2.23 / (2 × 2)) = 0.20.
        """
        free, tight = least
        ticket: TicketOf = (draw.branch, draw.holder, draw.boot)
        for level in levels:
            level.queue.drop(ticket)
        amount = draw.need
        # While any draw waits at one of the levels, each grant is exactly the need.
        if not any(level.queue.waiting for level in levels):
            holders = tight.totals.live + 1 - lease.totals.live
            share = max(draw.need, free // (2 * holders))
            amount = max(draw.need, min(draw.rate // limits.lease_rate_divisor, share))
        return self._lease_out(levels, lease, amount)

    def _lease_out(self, levels: list[Account], lease: LedgerLease, amount: int) -> DrawGranted:
        """Charge `amount` to the lease and every level: the only place that grants credit."""
        before = lease.totals
        lease.granted += amount
        self._state.count(levels[-1], before, lease.totals)
        for level in levels:
            level.draw(lease, amount)
        left = min(level.tightest().remaining for level in levels)
        return DrawGranted(amount, *levels[0].windows(), max(0, left))
