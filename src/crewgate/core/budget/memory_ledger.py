"""The ledger in memory: whole paths charged at every draw, exact on every level at every step.

Decides what is granted, to whom it counts, who must wait and who is refused. Knows no clock, no
table and no socket, nor where its books are kept.
"""

from collections.abc import Sequence

from crewgate import limits
from crewgate.core.budget.account import Account, CrewAccount, TicketOf
from crewgate.core.budget.lease import NOTHING, Lease, Totals
from crewgate.core.budget.ledger_protocol import (
    Answer,
    Closed,
    Draw,
    Exhausted,
    GiveBack,
    Granted,
    Mismatch,
    Open,
    Opened,
    Operation,
    Settle,
    Statement,
    Ticket,
    Told,
)
from crewgate.core.budget.ledger_reports import exhausted, least, standing, statement, told_of
from crewgate.core.budget.ledger_state import Books, Holder
from crewgate.errors import LedgerError


class MemoryLedger:
    """The `Ledger` protocol on `books`, which are its own if none are given."""

    def __init__(self, books: Books | None = None) -> None:
        self._books = books if books is not None else Books()
        self._accounts = self._books.accounts
        self._holders = self._books.holders

    def __repr__(self) -> str:
        return f"<MemoryLedger accounts={len(self._accounts)} holders={len(self._holders)}>"

    def do(self, operation: Operation, now: float) -> Answer:
        """Any of the six but `report`; LedgerError for what the protocol excludes."""
        if isinstance(operation, Draw):
            return self.draw(operation, now)
        if isinstance(operation, Open):
            return self.open(operation, now)
        if isinstance(operation, Settle):
            self.settle(operation)
        elif isinstance(operation, GiveBack):
            self.give_back(operation)
        else:
            self.close(operation.key)
        return None

    def open(self, asked: Open, now: float = 0.0) -> Opened | Mismatch | Closed:
        """Open what is unknown on the path, amend the rest; all or nothing. Then draw, if asked."""
        path, keys = asked.path, asked.path.keys
        closed = self._books.closed_of((*keys, *asked.besides))
        if closed is not None:
            return Closed(closed)
        for depth, key in enumerate(keys):
            known = self._accounts.get(key)
            if known is not None and known.path != keys[:depth]:
                return Mismatch(key)
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
        return Opened(tuple(standing(self._accounts[key], lessee) for key in keys), left)

    def _draw_at_once(self, asked: Open, now: float) -> int:
        """What is free goes to who opens, in nobody's way; what is left besides.

        Who asks again, since the answer was lost, has it already.
        """
        branch = asked.path.keys[-1]
        lease = self._accounts[branch].leases.get((asked.holder, asked.boot))
        if lease is not None and lease.totals.idle >= asked.need:
            return lease.reply.left if isinstance(lease.reply, Granted) else 0
        seq = 1 if lease is None else lease.seq + 1
        draw = Draw(branch, asked.holder, asked.boot, seq, asked.need, ahead=True)
        answer = self.draw(draw, now)
        return answer.left if isinstance(answer, Granted) else 0

    def draw(self, draw: Draw, now: float) -> Granted | Ticket | Exhausted | Closed:
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
        self._meet(draw.holder, draw.boot)
        closed = self._books.closed_of((*account.path, account.key))
        if closed is not None and not draw.owed:
            return Closed(closed)
        if lease is None:
            lease = account.leases[draw.holder, draw.boot] = Lease()
        lease.reply = self._answer(self._books.levels(account), lease, draw, now)
        lease.seq = draw.seq
        return lease.reply

    def give_back(self, given: GiveBack) -> None:
        """Return the part of the total that is new to every level above."""
        account, lease = self._lease(given.branch, given.holder, given.boot)
        if account is None or lease is None:
            return
        before = lease.totals
        returned = lease.take(given.amount)
        self._books.count(account, before, lease.totals)
        for level in self._books.levels(account) if returned else ():
            level.take_back(lease, returned)

    def settle(self, settle: Settle) -> None:
        """Let the newest report count. What was forgiven and is not lost is drawn again, as now."""
        account, lease = self._lease(settle.branch, settle.holder, settle.boot)
        if account is None or lease is None or settle.seq <= lease.report:
            return
        before = lease.totals
        recanted = lease.tell(settle)
        self._books.count(account, before, lease.totals)
        for level in self._books.levels(account) if recanted else ():
            level.draw(lease, recanted)

    def close(self, key: bytes) -> None:
        """Mark it; what is below sees the mark, also what opens only later."""
        self._books.closed.add(key)

    def report(self, below: bytes | None = None) -> tuple[Statement, ...]:
        """In the order of opening, which puts ancestors first."""
        return tuple(
            statement(account, closed=account.key in self._books.closed)
            for account in self._accounts.values()
            if below is None or below == account.key or below in account.path
        )

    def beats(self) -> dict[str, tuple[bytes, int]]:
        """Of each holder its boot, and how often it was heard."""
        return {name: (holder.boot, holder.beat) for name, holder in self._holders.items()}

    def beat(self, holder: str, boot: bytes) -> None:
        """A sign of life of who asks for nothing."""
        known = self._holders.get(holder)
        if known is not None and known.boot == boot:
            known.beat += 1

    def burn(self, holder: str, boot: bytes, beat: int) -> int:
        """Write off what a holder has that was not heard since `beat`; how much that was."""
        known = self._holders.get(holder)
        if known is None or (known.boot, known.beat) != (boot, beat):
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
            self._books.count(account, before, lease.totals)
            for level in self._books.levels(account):
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
            self._books.count(account, before, lease.totals)
            for level in self._books.levels(account):
                level.queue.drop((account.key, name, boot))
        return lost

    def statements(self, keys: Sequence[bytes]) -> dict[bytes, Statement]:
        """Those of these levels that are known."""
        known = [self._accounts[key] for key in keys if key in self._accounts]
        return {each.key: statement(each, closed=each.key in self._books.closed) for each in known}

    def leases(self, holder: str, boot: bytes) -> dict[bytes, Told]:
        """What one holder has drawn in one boot, by branch."""
        lessee = holder, boot
        return {
            key: told_of(account.leases[lessee])
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
            self._books.count(account, lease.totals, NOTHING)
            for level in self._books.levels(account):
                level.queue.drop((branch, name, boot))
        self._books.count(account, NOTHING, Totals(charged=consumed, settled=consumed))
        if account.path:
            self._accounts[account.path[-1]].children -= 1
        del self._accounts[branch]
        self._books.closed.discard(branch)

    def _lease(
        self, branch: bytes, holder: str, boot: bytes
    ) -> tuple[Account | None, Lease | None]:
        self.beat(holder, boot)
        account = self._accounts.get(branch)
        return account, account.leases.get((holder, boot)) if account is not None else None

    def _meet(self, name: str, boot: bytes) -> None:
        """Hear of a holder. A new boot means that its table is gone: its old leases are burned."""
        holder = self._holders.setdefault(name, Holder(boot))
        if boot in holder.replaced:
            raise LedgerError(f"the table of {name} was replaced; its old boot draws no more")
        if boot != holder.boot:
            self._burn(name, holder.boot)
            holder.replaced.add(holder.boot)
            holder.boot = boot
        holder.beat += 1

    def _answer(
        self, levels: list[Account], lease: Lease, draw: Draw, now: float
    ) -> Granted | Ticket | Exhausted:
        """Grant, queue or refuse; the only place where a level's credit goes down."""
        for level in levels:
            level.turn(now)
        if draw.owed:
            return self._lease_out(levels, lease, draw.need)
        ticket = (draw.branch, draw.holder, draw.boot)
        own = max(0, lease.totals.idle - draw.loose)
        free, tight = least((level.free(ticket, now), level) for level in levels)
        is_wanted = any(level.queue.waiting for level in levels)
        if free >= draw.need and not (draw.ahead and is_wanted):
            return self._grant(levels, lease, draw, (free, tight))
        if draw.ahead:
            return Ticket(tight.key, max(0, draw.need - free))
        # What the drawer holds itself cannot come back to it: it asks for what is missing besides.
        reach, empty = least((level.reach(own), level) for level in levels)
        if reach < draw.need:
            for level in levels:
                level.queue.drop(ticket)
            return exhausted(empty, own, draw.need)
        for level in levels:
            if level.free(ticket, now) < draw.need:
                level.queue.keep(ticket, draw.need, now)
        return Ticket(tight.key, draw.need - free)

    def _grant(
        self, levels: list[Account], lease: Lease, draw: Draw, least: tuple[int, Account]
    ) -> Granted:
        free, tight = least
        ticket: TicketOf = (draw.branch, draw.holder, draw.boot)
        for level in levels:
            level.queue.drop(ticket)
        amount = draw.need
        # While anybody waits, everybody takes exact amounts (design/ledger.md, "Last credits").
        if not any(level.queue.waiting for level in levels):
            holders = tight.totals.live + 1 - lease.totals.live
            most = max(draw.need, free // (2 * holders))
            amount = max(draw.need, min(draw.rate // limits.lease_rate_divisor, most))
        return self._lease_out(levels, lease, amount)

    def _lease_out(self, levels: list[Account], lease: Lease, amount: int) -> Granted:
        before = lease.totals
        lease.granted += amount
        self._books.count(levels[-1], before, lease.totals)
        for level in levels:
            level.draw(lease, amount)
        left = min(level.tightest().remaining for level in levels)
        return Granted(amount, *levels[0].windows(), max(0, left))
