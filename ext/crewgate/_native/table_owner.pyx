"""The table as its one agent writes it, or a process that has a private table.

Every method is one transaction (`table_owner.h`). Private memory has what only this process needs
(free records, numbers of children); `open` rebuilds it.
"""

import os
import secrets

from crewgate._native import table_file
from crewgate._native.records import BurnedReservation, ReclaimedBranch
from crewgate.errors import TableError, TableFullError

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap

from crewgate._native.table cimport *

cdef extern from "layout.h" nogil:
    uint64_t CG_SLOT_NEXT(uint64_t state, uint64_t owner)
    bint cg_arm_fault(int64_t stores)


def arm_fault(int64_t stores):
    """See the stub."""
    return cg_arm_fault(stores)


cdef uint64_t NS = 1_000_000_000
cdef uint64_t ALWAYS = <uint64_t>-1


cdef class OwnedTable(Table):
    cdef object lock
    cdef cg_private mine
    cdef dict revoked_by_crew   # first half of a crew's key → its live revocations
    cdef readonly uint64_t lost

    @staticmethod
    def create(str path, geometry, *, int mode=0o600):
        cdef cg_header header
        new_header(geometry, &header)
        first = (<const char *>&header)[:sizeof(cg_header)]
        return OwnedTable.take(table_file.create(path, first, header.bytes, mode), path)

    @staticmethod
    def open(str path, *, int mode=0o600):
        return OwnedTable.take(table_file.open_existing(path, mode), path)

    @staticmethod
    cdef OwnedTable take(tuple opened, str path):
        """Map a file that table_file has opened and locked, repair it, and count its records."""
        cdef OwnedTable table = OwnedTable.__new__(OwnedTable)
        table.descriptor, table.lock = opened
        try:
            table.map_fd(table.descriptor)
        except TableError as wrong:
            os.close(table.descriptor)
            os.close(table.lock)
            table.descriptor = -1
            raise type(wrong)(f"{path}: {wrong}") from None
        cdef int repaired
        with nogil:
            repaired = cg_repair(&table.t, &table.lost)
        if not repaired:
            raise MemoryError
        table.count()
        return table

    @staticmethod
    def private(geometry):
        cdef OwnedTable table = OwnedTable.__new__(OwnedTable)
        cdef cg_header header
        new_header(geometry, &header)
        cdef void *base = mmap(NULL, header.bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if base == MAP_FAILED:
            raise TableError(f"cannot map {header.bytes} bytes of memory for a private table")
        memcpy(base, &header, sizeof(cg_header))
        table.view(base, &header)
        cg_put(&table.t.header.fresh_until, ALWAYS)
        cg_put(&table.t.header.synced_until, ALWAYS)
        table.count()
        return table

    @property
    def fd(self):
        return self.descriptor

    def close(self):
        Table.close(self)
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            os.close(self.lock)

    cdef count(self):
        """Count free records, children and revocations of crews from the records themselves."""
        cdef uint64_t at
        if not cg_count(&self.t, &self.mine):
            raise MemoryError
        self.revoked_by_crew = {}
        for at in range(self.t.revocations):
            if CG_STATE(cg_get(&self.t.revocation[at].life)) == CG_LIVE:
                self.revoked(cg_get(&self.t.revocation[at].crew), 1)

    cdef revoked(self, uint64_t crew, int more):
        self.revoked_by_crew[crew] = self.revoked_by_crew.get(crew, 0) + more

    def __dealloc__(self):
        cg_private_free(&self.mine)

    def extend_freshness(self, uint64_t until_boot_ns, uint64_t synced_until_boot_ns):
        self.check_open()
        cg_put(&self.t.header.synced_until, synced_until_boot_ns)
        cg_put(&self.t.header.fresh_until, until_boot_ns)

    def retire(self):
        self.check_open()
        cg_put(&self.t.header.retired, 1)
        cg_put(&self.t.header.fresh_until, 0)

    def set_policy_generation(self, uint64_t generation):
        self.check_open()
        cg_put(&self.t.header.policy_generation, generation)

    @property
    def lent(self):
        self.check_open()
        return cg_get(&self.t.header.lent)

    def set_lent(self, uint64_t amount):
        self.check_open()
        cg_put(&self.t.header.lent, amount)

    @property
    def ledger_count(self):
        self.check_open()
        return cg_get(&self.t.header.ledger_count)

    def set_ledger_count(self, uint64_t count):
        self.check_open()
        cg_put(&self.t.header.ledger_count, count)

    def revoke(self, bytes key, bytes crew, uint64_t before, uint64_t life, uint64_t now_wall,
               uint64_t now_boot_ns):
        cdef uint64_t half[2]
        cdef uint64_t owner[2]
        cdef cg_revocation *entry
        self.check_open()
        cdef cg_index index = cg_revocations(&self.t)
        halves(key, half)
        halves(crew, owner)
        cdef int64_t number = cg_lookup(&self.t, &index, half[0], half[1])
        known = number >= 0
        if known:
            entry = &self.t.revocation[number]
            cg_put(&entry.held_for, max(cg_get(&entry.held_for), nanoseconds(life)))
            cg_put(&entry.held_from, now_boot_ns)
            cg_put(&entry.expires, max(cg_get(&entry.expires), later(now_wall, life)))
            cg_put(&entry.before, max(cg_get(&entry.before), before))
        else:
            if not self.mine.revocations_free:
                raise TableFullError(f"all {self.t.revocations} revocations are in use")
            number = self.mine.free_revocations[self.mine.revocations_free - 1]
            cg_write_revocation(&self.t.revocation[number], half, before, later(now_wall, life),
                                now_boot_ns, nanoseconds(life), owner[0])
            entered(cg_enter(&self.t, &index, self.mine.free_revocations,
                             &self.mine.revocations_free))
            self.revoked(owner[0], 1)
        cg_increment(&self.t.header.revocation_generation)
        return not known

    def revocations_of(self, bytes crew):
        cdef uint64_t owner[2]
        self.check_open()
        halves(crew, owner)
        return self.revoked_by_crew.get(owner[0], 0)

    def open_branch(self, bytes key, tuple parents, bytes path_digest, uint64_t quota,
                    uint64_t quota_iat, uint64_t expires, uint64_t now_wall,
                    uint64_t now_boot_ns, tuple told=(0, 0, 0, 0)):
        cdef cg_lease_report lease
        cdef uint64_t half[2]
        cdef uint64_t path[2]
        cdef uint32_t above[9]
        self.check_open()
        cdef cg_index index = cg_branches(&self.t)
        halves(key, half)
        halves(path_digest, path)
        if self.find(key) >= 0:
            raise ValueError("the branch has a record already")
        if len(parents) > <int>CG_PARENTS:
            raise ValueError(f"at most {CG_PARENTS} ancestors with the crew, not {len(parents)}")
        for at, parent in enumerate(parents):
            self.live(parent)
            above[at] = parent
        if not self.mine.branches_free:
            raise TableFullError(f"all {self.t.branches} branch records are in use")
        cdef uint64_t number = self.mine.free_branches[self.mine.branches_free - 1]
        lease.sequence, lease.granted, lease.given_back, lease.settled = told
        cg_open(&self.t, number, half, path, above, len(parents), &lease)
        amended(&self.t.branch[number], quota, quota_iat, expires, now_wall, now_boot_ns)
        cg_opened(&self.t.branch[number])
        entered(cg_enter(&self.t, &index, self.mine.free_branches, &self.mine.branches_free))
        cg_count_below(&self.t, &self.mine, number, 1)
        return number

    def amend(self, uint64_t number, uint64_t quota, uint64_t quota_iat, uint64_t expires,
              uint64_t now_wall, uint64_t now_boot_ns):
        cdef cg_branch *branch = self.live(number)
        expires = max(expires, cg_get(&branch.expires))
        amended(branch, quota, quota_iat, expires, now_wall, now_boot_ns)

    def reclaim(self, uint64_t now_wall, uint64_t now_boot_ns, uint64_t records_max=65536):
        cdef uint64_t most = min(records_max, self.t.revocations)
        cdef uint64_t at, gone
        self.check_open()
        cdef uint64_t *crews = <uint64_t *>calloc(most + 1, sizeof(uint64_t))
        if crews == NULL:
            raise MemoryError
        try:
            gone = cg_forget_revocations(&self.t, &self.mine, now_wall, now_boot_ns, most, crews)
            for at in range(gone):
                self.revoked(crews[at], -1)
        finally:
            free(crews)
        return self.reclaim_branches(now_wall, now_boot_ns, records_max)

    cdef list reclaim_branches(self, uint64_t now_wall, uint64_t now_boot_ns, uint64_t most):
        cdef cg_index index = cg_branches(&self.t)
        cdef cg_branch *branch
        cdef int64_t number
        cdef list forgotten = []
        cdef uint64_t *reserved = self.reserved_by_branch()
        most = min(most, self.t.branches)
        try:
            while True:
                number = cg_next_expired(&self.t, &self.mine, reserved, now_wall, now_boot_ns,
                                         &most)
                if number < 0:
                    return forgotten
                branch = &self.t.branch[number]
                if cg_forget_branch(&self.t, &index, &self.mine, number):
                    consumed = (cg_get(&branch.granted) - cg_get(&branch.given_back)
                                - CG_AMOUNT(cg_get(&branch.available)))
                    forgotten.append(ReclaimedBranch(joined(branch.key), consumed))
        finally:
            free(reserved)

    # An attachment is a number with a nonce. Its connection shows the agent whether its process is
    # alive.

    def take_attachment(self):
        cdef uint64_t number
        self.check_open()
        for number in range(self.t.attachments):
            if cg_get(&self.t.attachment[number]) == 0:
                nonce = secrets.randbits(63) | 1
                cg_put(&self.t.attachment[number], nonce)
                return number, nonce
        raise TableFullError(f"all {self.t.attachments} attachments are in use")

    def resume_attachment(self, uint64_t number, uint64_t nonce):
        self.check_open()
        return (number < self.t.attachments and nonce != 0
                and cg_get(&self.t.attachment[number]) == nonce)

    def attachments(self):
        cdef uint64_t number
        self.check_open()
        return [number for number in range(self.t.attachments)
                if cg_get(&self.t.attachment[number]) != 0]

    def drop_attachment(self, uint64_t number):
        cdef uint64_t block, at
        cdef list burned = []
        self.check_open()
        if number >= self.t.attachments:
            raise IndexError(number)
        for block in range(self.t.reservations // CG_BLOCK_SLOTS):
            if cg_get(&self.t.block_owner[block]) != number + 1:
                continue
            for at in range(block * CG_BLOCK_SLOTS, (block + 1) * CG_BLOCK_SLOTS):
                self.burn(at, 0xffff, burned)
            cg_put(&self.t.block_owner[block], 0)
        cg_put(&self.t.attachment[number], 0)
        return burned

    def burn_overdue(self, uint64_t now_boot_ns):
        cdef uint64_t block, at
        cdef uint64_t state
        cdef list burned = []
        self.check_open()
        for block in range(self.t.reservations // CG_BLOCK_SLOTS):
            if cg_get(&self.t.block_owner[block]) == 0:
                continue
            for at in range(block * CG_BLOCK_SLOTS, (block + 1) * CG_BLOCK_SLOTS):
                state = cg_get(&self.t.slot[at].state)
                if (CG_SLOT(state) in (2, 3)
                        and cg_get(&self.t.slot[at].deadline) < now_boot_ns):
                    self.burn(at, CG_OWNER(state), burned)
        return burned

    cdef int burn(self, uint64_t at, uint64_t owner, list burned) except -1:
        """End a reservation in any state; its missing credit counts as burned."""
        cdef cg_slot *slot = &self.t.slot[at]
        cdef uint64_t state = cg_get(&slot.state)
        cdef uint64_t number = cg_get(&slot.branch)
        key = joined(self.t.branch[number].key) if number < self.t.branches else bytes(16)
        record = BurnedReservation(
            key, cg_get(&slot.amount), CG_SLOT(state), cg_get(&slot.cost),
            cg_get(&slot.tool) & ~CG_LOOSE, joined(slot.grant), joined(slot.request),
            cg_get(&slot.started), CG_OWNER(state))
        if cg_cas(&slot.state, &state, CG_SLOT_NEXT(state, owner)) and record.state > 1:
            burned.append(record)
        return 0

    # The following methods change the leases of branches.

    cdef cg_branch *live(self, uint64_t number) except NULL:
        self.check_open()
        if number >= self.t.branches:
            raise IndexError(number)
        if CG_STATE(cg_get(&self.t.branch[number].life)) != CG_LIVE:
            raise ValueError(f"branch record {number} is not in use")
        return &self.t.branch[number]

    def close_branch(self, uint64_t number):
        cdef cg_branch *branch = self.live(number)
        cg_put(&branch.closed, 1)
        return cg_take_back(&self.t, branch, CG_AMOUNT_MAX)

    def begin_draw(self, uint64_t number, uint64_t need):
        if need == 0:
            raise ValueError("a draw needs at least one micro-credit")
        return cg_begin_draw(self.live(number), need)

    def grant(self, uint64_t number, uint64_t amount, uint64_t beyond=0):
        cdef cg_branch *branch = self.live(number)
        cdef uint64_t available = cg_get(&branch.available)
        if not available & CG_PENDING:
            raise ValueError(f"no draw is pending for branch record {number}")
        has_room(branch, amount)
        cg_grant(&self.t, branch, amount)
        cg_put(&branch.beyond, beyond)

    def overdraw(self, uint64_t number, uint64_t amount):
        cdef cg_branch *branch = self.live(number)
        has_room(branch, amount)
        cg_lend(&self.t, branch, amount)

    def expect(self, uint64_t number, uint64_t beyond):
        cg_put(&self.live(number).beyond, beyond)

    def refuse(self, uint64_t number, uint64_t level, uint64_t need, uint64_t used,
               uint64_t quota, uint64_t window=0):
        cg_refuse(&self.t, self.live(number), level, need, used, quota, window)
        if need:
            cg_put(&self.live(number).beyond, 0)

    def take_back(self, uint64_t number, uint64_t amount):
        return cg_take_back(&self.t, self.live(number), min(amount, CG_AMOUNT_MAX))


cdef void amended(cg_branch *branch, uint64_t quota, uint64_t iat, uint64_t expires,
                  uint64_t now_wall, uint64_t now_boot_ns) noexcept:
    cdef uint64_t life = expires - now_wall if expires > now_wall else 0
    cg_amend(branch, quota, iat, expires, now_boot_ns, nanoseconds(life))


cdef uint64_t nanoseconds(uint64_t seconds) noexcept:
    """Convert to nanoseconds; a time that is too long for that becomes the longest one."""
    return ALWAYS if seconds > ALWAYS // NS else seconds * NS


cdef uint64_t later(uint64_t time, uint64_t seconds) noexcept:
    return ALWAYS if seconds > ALWAYS - time else time + seconds


cdef int entered(int64_t number) except -1:
    if number < 0:
        raise TableFullError("a shard of the table's index is full")
    return 0


cdef int has_room(cg_branch *branch, uint64_t amount) except -1:
    """Check that all credit that is out could come back into the 40 bits of the amount.

    A call that is charged at once is settled before its price is taken, so for a moment the amount
    that is out may be negative.
    """
    cdef int64_t out = <int64_t>(cg_get(&branch.granted) - cg_get(&branch.given_back)
                                 - CG_SETTLED(cg_get(&branch.settled)))
    if amount > CG_AMOUNT_MAX or out > <int64_t>(CG_AMOUNT_MAX - amount):
        raise ValueError(f"a lease is at most {CG_AMOUNT_MAX} micro-credits")
    return 0
