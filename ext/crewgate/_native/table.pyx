"""The shared table as every process maps it: one mmap file per machine, read without waiting.

`table_owner.pyx` has what only the agent may do; `layout.h` has the layout and its rules.
"""

import os
import secrets
import sys

from crewgate._native.records import BranchRecord, TableCapacities
from crewgate.errors import TableError

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap


class StaleTableError(TableError):
    """The table is of another version or kernel boot, or incomplete; replace its file."""


_WRONG = {
    CG_TORN: "is torn: its header contradicts itself",
    CG_FOREIGN: "is not a Crewgate table",
    CG_OTHER_VERSION: "is a table of another version of Crewgate",
    CG_TOO_SMALL: "is shorter than its header says",
}


def boot_id() -> bytes:
    """Return the 16 bytes that identify this boot of the kernel.

    On macOS, they are zero. There, each table is private to its process, so none outlives a boot.
    """
    if sys.platform == "darwin":
        return bytes(16)
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return bytes.fromhex(file.read().strip().replace("-", ""))


cdef int new_header(geometry, cg_header *header) except -1:
    """Write the header of a new table: its identity, its capacities, this boot of the kernel."""
    cdef cg_table scratch
    cdef bytes random = secrets.token_bytes(48)
    cdef bytes boot = boot_id()
    memset(header, 0, sizeof(cg_header))
    header.magic = CG_MAGIC
    header.version = CG_VERSION
    header.branches, header.revocations, header.reservations, header.attachments, \
        header.proofs = geometry
    header.bytes = cg_map(&scratch, NULL, header.branches, header.revocations,
                          header.reservations, header.attachments, header.proofs)
    memcpy(header.boot, <const char *>boot, 16)
    memcpy(header.identity, <const char *>random, 16)
    memcpy(header.seed, <const char *>random + 16, 16)
    memcpy(header.proof_key, <const char *>random + 32, 16)
    header.checksum = cg_checksum(header)
    if cg_validate(header, header.bytes) != CG_OK:
        raise TableError(f"a table cannot have the capacities {tuple(geometry)}: each is a power "
                         "of two, at least 64 (2 attachments,"
                         " 1,024 proofs), at most 16,777,216 (32,768)")
    return 0


cdef int halves(bytes key, uint64_t *out) except -1:
    if len(key) != 16:
        raise ValueError(f"a key has 16 bytes, not {len(key)}")
    memcpy(out, <const char *>key, 16)
    return 0


cdef bytes joined(const cg_word *words):
    cdef uint64_t pair[2]
    pair[0] = cg_get(&words[0])
    pair[1] = cg_get(&words[1])
    return (<const char *>pair)[:16]


cdef class Table:
    def __cinit__(self):
        self.descriptor = -1
        self.burned = {}

    @staticmethod
    def attach(int fd):
        cdef Table table = Table.__new__(Table)
        table.map_fd(fd)
        return table

    cdef int map_fd(self, int fd) except -1:
        """Map a file after a check that it is complete, of our version and of this boot."""
        cdef cg_header header
        size = os.fstat(fd).st_size
        start = os.pread(fd, sizeof(cg_header), 0)
        if len(start) < <Py_ssize_t>sizeof(cg_header):
            raise StaleTableError(f"the table file {_WRONG[CG_TOO_SMALL]}")
        memcpy(&header, <const char *>start, sizeof(cg_header))
        cdef int wrong = cg_validate(&header, size)
        if wrong != CG_OK:
            raise StaleTableError(f"the table file {_WRONG[wrong]}")
        if (<const char *>header.boot)[:16] != boot_id():
            raise StaleTableError("the table file is of another boot of this machine")
        cdef void *base = mmap(NULL, header.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if base == MAP_FAILED:
            raise TableError(f"cannot map the table file ({header.bytes} bytes)")
        return self.view(base, &header)

    cdef int view(self, void *base, const cg_header *header) except -1:
        """Lay out the regions over `base` by a private copy of the header."""
        cg_map(&self.t, <uint8_t *>base, header.branches, header.revocations,
               header.reservations, header.attachments, header.proofs)
        self.mapped = True
        return 0

    cdef int check_open(self) except -1:
        if not self.mapped:
            raise TableError("the table is closed")
        return 0

    def close(self):
        if self.mapped:
            self.mapped = False
            munmap(self.t.header, self.t.bytes)

    def __dealloc__(self):
        if self.mapped:
            munmap(self.t.header, self.t.bytes)

    def __repr__(self):
        if not self.mapped:
            return "<Table closed>"
        return f"<Table {self.life.hex()[:8]} {self.geometry}>"

    @property
    def life(self):
        self.check_open()
        return (<const char *>self.t.header.identity)[:16]

    @property
    def geometry(self):
        self.check_open()
        cdef cg_table *t = &self.t
        return TableCapacities(
            t.branches, t.revocations, t.reservations, t.attachments, t.proofs)

    @property
    def size(self):
        return self.t.bytes

    @property
    def revocation_generation(self):
        self.check_open()
        return cg_get(&self.t.header.revocation_generation)

    @property
    def policy_generation(self):
        self.check_open()
        return cg_get(&self.t.header.policy_generation)

    @property
    def credit_generation(self):
        self.check_open()
        return cg_get(&self.t.header.credit_generation)

    @property
    def retired(self):
        self.check_open()
        return bool(cg_get(&self.t.header.retired))

    @property
    def fresh_until(self):
        self.check_open()
        return cg_get(&self.t.header.fresh_until)

    @property
    def synced_until(self):
        self.check_open()
        return cg_get(&self.t.header.synced_until)

    def is_revoked(self, bytes key, uint64_t issued_at=0):
        cdef uint64_t half[2]
        self.check_open()
        halves(key, half)
        return cg_is_revoked(&self.t, half[0], half[1], issued_at)

    def revoked_before(self, bytes key):
        cdef uint64_t half[2]
        self.check_open()
        cdef cg_index index = cg_revocations(&self.t)
        halves(key, half)
        cdef int64_t number = cg_lookup(&self.t, &index, half[0], half[1])
        return None if number < 0 else cg_get(&self.t.revocation[number].before)

    def find(self, bytes key):
        cdef uint64_t half[2]
        self.check_open()
        cdef cg_index index = cg_branches(&self.t)
        halves(key, half)
        cdef int64_t number = cg_lookup(&self.t, &index, half[0], half[1])
        return -1 if number < 0 else number

    def scan(self, uint64_t first, uint64_t count):
        cdef uint64_t number
        cdef list found = []
        self.check_open()
        cdef uint64_t *reserved = self.reserved_by_branch()
        try:
            for number in range(first, min(first + count, self.t.branches)):
                branch = self.copy_branch(number, reserved)
                if branch is not None:
                    found.append(branch)
        finally:
            free(reserved)
        return found

    def branch(self, uint64_t number):
        self.check_open()
        if number >= self.t.branches:
            raise IndexError(number)
        return self.copy_branch(number, NULL)

    def loose(self):
        self.check_open()
        cdef uint64_t block, at
        cdef cg_slot *slot
        cdef dict found = {}
        for block in range(self.t.reservations // CG_BLOCK_SLOTS):
            if cg_get(&self.t.block_owner[block]) == 0:
                continue
            for at in range(block * CG_BLOCK_SLOTS, (block + 1) * CG_BLOCK_SLOTS):
                slot = &self.t.slot[at]
                if CG_SLOT(cg_get(&slot.state)) > 1 and cg_get(&slot.tool) & CG_LOOSE:
                    number = cg_get(&slot.branch)
                    found[number] = found.get(number, 0) + cg_get(&slot.amount)
        return found

    cdef uint64_t *reserved_by_branch(self) except NULL:
        """Return the sum of the reservations of every branch, then of those that are upper bounds.

        The caller frees it.
        """
        cdef uint64_t *sums = <uint64_t *>calloc(2 * self.t.branches, sizeof(uint64_t))
        if sums == NULL:
            raise MemoryError
        cg_sum_slots(&self.t, sums)
        return sums

    cdef object copy_branch(self, uint64_t number, const uint64_t *sums):
        """Copy a record. Its reservations are those of `sums`, or those of now if that is NULL."""
        cdef cg_branch *b = &self.t.branch[number]
        cdef uint64_t life = cg_get(&b.life)
        cdef cg_seen seen
        if CG_STATE(life) != CG_LIVE:
            return None
        known = self.burned.get(number, (life, 0))
        known = known[1] if known[0] == life else 0
        if sums == NULL:
            cg_snapshot(&self.t, number, known, &seen)
        else:
            cg_snapshot_after(&self.t, number, sums, known, &seen)
        cdef uint64_t parents = min(cg_get(&b.parent_count), <uint64_t>9)
        cdef uint64_t need = cg_get(&b.refused_need)
        refused = None
        if need and cg_get(&b.refused_generation) == cg_get(&self.t.header.credit_generation):
            refused = (need, cg_get(&b.refused_level), cg_get(&b.refused_used),
                       cg_get(&b.refused_quota))
        # Calling the class would run a Python function, which takes twice as long.
        branch = tuple.__new__(BranchRecord, (
            number, CG_GENERATION(life), joined(b.key),
            tuple([b.parents[i] for i in range(parents)]), joined(b.path),
            cg_get(&b.quota), cg_get(&b.quota_iat), cg_get(&b.expires),
            seen.available, seen.reserved, seen.loose, seen.settled, cg_get(&b.granted),
            cg_get(&b.given_back), seen.burned, cg_get(&b.retired), cg_get(&b.sequence),
            cg_get(&b.pending_need), bool(cg_get(&b.closed)), refused, cg_get(&b.beyond),
            cg_get(&b.refused_window) if refused is not None else 0,
        ))
        if cg_get(&b.life) != life:
            return None
        if seen.burned != known:
            self.burned[number] = life, seen.burned
        return branch

    def counts(self):
        self.check_open()
        cdef uint64_t at
        cdef uint64_t branches = 0, revocations = 0, reservations = 0, attachments = 0
        for at in range(self.t.branches):
            branches += CG_STATE(cg_get(&self.t.branch[at].life)) == CG_LIVE
        for at in range(self.t.revocations):
            revocations += CG_STATE(cg_get(&self.t.revocation[at].life)) == CG_LIVE
        for at in range(self.t.reservations):
            reservations += CG_SLOT(cg_get(&self.t.slot[at].state)) != CG_SLOT_FREE
        for at in range(self.t.attachments):
            attachments += cg_get(&self.t.attachment[at]) != 0
        return {"branches": branches, "revocations": revocations,
                "reservations": reservations, "attachments": attachments}
