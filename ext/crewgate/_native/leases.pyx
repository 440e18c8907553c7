"""The leases of a table's branches, as its one agent fills and empties them.

Every method is one whole transaction (`owner.h`).
"""

from libc.stdint cimport int64_t, uint64_t

from crewgate._native.attachments cimport AttachmentTable
from crewgate._native.table cimport *

cdef extern from "layout.h" nogil:
    bint cg_arm_fault(int64_t stores)


def arm_fault(int64_t stores):
    """See the stub."""
    return cg_arm_fault(stores)


cdef class LeaseTable(AttachmentTable):
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

    def lend(self, uint64_t number, uint64_t amount):
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


cdef int has_room(cg_branch *branch, uint64_t amount) except -1:
    """All that is out could come back into the 40 bits of the amount.

    A call that is charged at once is settled before it is taken: then less than nothing is out.
    """
    cdef int64_t out = <int64_t>(cg_get(&branch.granted) - cg_get(&branch.given_back)
                                 - CG_SETTLED(cg_get(&branch.settled)))
    if amount > CG_AMOUNT_MAX or out > <int64_t>(CG_AMOUNT_MAX - amount):
        raise ValueError(f"a lease is at most {CG_AMOUNT_MAX} micro-credits")
    return 0
