"""The verdict: one native call from (token, tool) to `Permit` or `Denial`.

Takes no lock that another process can hold and waits for nobody. Knows nothing of sockets, HTTP or
the ledger: a lease that is missing or too small is a Denial that asks its caller for a draw.
"""

import os
import warnings

from crewgate.core.verdict import Denial, Reason
from crewgate.errors import SettledError

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from crewgate._native.credit cimport *
from crewgate._native.policy cimport Policy
from crewgate._native.table cimport *

cdef extern from "layout.h" nogil:
    bint cg_arm_fault(int64_t stores)
from crewgate._native.verified cimport TokenCache, Verified, untimely, verify

from crewgate import limits

cdef extern from "time.h" nogil:
    const int CLOCK_BOOTTIME

cdef uint64_t HOLD_NS = int(limits.reservation_seconds_max * 1e9)
cdef uint64_t NOWHERE = <uint64_t>-1
cdef object NOT_FRESH = Denial(Reason.REVOCATION_UNAVAILABLE, retry=True)


def arm_fault(int64_t stores):
    """See the stub."""
    return cg_arm_fault(stores)


cdef uint64_t clock_ns(int clock) noexcept nogil:
    cdef timespec now
    clock_gettime(clock, &now)
    return <uint64_t>now.tv_sec * 1_000_000_000 + <uint64_t>now.tv_nsec


@cython.no_gc  # its gate, entry and reason do not know it
cdef class Permit:
    """See gate.pyi."""

    def __cinit__(self):
        self.record = NOWHERE

    def __init__(self):
        raise TypeError("only a gate gives permits")

    def __repr__(self):
        state = "held" if self.held else "ended" if self.ended else "settled"
        return f"<Permit branch={self.entry.grant.branch} price={self.price} {state}>"

    @property
    def grant(self):
        return self.entry.grant

    @property
    def held(self):
        return self.hold.slot != NULL and not self.ended

    @property
    def revoked(self):
        self.gate.table.check_open()
        return self.gate.ends(self.entry)

    def settle(self, cost_micro=None):
        cdef uint64_t cost = self.price
        if cost_micro is not None:
            if cost_micro < 0:
                raise ValueError(f"a cost is 0 or more micro-credits, not {cost_micro}")
            cost = min(self.price, <uint64_t>min(cost_micro, limits.quota_micro_max))
        self.end(cost)

    def release(self):
        self.end(0)

    cdef int end(self, uint64_t cost) except -1:
        """Charge `cost`, return the rest, once."""
        cdef cg_table *t = &self.gate.table.t
        if self.ended:
            raise SettledError("the permit was settled or released before")
        self.ended = True
        if self.hold.slot != NULL:
            self.gate.slots.append(self.hold.slot - t.slot)
            if not cg_hold_settle(t, &self.hold, cost):
                raise SettledError("the reservation was burned: its deadline had passed")
        elif self.record != NOWHERE and cost != self.price:
            cg_settle(&t.branch[self.record], self.generation, -<int64_t>(self.price - cost))
            cg_untake(t, &t.branch[self.record], self.generation, self.price - cost)
        return 0

    def extend(self, uint64_t until_boot_ns):
        if self.hold.slot == NULL or self.ended:
            return False
        cg_put(&self.hold.slot.deadline, until_boot_ns)
        return cg_get(&self.hold.slot.state) == self.hold.state

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if not self.ended:
            self.settle()

    def __del__(self):
        """Dropped while it held a reservation: nobody knows what the call cost, so it burns."""
        if self.hold.slot == NULL or self.ended or not self.gate.table.mapped:
            return
        if self.gate.process != os.getpid():
            return
        self.ended = True
        cg_slot_end(self.hold.slot, self.hold.state)
        self.gate.slots.append(self.hold.slot - self.gate.table.t.slot)
        self.gate.dropped += 1
        warnings.warn(f"{self!r} was dropped: its reservation is burned; settle or release it",
                      ResourceWarning, source=self)


cdef class Gate:
    """See gate.pyi."""

    def __init__(self, Table table not None, uint64_t attachment=0, *, bint holds=True):
        self.table = table
        self.attachment = attachment
        self.holds = holds
        self.cache = TokenCache()
        self.slots = []
        self.process = os.getpid()

    @property
    def clock(self):
        return (self.wall, self.boot) if self.boot else None

    @clock.setter
    def clock(self, value):
        self.wall, self.boot = (0, 0) if value is None else value

    def load(self, policy):
        self.policy = Policy(policy)
        self.cache.clear()

    def counters(self):
        return {"hits": self.hits, "misses": self.misses, "cached_tokens": self.cache.size,
                "dropped_permits": self.dropped}

    def decide(self, bytes token not None, Py_ssize_t tool, *, bytes request=b"",
               peer_crew=None, bint observe=False, bint drawn=False):
        cdef uint64_t wall = self.wall
        cdef uint64_t boot = self.boot
        if boot == 0:
            wall = clock_ns(CLOCK_REALTIME)
            boot = clock_ns(CLOCK_BOOTTIME)
        cdef Policy policy = self.policy
        self.table.check_open()
        if policy is None or not self.fresh(policy, boot):
            return NOT_FRESH
        cdef Verified entry = self.cache.find(token)
        if entry is not None:
            self.hits += 1
        else:
            self.misses += 1
            result = verify(policy, token)
            if type(result) is not Verified:
                return result
            entry = <Verified>result
            if policy is self.policy:
                self.cache.add(entry)
        late = untimely(entry, <int64_t>wall)
        if late is not None:
            return late
        if self.is_revoked(entry):
            return Denial(Reason.BRANCH_REVOKED, entry.grant)
        return self.judge(policy, entry, tool, request, peer_crew, observe, drawn, wall, boot)

    cdef bint fresh(self, Policy policy, uint64_t boot):
        cdef cg_header *header = self.table.t.header
        return (boot < cg_get(&header.fresh_until) and not cg_get(&header.retired)
                and cg_get(&header.policy_generation) == policy.generation)

    cdef bint is_revoked(self, Verified entry):
        cdef int at
        for at in range(entry.key_count):
            if cg_is_revoked(&self.table.t, entry.keys[2 * at], entry.keys[2 * at + 1],
                             entry.issued_at):
                return True
        cdef cg_branch *branch = self.find(entry)
        return branch != NULL and cg_get(&branch.closed) != 0

    cdef bint ends(self, Verified entry):
        """Must a call in flight end? Its token is revoked, or the policy no longer trusts its
        key, or the table was retired, so that nobody hears of revocations here any more."""
        return (cg_get(&self.table.t.header.retired) != 0 or self.is_revoked(entry)
                or not self.policy.trusts(entry.key))

    cdef cg_branch *find(self, Verified entry):
        """The branch's record; `entry` remembers where it was found last."""
        cdef cg_table *t = &self.table.t
        cdef cg_index index = cg_branches(t)
        cdef int64_t number
        if entry.generation == 0 or entry.record >= index.records or not cg_holds(
                &index, entry.record, entry.branch[0], entry.branch[1]):
            number = cg_lookup(t, &index, entry.branch[0], entry.branch[1])
            if number < 0:
                return NULL
            entry.record = <uint64_t>number
        entry.generation = CG_GENERATION(cg_get(&t.branch[entry.record].life))
        return &t.branch[entry.record]

    cdef object judge(self, Policy policy, Verified entry, Py_ssize_t tool, bytes request,
                      object peer_crew, bint observe, bint drawn, uint64_t wall, uint64_t boot):
        """Checks 6 to 10 of the table in DESIGN.md, on a good token that nobody revoked."""
        cdef cg_branch *branch = self.find(entry)
        if peer_crew is not None and peer_crew != entry.crew.name:
            return Denial(Reason.BINDING_MISMATCH, entry.grant)
        if branch != NULL and (cg_get(&branch.path[0]) != entry.path[0]
                               or cg_get(&branch.path[1]) != entry.path[1]):
            return Denial(Reason.BINDING_MISMATCH, entry.grant)
        if tool < 0 or tool >= policy.tool_count:
            return Denial(Reason.UNKNOWN_TOOL, entry.grant)
        owner = policy.owner[tool]
        if owner is not None and owner != entry.crew.name and peer_crew is None:
            return Denial(Reason.BINDING_MISMATCH, entry.grant)
        observe = observe or entry.crew.observe or policy.observe[tool]
        if not entry.allows(policy, tool):
            denial = Denial(Reason.TOOL_NOT_ALLOWED, entry.grant)
            return self.observed(entry, tool, denial) if observe else denial
        if branch == NULL or self.ungoverned(branch, entry):
            denial = Denial(Reason.BUDGET_UNAVAILABLE, entry.grant, retry=True)
            return self.observed(entry, tool, denial) if observe and drawn else denial
        result = self.charge(policy, entry, branch, tool, request, wall, boot)
        if observe and type(result) is Denial and (drawn or not result.retry):
            return self.observed(entry, tool, result)
        return result

    cdef bint ungoverned(self, cg_branch *branch, Verified entry):
        """The agent has not yet heard of a grant that governs the branch's quota."""
        cdef uint64_t known = cg_get(&branch.quota_iat)
        return entry.issued_at > known or (
            entry.issued_at == known and entry.quota < cg_get(&branch.quota))

    cdef Permit permit(self, Verified entry, Py_ssize_t tool, uint64_t price):
        cdef Permit permit = Permit.__new__(Permit)
        permit.gate = self
        permit.entry = entry
        permit.tool = tool
        permit.price = price
        return permit

    cdef Permit observed(self, Verified entry, Py_ssize_t tool, object denial):
        """The call goes on, uncharged, with the reason for which it would have been refused."""
        cdef Permit permit = self.permit(entry, tool, 0)
        permit.would = denial.reason
        return permit

    cdef object charge(self, Policy policy, Verified entry, cg_branch *branch, Py_ssize_t tool,
                       bytes request, uint64_t wall, uint64_t boot):
        cdef Permit permit = self.permit(entry, tool, policy.price[tool])
        cdef int taken
        if permit.price == 0:
            permit.remaining = CG_AMOUNT(cg_get(&branch.available))
            return permit
        if self.holds:
            taken = self.reserve(permit, request, wall, boot)
        else:
            permit.record = entry.record
            permit.generation = entry.generation
            taken = cg_take(branch, entry.generation, permit.price, &permit.remaining)
            if taken == CG_TAKEN:
                cg_settle(branch, entry.generation, <int64_t>permit.price)
        if taken == CG_TAKEN:
            return permit
        permit.ended = True
        return self.short(entry, branch, permit.price)

    cdef int reserve(self, Permit permit, bytes request, uint64_t wall, uint64_t boot) except -1:
        """Hold the price in a slot of this process until the permit ends."""
        cdef cg_table *t = &self.table.t
        cdef cg_slot attribution
        cdef Verified entry = permit.entry
        cdef Py_ssize_t at = self.take_slot()
        if at < 0:
            return CG_GONE
        memset(&attribution, 0, sizeof(attribution))
        memcpy(attribution.grant, entry.jti, 16)
        memcpy(attribution.request, <const char *>request, min(len(request), 16))
        attribution.started = wall
        attribution.tool = <uint64_t>permit.tool
        permit.hold.slot = &t.slot[at]
        permit.hold.branch = entry.record
        permit.hold.generation = entry.generation
        permit.hold.amount = permit.price
        cdef int taken = cg_reserve(t, &permit.hold, self.attachment, boot + HOLD_NS,
                                    &attribution, &permit.remaining)
        if taken != CG_TAKEN:
            permit.hold.slot = NULL
            self.slots.append(at)
        return taken

    cdef Py_ssize_t take_slot(self) except -2:
        """A free slot of this process; -1 if it holds its share already."""
        cdef int64_t block
        if not self.slots:
            block = cg_block_take(&self.table.t, self.attachment)
            if block < 0:
                return -1
            self.slots.extend(range(block * <int64_t>CG_BLOCK_SLOTS,
                                    (block + 1) * <int64_t>CG_BLOCK_SLOTS))
        return self.slots.pop()

    cdef object short(self, Verified entry, cg_branch *branch, uint64_t price):
        """Not enough in the lease: exhausted if the agent has said so since credit last came
        back anywhere, else the caller may draw."""
        cdef cg_header *header = self.table.t.header
        cdef uint64_t need = cg_get(&branch.refused_need)
        if need == 0 or price < need or (cg_get(&branch.refused_generation)
                                         != cg_get(&header.credit_generation)):
            return Denial(Reason.BUDGET_UNAVAILABLE, entry.grant, retry=True)
        path = entry.grant.claims.branch_path
        level = cg_get(&branch.refused_level)
        name = entry.crew.name
        if level == 0:
            name = entry.grant.branch
        elif level <= <uint64_t>len(path):
            name = path[len(path) - level].id
        return Denial(Reason.CREDITS_EXHAUSTED, entry.grant, level=name,
                      used=cg_get(&branch.refused_used), quota=cg_get(&branch.refused_quota))
