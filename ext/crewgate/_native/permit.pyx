"""Permits: the evidence that a call may go on, with its reservation; each ends exactly once.

A process keeps its reservations in slots of the table that only it uses.
"""

import warnings

from crewgate import limits
from crewgate.errors import AlreadySettledError, ForkedError

cimport cython
from cpython.number cimport PyNumber_Index
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from crewgate._native.call_limits cimport LimitSet, PolicyLimits
from crewgate._native.credit cimport *
from crewgate._native.policy cimport Policy
from crewgate._native.rules cimport note_answer
from crewgate._native.table cimport *
from crewgate._native.token_cache cimport VerifiedToken, is_revoked

cdef extern from "layout.h" nogil:
    bint cg_arm_fault(int64_t stores)

cdef extern from "clock.h" nogil:
    const int CLOCK_BOOTTIME
    uint64_t cg_clock_ns(int clock)

cdef extern from *:
    """
    #include <pthread.h>
    static unsigned cg_forks;  /* from the process that imported this module to this one */
    static void cg_count_fork(void) { cg_forks++; }
    """
    unsigned cg_forks
    void cg_count_fork()
    int pthread_atfork(void (*prepare)(), void (*parent)(), void (*child)())

if pthread_atfork(NULL, NULL, cg_count_fork) != 0:
    raise MemoryError

cdef uint64_t HOLD_NS = int(limits.reservation_seconds_max * 1e9)
cdef uint64_t PRICE_MAX = limits.price_micro_max
cdef uint64_t NOWHERE = <uint64_t>-1
cdef uint64_t MS = 1_000_000
cdef int FAILED = 400


def arm_fault(int64_t stores):
    """See the stub."""
    return cg_arm_fault(stores)


cdef class GateContext:
    """What the permits of a process share: its attachment, its free slots, the policy in force."""

    def __cinit__(self, Table table not None, uint64_t attachment):
        self.table = table
        self.attachment = attachment
        self.slots = []

    def load(self, policy):
        cdef Policy loaded = Policy(policy)
        if policy.limits:
            loaded.limits = PolicyLimits(policy, self.table)
        self.policy = loaded

    cdef Py_ssize_t take_slot(self) except -2:
        """Return a free slot of this process; -1 if it has used its share."""
        cdef int64_t block
        if not self.slots:
            block = cg_block_take(&self.table.t, self.attachment)
            if block < 0:
                return -1
            self.slots.extend(range(block * <int64_t>CG_BLOCK_SLOTS,
                                    (block + 1) * <int64_t>CG_BLOCK_SLOTS))
        return self.slots.pop()

    cdef uint64_t now(self) noexcept:
        """Return CLOCK_BOOTTIME, or the clock of a test, in nanoseconds."""
        return self.boot or cg_clock_ns(CLOCK_BOOTTIME)


cdef object micro_credits(amount):
    """Return an amount as an int; raise TypeError if it is a float of credits, or a text."""
    try:
        return PyNumber_Index(amount)
    except TypeError:
        raise TypeError(f"pass an integer of micro-credits, not {amount!r}") from None


cdef object grant_of(object permit):
    return (<Permit>permit).granted() if type(permit) is Permit else permit.grant


cdef Permit new_permit(GateContext holder, VerifiedToken entry, Py_ssize_t tool, uint64_t price):
    cdef Permit permit = Permit.__new__(Permit)
    permit.holder = holder
    permit.entry = entry
    permit.tool = tool
    permit.price_micro = price
    permit.forks = cg_forks
    return permit


@cython.no_gc  # its holder, entry and reason have no reference to it
cdef class Permit:
    """Evidence that one call may go on. Only a gate makes permits.

    The file crewgate/_native/permit.pyi describes the attributes and methods; editors show its
    docstrings, and so does the page "Python API".
    """

    def __cinit__(self):
        self.record = NOWHERE

    def __init__(self):
        raise TypeError("only a gate gives permits")

    def __repr__(self):
        state = "reserved" if self.has_reservation else "ended" if self.ended else "charged"
        return f"<Permit branch={self.entry.grant.branch} price={self.price_micro} {state}>"

    def __bool__(self):
        raise TypeError("a verdict has no truth value; use isinstance(verdict, Permit)")

    @property
    def grant(self):
        return self.granted()

    cdef object granted(self):
        return self.entry.granted()

    @property
    def revocable(self):
        return self.entry.revocable

    def allows(self, str name not None):
        return self.in_observe_mode or self.entry.allows_name(name)

    @property
    def call_digest(self):
        return self.answered.call

    @property
    def answer_digest(self):
        return self.answered.answer

    def note_answer(self, uint64_t answer=0, *, int status=0, bint is_failed=False,
                    uint64_t retry_seconds=0, cost_micro=None):
        cdef uint64_t cost = self.price_micro if cost_micro is None else cost_micro
        self.holder.table.check_open()
        self.was_answered(answer, status, is_failed, retry_seconds, cost)

    cdef int was_answered(self, uint64_t answer, int status, bint is_failed,
                          uint64_t retry_seconds, uint64_t cost) except -1:
        """Count the call for the rules on branches, before its client can make another."""
        if not self.entry.rules or self.answered.ended_ms:
            return 0
        self.answered.answer = answer
        self.answered.is_failed = is_failed or status >= FAILED
        # RFC 9110, RFC 8470 and RFC 6585: the same request may succeed later.
        self.answered.is_busy = status in (408, 425, 429, 502, 503, 504)
        self.answered.retry_seconds = retry_seconds
        self.answered.cost = cost
        self.answered.ended_ms = (self.holder.boot or cg_clock_ns(CLOCK_BOOTTIME)) // MS
        note_answer(&self.holder.table.t, self.holder.policy.rules, self.entry.record,
                    self.entry.generation, &self.answered)
        return 0

    def note_observed(self, reason not None):
        if not self.in_observe_mode:
            raise ValueError("outside observe mode the call is refused")
        if self.observed_reason is None:
            self.observed_reason = reason

    @property
    def branch_unspent_micro(self):
        return self.branch_unspent()

    cdef uint64_t branch_unspent(self) except? 0:
        """Return the micro-credits that the branch has left on this machine."""
        self.holder.table.check_open()
        cdef cg_branch *branch = &self.holder.table.t.branch[self.entry.record]
        cdef uint64_t available = cg_get(&branch.available)
        if not CG_SAME_AVAILABLE(available, self.entry.generation):
            return self.lease_remaining_micro
        cdef uint64_t amount = CG_AMOUNT(available)
        return amount + min(cg_get(&branch.beyond), NOWHERE - amount)

    @property
    def has_reservation(self):
        return self.holds_credit()

    cdef bint holds_credit(self) except -1:
        return (self.hold.slot != NULL and not self.ended and self.holder.table.mapped
                and cg_get(&self.hold.slot.state) == self.hold.state)

    @property
    def revoked(self):
        # Nobody enters further revocations into a retired table.
        self.holder.table.check_open()
        return (cg_get(&self.holder.table.t.header.retired) != 0
                or is_revoked(self.holder.table, self.entry)
                or not self.holder.policy.trusts(self.entry.key))

    @property
    def is_current(self):
        if not self.holder.table.mapped:
            return False
        cdef cg_header *header = self.holder.table.t.header
        cdef uint64_t boot = self.holder.now()
        return bool(cg_is_fresh(header, boot) and (self.stale_open or cg_is_synced(header, boot)))

    def settle(self, cost_micro=None):
        cdef uint64_t cost = self.price_micro
        if cost_micro is not None:
            cost_micro = micro_credits(cost_micro)
            if cost_micro < 0:
                raise ValueError(f"a cost is 0 or more micro-credits, not {cost_micro}")
            cost = min(self.price_micro, <uint64_t>min(cost_micro, limits.quota_micro_max))
        self.end(cost)

    def grow(self, more_micro):
        cdef int taken
        cdef uint64_t more = micro_credits(more_micro)
        self.holder.table.check_open()
        if not self.is_open() or more > PRICE_MAX - self.price_micro or not self.is_current:
            return False
        taken = cg_hold_grow(&self.holder.table.t, &self.hold, more,
                             &self.lease_remaining_micro)
        if taken == CG_TAKEN:
            self.price_micro += more
        return taken == CG_TAKEN

    def release(self):
        self.undo()

    cdef bint is_open(self):
        """Whether this process holds a reservation: it made the permit and did not end it."""
        return self.hold.slot != NULL and not self.ended and self.forks == cg_forks

    cdef int reserve(self, bytes request, LimitSet limit_set, uint64_t wall,
                     uint64_t boot) except -1:
        """Hold the price in a slot of this process until the permit ends, and count the call in its
        limits, if there are any. Return CG_TAKEN if it does, and LIMITED if a limit has no room.
        """
        cdef cg_table *t = &self.holder.table.t
        cdef cg_slot attribution
        cdef Py_ssize_t at
        cdef int taken = CG_LOST
        memset(&attribution, 0, sizeof(attribution))
        memcpy(attribution.grant, self.entry.jti, 16)
        memcpy(attribution.request, <const char *>request, min(len(request), 16))
        attribution.started = wall
        attribution.tool = <uint64_t>self.tool | (CG_LOOSE if self.is_upper_bound else 0)
        self.hold.branch = self.entry.record
        self.hold.generation = self.entry.generation
        self.hold.amount = self.price_micro
        while taken == CG_LOST:  # each round drops the lost slot
            at = self.holder.take_slot()
            if at < 0:
                return CG_GONE
            self.hold.slot = &t.slot[at]
            taken = self.claim(&attribution, limit_set, boot)
            if taken == CG_TAKEN:
                taken = cg_fund_slot(t, &self.hold, &self.lease_remaining_micro)
                if taken != CG_TAKEN and limit_set is not None:
                    self.taken.undo(boot)
            if taken != CG_TAKEN:
                self.hold.slot = NULL
        if taken != CG_TAKEN:
            self.holder.slots.append(at)
        return taken

    cdef int claim(self, cg_slot *attribution, LimitSet limit_set, uint64_t boot) except -1:
        """Claim the slot, and count the call in its limits."""
        cdef cg_table *t = &self.holder.table.t
        cdef int taken = cg_claim_slot(
            &self.hold, self.holder.attachment, boot + HOLD_NS, attribution)
        if taken != CG_TAKEN or limit_set is None:
            return taken
        if not limit_set.has_places or self.taken.take_places(
                t, limit_set, self.hold.branch, self.hold.slot - t.slot, self.hold.state):
            taken = self.count(limit_set, boot)
        else:
            self.taken.undo(boot)
            taken = LIMITED
        if taken != CG_TAKEN:  # this frees its places, too
            cg_slot_end(self.hold.slot, self.hold.state)
        return taken

    cdef int count(self, LimitSet limit_set, uint64_t boot) except -1:
        """Count the call in its rates; return CG_TAKEN or LIMITED."""
        if self.taken.take_rates(&self.holder.table.t, limit_set, self.entry.record, boot):
            return CG_TAKEN
        self.taken.undo(boot)
        return LIMITED

    cdef int spend(self, LimitSet limit_set, uint64_t boot) except -1:
        """Settle the price at once, and count the call; `release` can undo both."""
        cdef cg_branch *branch = &self.holder.table.t.branch[self.entry.record]
        cdef int taken
        if limit_set is not None and self.count(limit_set, boot) != CG_TAKEN:
            return LIMITED
        self.record = self.entry.record
        self.generation = self.entry.generation
        taken = cg_spend(branch, self.generation, self.price_micro, &self.lease_remaining_micro)
        if taken != CG_TAKEN and limit_set is not None:
            self.taken.undo(boot)
        return taken

    cdef int end(self, uint64_t cost) except -1:
        """Charge `cost` and return the rest; works once."""
        cdef cg_table *t = &self.holder.table.t
        if self.ended:
            raise AlreadySettledError("the permit was settled or released before")
        if self.forks != cg_forks:
            raise ForkedError("only the process that made a permit can settle or release it: end "
                              "it there; a child that was forked later needs its own permits")
        self.holder.table.check_open()
        self.ended = True
        if self.hold.slot != NULL:
            self.holder.slots.append(self.hold.slot - t.slot)
            if not cg_hold_settle(t, &self.hold, cost):
                raise AlreadySettledError("the reservation was burned: its deadline had passed")
        elif self.record != NOWHERE and cost != self.price_micro:
            cg_unspend(t, &t.branch[self.record], self.generation, self.price_micro - cost)
        return 0

    cdef int leave_limits(self) except -1:
        """Give back the places of a call that has ended, before its permit is settled."""
        if self.taken is not None and not self.ended and self.holder.table.mapped:
            self.taken.leave()
        return 0

    cdef int undo(self) except -1:
        """End the permit of a call that did not begin: it costs nothing, and counts in no limit."""
        self.end(0)
        if self.taken is not None:
            self.taken.undo(self.holder.now())
        return 0

    def extend(self, uint64_t until_boot_ns):
        if not self.is_open():
            return False
        self.holder.table.check_open()
        cg_put(&self.hold.slot.deadline, until_boot_ns)
        return cg_get(&self.hold.slot.state) == self.hold.state

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if not self.ended and self.forks == cg_forks:
            self.settle()

    def __del__(self):
        """Burn the reservation of a permit that was dropped, since its cost is unknown."""
        if not self.is_open() or not self.holder.table.mapped:
            return
        self.ended = True
        cg_slot_end(self.hold.slot, self.hold.state)
        self.holder.slots.append(self.hold.slot - self.holder.table.t.slot)
        self.holder.dropped += 1
        warnings.warn(f"{self!r} was dropped: its reservation is burned; settle or release it",
                      ResourceWarning, source=self)
