"""Who is attached to the table, and the end of the reservations of those who are gone.

An attachment is a number with a nonce; whether its process lives, the agent knows from its
connection. Only the agent calls this.
"""

import secrets

from crewgate._native.records import Burned
from crewgate.errors import TableFullError

from libc.stdint cimport int64_t, uint64_t

from crewgate._native.table cimport *

cdef extern from "layout.h" nogil:
    uint64_t CG_SLOT_NEXT(uint64_t state, uint64_t owner)
    bint cg_arm_fault(int64_t stores)


def arm_fault(int64_t stores):
    """See the stub."""
    return cg_arm_fault(stores)


cdef class AttachmentTable(Table):
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
        cdef uint64_t at
        cdef uint64_t state
        cdef list burned = []
        self.check_open()
        for at in range(self.t.reservations):
            state = cg_get(&self.t.slot[at].state)
            if (CG_SLOT(state) in (2, 3)
                    and cg_get(&self.t.slot[at].deadline) < now_boot_ns):
                self.burn(at, CG_OWNER(state), burned)
        return burned

    cdef int burn(self, uint64_t at, uint64_t owner, list burned) except -1:
        """End a reservation in whatever state; what is missing afterwards counts as burned."""
        cdef cg_slot *slot = &self.t.slot[at]
        cdef uint64_t state = cg_get(&slot.state)
        cdef uint64_t number = cg_get(&slot.branch)
        key = joined(self.t.branch[number].key) if number < self.t.branches else bytes(16)
        record = Burned(key, cg_get(&slot.amount), CG_SLOT(state), cg_get(&slot.cost),
                        cg_get(&slot.tool) & ~CG_LOOSE, joined(slot.grant), joined(slot.request),
                        cg_get(&slot.started), CG_OWNER(state))
        if cg_cas(&slot.state, &state, CG_SLOT_NEXT(state, owner)) and record.state > 1:
            burned.append(record)
        return 0
