"""The table in the hands of its one agent, or of the process that made it for itself.

Every method is one whole transaction (`owner.h`). What this process alone needs (free records,
numbers of children) is kept here and rebuilt at `open`.
"""

import os
import secrets
from typing import NamedTuple

from crewgate._native import storage
from crewgate._native.table import boot_id
from crewgate.errors import TableError, TableFullError

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap

from crewgate._native.table cimport *

cdef extern from "layout.h" nogil:
    bint cg_arm_fault(int64_t stores)


def arm_fault(int64_t stores):
    """See the stub."""
    return cg_arm_fault(stores)


class Burned(NamedTuple):
    branch_key: bytes
    amount: int
    state: int
    cost: int
    tool: int
    grant: bytes
    request: bytes
    started_ns: int
    owner: int


class Reclaimed(NamedTuple):
    key: bytes
    consumed: int


cdef bytes _header(geometry):
    """The first bytes of a new table: who it is, how large, on which boot of the kernel."""
    cdef cg_header header
    cdef cg_table scratch
    cdef bytes random = secrets.token_bytes(32)
    cdef bytes boot = boot_id()
    memset(&header, 0, sizeof(cg_header))
    header.magic = CG_MAGIC
    header.version = CG_VERSION
    header.branches, header.revocations, header.reservations, header.attachments = geometry
    header.bytes = cg_map(&scratch, NULL, header.branches, header.revocations,
                          header.reservations, header.attachments)
    memcpy(header.boot, <const char *>boot, 16)
    memcpy(header.identity, <const char *>random, 16)
    memcpy(header.seed, <const char *>random + 16, 16)
    header.checksum = cg_checksum(&header)
    if cg_validate(&header, header.bytes) != CG_OK:
        raise TableError(f"a table cannot have the capacities {tuple(geometry)}: each is a power "
                         "of two, at least 64 (2 attachments), at most 16,777,216 (32,768)")
    return (<const char *>&header)[:sizeof(cg_header)]


cdef uint64_t _size(bytes header):
    return (<const cg_header *><const char *>header).bytes


cdef uint64_t NS = 1_000_000_000
cdef uint64_t ALWAYS = <uint64_t>-1


cdef class OwnedTable(Table):
    cdef object lock
    cdef list free_branches, free_revocations
    cdef dict revoked_by_crew
    cdef list children
    cdef uint64_t next_branch, next_revocation
    cdef readonly uint64_t lost

    @staticmethod
    def create(str path, geometry, *, int mode=0o600):
        header = _header(geometry)
        return OwnedTable.take(storage.create(path, header, _size(header), mode), path)

    @staticmethod
    def open(str path, *, int mode=0o600):
        return OwnedTable.take(storage.open_existing(path, mode), path)

    @staticmethod
    cdef OwnedTable take(tuple opened, str path):
        """Map what storage has opened and locked; repair it and count."""
        cdef OwnedTable table = OwnedTable.__new__(OwnedTable)
        table.descriptor, table.lock = opened
        try:
            table.map_fd(table.descriptor)
        except TableError as wrong:
            os.close(table.descriptor)
            os.close(table.lock)
            table.descriptor = -1
            raise type(wrong)(f"{path}: {wrong}") from None
        with nogil:
            table.lost = cg_repair(&table.t)
        table.count()
        return table

    @staticmethod
    def private(geometry):
        cdef OwnedTable table = OwnedTable.__new__(OwnedTable)
        cdef bytes header = _header(geometry)
        cdef uint64_t size = _size(header)
        cdef void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if base == MAP_FAILED:
            raise TableError(f"cannot map {size} bytes of memory for a private table")
        memcpy(base, <const char *>header, len(header))
        table.view(base, size)
        cg_put(&table.t.header.fresh_until, ALWAYS)
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
        """What is free, who has children, whose revocations: from the records themselves."""
        cdef uint64_t at, i
        cdef uint64_t crew
        cdef cg_branch *branch
        self.free_branches = []
        self.free_revocations = []
        self.revoked_by_crew = {}
        self.children = [0] * <Py_ssize_t>self.t.header.branches
        for at in range(self.t.header.branches):
            branch = &self.t.branch[at]
            if CG_STATE(cg_get(&branch.life)) == CG_FREE:
                self.free_branches.append(at)
                continue
            for i in range(min(cg_get(&branch.parent_count), CG_PARENTS)):
                self.children[branch.parents[i]] += 1
        for at in range(self.t.header.revocations):
            if CG_STATE(cg_get(&self.t.revocation[at].life)) == CG_LIVE:
                crew = cg_get(&self.t.revocation[at].crew)
                self.revoked_by_crew[crew] = self.revoked_by_crew.get(crew, 0) + 1
            else:
                self.free_revocations.append(at)
        self.free_branches.reverse()
        self.free_revocations.reverse()

    cdef cg_branch *live(self, uint64_t number) except NULL:
        self.check_open()
        if number >= self.t.header.branches:
            raise IndexError(number)
        if CG_STATE(cg_get(&self.t.branch[number].life)) != CG_LIVE:
            raise ValueError(f"branch record {number} is not in use")
        return &self.t.branch[number]

    # -- header -------------------------------------------------------------------------------

    def vouch(self, uint64_t until_boot_ns):
        self.check_open()
        cg_put(&self.t.header.fresh_until, until_boot_ns)

    def retire(self):
        self.check_open()
        cg_put(&self.t.header.retired, 1)
        cg_put(&self.t.header.fresh_until, 0)

    def set_policy_generation(self, uint64_t generation):
        self.check_open()
        cg_put(&self.t.header.policy_generation, generation)

    # -- attachments and their reservations ---------------------------------------------------

    def take_attachment(self):
        cdef uint64_t number
        self.check_open()
        for number in range(self.t.header.attachments):
            if cg_get(&self.t.attachment[number]) == 0:
                nonce = secrets.randbits(63) | 1
                cg_put(&self.t.attachment[number], nonce)
                return number, nonce
        raise TableFullError(f"all {self.t.header.attachments} attachments are in use")

    def resume_attachment(self, uint64_t number, uint64_t nonce):
        self.check_open()
        return (number < self.t.header.attachments and nonce != 0
                and cg_get(&self.t.attachment[number]) == nonce)

    def attachments(self):
        cdef uint64_t number
        self.check_open()
        return [number for number in range(self.t.header.attachments)
                if cg_get(&self.t.attachment[number]) != 0]

    def drop_attachment(self, uint64_t number):
        cdef uint64_t block, at
        cdef list burned = []
        self.check_open()
        if number >= self.t.header.attachments:
            raise IndexError(number)
        for block in range(self.t.header.reservations // CG_BLOCK_SLOTS):
            if cg_get(&self.t.block_owner[block]) != number + 1:
                continue
            for at in range(block * CG_BLOCK_SLOTS, (block + 1) * CG_BLOCK_SLOTS):
                self.burn(at, 0xffff, burned)
            cg_put(&self.t.block_owner[block], 0)
        cg_put(&self.t.attachment[number], 0)
        return burned

    def burn_overdue(self, uint64_t now_boot_ns):
        cdef uint64_t at
        cdef uint64_t state
        cdef list burned = []
        self.check_open()
        for at in range(self.t.header.reservations):
            state = cg_get(&self.t.slot[at].state)
            if (CG_SLOT(state) in (2, 3)
                    and cg_get(&self.t.slot[at].deadline) < now_boot_ns):
                self.burn(at, CG_OWNER(state), burned)
        return burned

    cdef burn(self, uint64_t at, uint64_t owner, list burned):
        """End a reservation in whatever state; what is missing afterwards counts as burned."""
        cdef cg_slot *slot = &self.t.slot[at]
        cdef uint64_t state = cg_get(&slot.state)
        cdef uint64_t number = cg_get(&slot.branch)
        key = joined(self.t.branch[number].key) if number < self.t.header.branches else bytes(16)
        record = Burned(key, cg_get(&slot.amount), CG_SLOT(state), cg_get(&slot.cost),
                        cg_get(&slot.tool), joined(slot.grant), joined(slot.request),
                        cg_get(&slot.started), CG_OWNER(state))
        if cg_cas(&slot.state, &state, CG_SLOT_NEXT(state, owner)) and record.state > 1:
            burned.append(record)

    # -- revocations --------------------------------------------------------------------------

    def revoke(self, bytes key, bytes crew, uint64_t before, uint64_t life, uint64_t now_wall,
               uint64_t now_boot_ns):
        cdef uint64_t half[2]
        cdef uint64_t owner[2]
        cdef cg_index index = cg_revocations(&self.t)
        cdef cg_revocation *entry
        self.check_open()
        halves(key, half)
        halves(crew, owner)
        cdef int64_t number = cg_lookup(&self.t, &index, half[0], half[1])
        known = number >= 0
        if known:
            entry = &self.t.revocation[number]
            cg_put(&entry.held_for, max(cg_get(&entry.held_for), life * NS))
            cg_put(&entry.held_from, now_boot_ns)
            cg_put(&entry.expires, max(cg_get(&entry.expires), now_wall + life))
            cg_put(&entry.before, max(cg_get(&entry.before), before))
        else:
            if not self.free_revocations:
                raise TableFullError(f"all {self.t.header.revocations} revocations are in use")
            number = self.free_revocations[len(self.free_revocations) - 1]
            cg_write_revocation(&self.t.revocation[number], half, before, now_wall + life,
                                now_boot_ns, life * NS, owner[0])
            self.publish(&index, number)
            self.free_revocations.pop()
            self.revoked_by_crew[owner[0]] = self.revoked_by_crew.get(owner[0], 0) + 1
        cg_increment(&self.t.header.revocation_generation)
        return not known

    cdef int publish(self, cg_index *index, uint64_t number) except -1:
        if not cg_publish(&self.t, index, number):
            life = <cg_word *>(index.record + number * index.stride)
            cg_put(life, cg_get(life) & ~<uint64_t>7)
            raise TableFullError("a shard of the table's index is full")
        return 0

    def revocations_of(self, bytes crew):
        cdef uint64_t owner[2]
        halves(crew, owner)
        return self.revoked_by_crew.get(owner[0], 0)

    # -- branches -----------------------------------------------------------------------------

    def open_branch(self, bytes key, tuple parents, bytes path_digest, uint64_t quota,
                    uint64_t quota_iat, uint64_t expires, uint64_t now_wall,
                    uint64_t now_boot_ns):
        cdef uint64_t half[2]
        cdef uint64_t path[2]
        cdef uint32_t above[9]
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
        if not self.free_branches:
            raise TableFullError(f"all {self.t.header.branches} branch records are in use")
        cdef uint64_t number = self.free_branches[len(self.free_branches) - 1]
        cg_open(&self.t, number, half, path, above, len(parents))
        self.amend(number, quota, quota_iat, expires, now_wall, now_boot_ns)
        self.publish(&index, number)
        self.free_branches.pop()
        for parent in parents:
            self.children[parent] += 1
        return number

    def amend(self, uint64_t number, uint64_t quota, uint64_t quota_iat, uint64_t expires,
              uint64_t now_wall, uint64_t now_boot_ns):
        cdef cg_branch *branch = self.live(number)
        expires = max(expires, cg_get(&branch.expires))
        cdef uint64_t life = expires - now_wall if expires > now_wall else 0
        cg_amend(branch, quota, quota_iat, expires, now_boot_ns,
                 ALWAYS if life > ALWAYS // NS else life * NS)

    def close_branch(self, uint64_t number):
        cdef cg_branch *branch = self.live(number)
        cg_put(&branch.closed, 1)
        return cg_take_back(&self.t, branch, CG_AMOUNT_MAX)

    def begin_draw(self, uint64_t number, uint64_t need):
        if need == 0:
            raise ValueError("a draw needs at least one micro-credit")
        return cg_begin_draw(self.live(number), need)

    def grant(self, uint64_t number, uint64_t amount, tuple hour=(0, 0), tuple day=(0, 0)):
        cdef cg_branch *branch = self.live(number)
        cdef cg_branch *crew = NULL
        cdef uint64_t[4] windows = [hour[0], hour[1], day[0], day[1]]
        cdef uint64_t available = cg_get(&branch.available)
        if not available & CG_PENDING:
            raise ValueError(f"no draw is pending for branch record {number}")
        out = cg_get(&branch.granted) - cg_get(&branch.given_back) - CG_SETTLED(
            cg_get(&branch.settled))
        if amount + out > CG_AMOUNT_MAX:  # all of it could come back into the 40-bit amount
            raise ValueError(f"a lease is at most {CG_AMOUNT_MAX} micro-credits")
        if cg_get(&branch.parent_count) and hour[0]:
            crew = &self.t.branch[branch.parents[0]]
        cg_grant(&self.t, branch, amount, crew, windows)

    def refuse(self, uint64_t number, uint64_t level, uint64_t need, uint64_t used,
               uint64_t quota):
        cg_refuse(&self.t, self.live(number), level, need, used, quota)

    def take_back(self, uint64_t number, uint64_t amount):
        return cg_take_back(&self.t, self.live(number), min(amount, CG_AMOUNT_MAX))

    def scan(self, uint64_t first, uint64_t count):
        cdef uint64_t number
        cdef list found = []
        self.check_open()
        cdef uint64_t *reserved = self.reserved_by_branch()
        try:
            for number in range(first, min(first + count, self.t.header.branches)):
                branch = self.copy_branch(number, reserved[number])
                if branch is not None:
                    found.append(branch)
        finally:
            free(reserved)
        return found

    # -- forgetting ---------------------------------------------------------------------------

    def reclaim(self, uint64_t now_wall, uint64_t now_boot_ns, uint64_t records_max=65536):
        self.check_open()
        self.reclaim_revocations(now_wall, now_boot_ns, records_max)
        return self.reclaim_branches(now_wall, now_boot_ns, records_max)

    cdef reclaim_revocations(self, uint64_t now_wall, uint64_t now_boot_ns, uint64_t most):
        cdef cg_index index = cg_revocations(&self.t)
        cdef cg_revocation *entry
        cdef uint64_t capacity = self.t.header.revocations
        cdef uint64_t looked, number
        for looked in range(min(most, capacity)):
            number = self.next_revocation
            self.next_revocation = (number + 1) % capacity
            entry = &self.t.revocation[number]
            if CG_STATE(cg_get(&entry.life)) != CG_LIVE or not _over(
                    cg_get(&entry.expires), cg_get(&entry.held_from), cg_get(&entry.held_for),
                    now_wall, now_boot_ns):
                continue
            cg_bury(&self.t, &index, number)
            cg_put(&entry.life, cg_get(&entry.life) & ~<uint64_t>7)
            self.free_revocations.append(number)
            self.revoked_by_crew[cg_get(&entry.crew)] -= 1
            self.tidy(&index, cg_get(&entry.key[0]), cg_get(&entry.key[1]))

    cdef list reclaim_branches(self, uint64_t now_wall, uint64_t now_boot_ns, uint64_t most):
        cdef cg_index index = cg_branches(&self.t)
        cdef cg_branch *branch
        cdef uint64_t capacity = self.t.header.branches
        cdef uint64_t looked, number, state
        cdef list forgotten = []
        cdef uint64_t *reserved = self.reserved_by_branch()
        try:
            for looked in range(min(most, capacity)):
                number = self.next_branch
                self.next_branch = (number + 1) % capacity
                branch = &self.t.branch[number]
                state = CG_STATE(cg_get(&branch.life))
                if state == CG_LIVE and not _over(
                        cg_get(&branch.expires), cg_get(&branch.held_from),
                        cg_get(&branch.held_for), now_wall, now_boot_ns):
                    continue
                if state == CG_FREE or self.children[number] or reserved[number]:
                    continue
                self.forget(&index, number, forgotten)
        finally:
            free(reserved)
        return forgotten

    cdef forget(self, cg_index *index, uint64_t number, list forgotten):
        """Seal first: what was claimed before is then visible, and nothing can be any more."""
        cdef cg_branch *branch = &self.t.branch[number]
        cdef uint64_t at, i
        cg_seal(branch)
        for at in range(self.t.header.reservations):
            if (CG_SLOT(cg_get(&self.t.slot[at].state)) != CG_SLOT_FREE
                    and cg_get(&self.t.slot[at].branch) == number):
                return
        consumed = (cg_get(&branch.granted) - cg_get(&branch.given_back)
                    - CG_AMOUNT(cg_get(&branch.available)))
        cg_bury(&self.t, index, number)
        cg_forget(&self.t, number)
        self.free_branches.append(number)
        for i in range(cg_get(&branch.parent_count)):
            self.children[branch.parents[i]] -= 1
        forgotten.append(Reclaimed(joined(branch.key), consumed))
        self.tidy(index, cg_get(&branch.key[0]), cg_get(&branch.key[1]))

    cdef tidy(self, cg_index *index, uint64_t low, uint64_t high):
        """Compact the shard of a key that was buried, once a quarter of it is tombstones."""
        cdef uint64_t shard = cg_shard(index, cg_hash(&self.t, low, high))
        if cg_tombstones(index, shard) * 4 >= cg_span(index):
            cg_compact(&self.t, index, shard)


cdef bint _over(uint64_t expires, uint64_t held_from, uint64_t held_for, uint64_t now_wall,
                uint64_t now_boot_ns):
    """Forgetting needs two clocks: the wall clock may jump, CLOCK_BOOTTIME does not."""
    return now_wall > expires and now_boot_ns > held_from and now_boot_ns - held_from >= held_for
