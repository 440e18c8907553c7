"""Decides a call natively: from a token and a tool to a `Permit` or a `Denial`.

It takes no lock that another process can hold, and never waits. It does not ask the ledger: if a
lease is missing or too small, the Denial asks the caller for a draw.
"""

from crewgate import limits
from crewgate.core.policy.call_limits import limit_reached
from crewgate.core.reasons import Reason
from crewgate.core.rules.rule import RuleStep
from crewgate.core.verdict import Denial

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp

from crewgate._native.call_limits cimport LimitSet, TakenLimits, look_at
from crewgate._native.credit cimport CG_TAKEN
from crewgate._native.permit cimport LIMITED, GateContext, Permit, new_permit
from crewgate._native.policy cimport Policy
from crewgate._native.presenter cimport Presenter, current_nonce, unproven, unremembered
from crewgate._native.rules cimport (
    as_observed, is_refusal, judged, note_refusal, note_rule_refusal, to_tell,
)
from crewgate._native.table cimport *
from crewgate._native.token_cache cimport (
    TokenCache, VerifiedToken, find_branch, is_revoked, untimely, verify,
)

cdef extern from "clock.h" nogil:
    const int CLOCK_BOOTTIME, CLOCK_REALTIME
    uint64_t cg_clock_ns(int clock)

cdef extern from "grant_marks.h" nogil:
    const int CG_GRANT_WRITTEN, CG_GRANT_OURS
    int cg_claim_grant(const cg_table *t, uint64_t hash, uint64_t seconds)
    void cg_note_grant(const cg_table *t, uint64_t hash)

cdef extern from "sip_hash.h" nogil:
    ctypedef struct sip_state:
        pass
    void sip_start(sip_state *, const uint64_t *key)
    void sip_add(sip_state *, const unsigned char *data, size_t n)
    uint64_t sip_end(sip_state *)

cdef int64_t PRICE_MAX = limits.price_micro_max
cdef uint64_t SECOND = 1_000_000_000
cdef uint64_t MS = 1_000_000
cdef object WARN = RuleStep.WARN
cdef object USE_NONCE = Reason.USE_NONCE
cdef object RATE_LIMITED = Reason.RATE_LIMITED
cdef object TOO_MANY_CALLS = Reason.TOO_MANY_CALLS
cdef object NOT_FRESH = Denial(Reason.REVOCATION_UNAVAILABLE, retry=True)


cdef inline bint is_unbound(Policy policy, VerifiedToken entry, Py_ssize_t tool) noexcept:
    """Whether the token names no key, and its crew, role, orchestrator or tool requires one."""
    return not entry.is_bound and (entry.requires_binding or policy.requires_binding[tool])


cdef int note_finding(Permit permit, object finding) except -1:
    """Have a permit say what a rule on branches warns of, or would refuse."""
    permit.finding = finding
    if finding is not None and finding.step is not WARN and permit.observed_reason is None:
        permit.observed_reason = Reason.LOOP_DETECTED
    return 0


cdef class Gate:
    """See gate.pyi."""

    def __cinit__(self, Table table not None, uint64_t attachment=0, *, bint holds=True,
                  note_grant=None, note_step=None):
        self.table = table
        self.note_grant = note_grant
        self.note_step = note_step
        self.holder = GateContext(table, attachment)
        self.holds = holds
        self.cache = TokenCache()

    @property
    def clock(self):
        return (self.wall, self.boot) if self.boot else None

    @clock.setter
    def clock(self, value):
        self.wall, self.boot = (0, 0) if value is None else value
        self.holder.boot = self.boot

    def load(self, policy):
        self.holder.load(policy)
        self.cache.clear()

    def counters(self):
        return {"hits": self.hits, "misses": self.misses, "cached_tokens": self.cache.size,
                "dropped_permits": self.holder.dropped}

    def decide(self, bytes token not None, Py_ssize_t tool, *, bytes request=b"",
               Presenter presenter=None, bint observe=False, bint drawn=False, int64_t price=-1,
               bint is_upper_bound=False, str name=None, uint64_t call=0,
               bint counts=True):
        if price > PRICE_MAX:
            raise ValueError(f"a call costs at most {PRICE_MAX} micro-credits")
        return self.verdict(
            token, tool, request, presenter, observe, drawn, price, is_upper_bound, name, call,
            counts)

    cdef object verdict(self, bytes token, Py_ssize_t tool, bytes request, Presenter presenter,
                        bint observe, bint drawn, int64_t price, bint is_upper_bound, str name,
                        uint64_t call, bint counts):
        """Decide as `decide` does; `price` is in its bounds."""
        cdef uint64_t wall, boot
        self.read_clocks(&wall, &boot)
        cdef Policy policy = self.holder.policy
        found = self.verified(policy, token, tool, presenter, wall, boot)
        if type(found) is not VerifiedToken:
            return found
        cdef VerifiedToken entry = <VerifiedToken>found
        result = self.judge(policy, entry, tool, request, presenter, observe, drawn, price,
                            is_upper_bound, name, call, counts, wall, boot)
        if type(result) is Permit:
            if entry.rules:
                (<Permit>result).answered.call = call
                (<Permit>result).answered.started_ms = boot // MS
            if not entry.is_noted and self.note_grant is not None:
                self.note(entry, boot)
        return result

    cdef int note(self, VerifiedToken entry, uint64_t boot) except -1:
        """Have the grant of an admitted token written, unless this machine has it already."""
        cdef const cg_table *t = &self.table.t
        cdef sip_state state
        # By the whole token: its signer could use the id of a grant again for another one.
        sip_start(&state, t.header.proof_key)
        sip_add(&state, <const unsigned char *>PyBytes_AS_STRING(entry.token),
                PyBytes_GET_SIZE(entry.token))
        cdef uint64_t hash = sip_end(&state)
        cdef int found = cg_claim_grant(t, hash, boot // SECOND)
        if found == CG_GRANT_OURS and self.note_grant(entry.grant):
            cg_note_grant(t, hash)
            entry.is_noted = True
        elif found == CG_GRANT_WRITTEN:
            entry.is_noted = True
        return 0

    def grant_for(self, bytes token not None, Py_ssize_t tool, *, Presenter presenter=None):
        """See the stub."""
        cdef uint64_t wall, boot
        self.read_clocks(&wall, &boot)
        cdef Policy policy = self.holder.policy
        found = self.verified(policy, token, tool, presenter, wall, boot)
        if type(found) is not VerifiedToken:
            return None
        cdef VerifiedToken entry = <VerifiedToken>found
        cdef cg_branch *branch = find_branch(self.table, entry)
        if (self.misused(policy, entry, branch, tool, presenter) is not None
                or not entry.allows(policy, tool) or is_unbound(policy, entry, tool)
                or branch == NULL or self.ungoverned(branch, entry)
                or unremembered(&self.table.t, entry, presenter, boot) is not None):
            return None
        return entry.grant

    cdef void read_clocks(self, uint64_t *wall, uint64_t *boot) noexcept:
        """Read the clocks of the machine, or those that a test has set."""
        wall[0] = self.wall
        boot[0] = self.boot
        if boot[0] == 0:
            wall[0] = cg_clock_ns(CLOCK_REALTIME)
            boot[0] = cg_clock_ns(CLOCK_BOOTTIME)

    cdef object verified(self, Policy policy, bytes token, Py_ssize_t tool, Presenter presenter,
                         uint64_t wall, uint64_t boot):
        """Return the VerifiedToken of a token that is good now in these hands, or the Denial."""
        self.table.check_open()
        if policy is None or not self.fresh(policy, boot):
            return NOT_FRESH
        cdef bint synced = cg_is_synced(self.table.t.header, boot)
        cdef VerifiedToken entry = self.cache.find(token)
        if entry is not None:
            self.hits += 1
        else:
            self.misses += 1
            result = verify(policy, token)
            if type(result) is not VerifiedToken:
                return result
            entry = <VerifiedToken>result
            if policy is self.holder.policy:
                self.cache.add(entry)
        late = untimely(entry, <int64_t>wall)
        if late is not None:
            return late
        if is_revoked(self.table, entry):
            return Denial(Reason.BRANCH_REVOKED, entry.grant)
        # Only after the token is verified: without a token, nobody may learn which tools are open.
        if not synced and not policy.goes_on_stale(tool):
            return NOT_FRESH
        if entry.is_bound or (presenter is not None and presenter.proof is not None):
            reason = unproven(entry, presenter, wall)
            if reason is not None:
                return Denial(reason, entry.grant)
        return entry

    cdef bint fresh(self, Policy policy, uint64_t boot):
        cdef cg_header *header = self.table.t.header
        return (cg_is_fresh(header, boot) and not cg_get(&header.retired)
                and cg_get(&header.policy_generation) == policy.generation)

    cdef object judge(self, Policy policy, VerifiedToken entry, Py_ssize_t tool, bytes request,
                      Presenter presenter, bint observe, bint drawn, int64_t bound,
                      bint is_upper_bound, str name, uint64_t call, bint counts, uint64_t wall,
                      uint64_t boot):
        """Decide a call with a good token that is not revoked."""
        cdef cg_branch *branch = find_branch(self.table, entry)
        misuse = self.misused(policy, entry, branch, tool, presenter)
        if misuse is not None:
            return misuse
        observe = observe or entry.crew.observe or policy.observe[tool]
        cdef bint lacks_key = is_unbound(policy, entry, tool)
        if lacks_key and not observe:
            return Denial(Reason.TOKEN_UNBOUND, entry.grant)
        cdef bint is_allowed = (
            entry.allows(policy, tool) if name is None else entry.allows_name(name))
        if not is_allowed and not observe:
            return Denial(Reason.TOOL_NOT_ALLOWED, entry.grant)
        # Last, so that calls which cost nothing take no room from the proofs of others.
        reason = unremembered(&self.table.t, entry, presenter, boot)
        if reason is not None:
            nonce = current_nonce(&self.table.t, boot) if reason is USE_NONCE else b""
            return Denial(reason, entry.grant, nonce=nonce)
        if branch == NULL or self.ungoverned(branch, entry):
            # In observe mode too, the agent may refuse to open the branch.
            denial = Denial(Reason.BUDGET_UNAVAILABLE, entry.grant, retry=True)
            return (self.observed(entry, branch, tool, request, wall, boot, denial)
                    if observe and drawn else denial)
        if lacks_key or not is_allowed:
            denial = Denial(
                Reason.TOKEN_UNBOUND if lacks_key else Reason.TOOL_NOT_ALLOWED, entry.grant)
            return self.observed(entry, branch, tool, request, wall, boot, denial)
        finding = self.found_by_rules(policy, entry, tool, name, call, request, observe, boot)
        if finding is not None and is_refusal(finding):
            denial = Denial(Reason.LOOP_DETECTED, entry.grant, finding=finding, call_digest=call)
            if not observe:
                return denial
            permit = self.observed(entry, branch, tool, request, wall, boot, denial)
            (<Permit>permit).finding = as_observed(finding)  # so the client gets the warning
            return permit
        cdef LimitSet limit_set = (
            entry.limits_of(policy, tool, name) if counts and policy.limits is not None else None)
        result = self.charge(policy, entry, branch, tool, bound, is_upper_bound, limit_set, request,
                             wall, boot)
        if finding is not None and type(result) is Permit:
            note_finding(<Permit>result, finding)
        if observe and type(result) is Permit:
            (<Permit>result).in_observe_mode = True
        if observe and type(result) is Denial and (drawn or not result.retry):
            return self.observed(entry, branch, tool, request, wall, boot, result)
        return result

    cdef object found_by_rules(self, Policy policy, VerifiedToken entry, Py_ssize_t tool, str name,
                               uint64_t call, bytes request, bint observe, uint64_t boot):
        """Return the strongest step that rules on branches take for a call; None for none."""
        cdef list noted
        if not entry.rules:
            return None
        noted = []
        finding = judged(&self.table.t, policy.rules, entry.rules, entry.record, entry.generation,
                         tool, name, call, boot, noted)
        if noted:
            self.tell(policy, entry, tool, name, request, noted, observe)
        return finding

    cdef int tell(self, Policy policy, VerifiedToken entry, Py_ssize_t tool, str name,
                  bytes request, list noted, bint observe) except -1:
        """Have the steps of rules on branches recorded and done."""
        cdef str called = name or (policy.tools[tool] if 0 <= tool < policy.tool_count else "")
        if self.note_step is not None:
            for finding, is_new in to_tell(noted, observe):
                self.note_step(entry.grant, finding, request, called, is_new)
        return 0

    def note_refusal(self, bytes token not None, Py_ssize_t tool, reason, bytes request=b"",
                     uint64_t call=0, *, uint64_t level=0, bint observe=False):
        """See the stub."""
        cdef uint64_t wall, boot
        cdef list noted = []
        self.read_clocks(&wall, &boot)
        cdef Policy policy = self.holder.policy
        cdef VerifiedToken entry = self.cache.find(token)
        if policy is None or entry is None or not entry.rules or (
                find_branch(self.table, entry) == NULL):
            return entry is None or not entry.rules
        if reason is Reason.LOOP_DETECTED:
            note_rule_refusal(&self.table.t, entry.record, entry.generation, call, boot, level)
        else:
            note_refusal(&self.table.t, policy.rules, entry.rules, entry.record, entry.generation,
                         tool, boot, noted)
            observe = observe or entry.crew.observe or (
                0 <= tool < policy.tool_count and policy.observe[tool])
            self.tell(policy, entry, tool, None, request, noted, observe)
        return True

    cdef object misused(self, Policy policy, VerifiedToken entry, cg_branch *branch,
                        Py_ssize_t tool, Presenter presenter):
        """Return the Denial of a call that is not for this caller or tool; None if it is."""
        peer_crew = None if presenter is None else presenter.crew
        if peer_crew is not None and peer_crew != entry.crew.name:
            return Denial(Reason.BINDING_MISMATCH, entry.grant)
        if presenter is not None and presenter.branch is not None and memcmp(
                PyBytes_AS_STRING(presenter.branch), entry.branch, 16) != 0:
            return Denial(Reason.BINDING_MISMATCH, entry.grant)
        if branch != NULL and (cg_get(&branch.path[0]) != entry.path[0]
                               or cg_get(&branch.path[1]) != entry.path[1]):
            return Denial(Reason.BINDING_MISMATCH, entry.grant)
        if tool < 0 or tool >= policy.tool_count:
            return Denial(Reason.UNKNOWN_TOOL, entry.grant)
        owner = policy.owner[tool]
        if owner is not None and owner != entry.crew.name and peer_crew is None:
            return Denial(Reason.BINDING_MISMATCH, entry.grant)
        return None

    cdef bint ungoverned(self, cg_branch *branch, VerifiedToken entry):
        """Whether the agent does not know the grant yet that governs the branch's quota."""
        cdef uint64_t known = cg_get(&branch.quota_iat)
        return entry.issued_at > known or (
            entry.issued_at == known and entry.quota < cg_get(&branch.quota))

    cdef Permit observed(self, VerifiedToken entry, cg_branch *branch, Py_ssize_t tool,
                         bytes request, uint64_t wall, uint64_t boot, object denial):
        """Permit a call in observe mode without a charge; the permit has the observed reason."""
        cdef Permit permit = new_permit(self.holder, entry, tool, 0)
        permit.observed_reason = denial.reason
        permit.in_observe_mode = True
        if self.holds and branch != NULL:
            # If no slot is free, the call goes on without one.
            permit.reserve(request, None, wall, boot)
        return permit

    cdef object charge(self, Policy policy, VerifiedToken entry, cg_branch *branch, Py_ssize_t tool,
                       int64_t bound, bint is_upper_bound, LimitSet limit_set, bytes request,
                       uint64_t wall, uint64_t boot):
        """Count the call in its limits, and take the price. If calls are held, a free call gets a
        slot too: if its process dies, only the slot shows that there was a call."""
        cdef int taken = CG_TAKEN
        cdef Permit permit = new_permit(
            self.holder, entry, tool, policy.price[tool] if bound < 0 else <uint64_t>bound)
        permit.is_upper_bound = is_upper_bound
        permit.stale_open = policy.stale_open[tool]
        if limit_set is not None and limit_set.count == 0:
            limit_set = None
        elif limit_set is not None:
            if limit_set.lacks_words:
                permit.ended = True
                return NOT_FRESH
            permit.taken = look_at(&self.table.t, limit_set, entry.record, boot)
            if permit.taken.refusing >= 0:
                taken = LIMITED
        if taken == LIMITED:
            pass
        elif self.holds:
            taken = permit.reserve(request, limit_set, wall, boot)
        elif permit.price_micro:
            taken = permit.spend(limit_set, boot)
        else:
            permit.lease_remaining_micro = CG_AMOUNT(cg_get(&branch.available))
            if limit_set is not None:
                taken = permit.count(limit_set, boot)
        if taken == CG_TAKEN:
            if limit_set is not None:
                permit.observed_reason = permit.taken.observed_reason
            return permit
        permit.ended = True
        if taken == LIMITED:
            return self.limited(entry, limit_set, permit.taken)
        return self.short(entry, branch, permit.price_micro)

    cdef object limited(self, VerifiedToken entry, LimitSet limit_set, TakenLimits taken):
        """Refuse a call for which a limit has no room now."""
        limit = limit_set.limits[taken.refusing]
        reason = TOO_MANY_CALLS if limit_set.each[taken.refusing].places else RATE_LIMITED
        return Denial(reason, entry.grant, limit=limit_reached(limit, taken.wait))

    cdef object short(self, VerifiedToken entry, cg_branch *branch, uint64_t price):
        """Refuse a call whose price is more than the lease has. The credits are exhausted if the
        agent has found that since credit last came back anywhere; otherwise the caller may draw."""
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
                      used_micro=cg_get(&branch.refused_used),
                      quota_micro=cg_get(&branch.refused_quota), need_micro=price,
                      window_number=cg_get(&branch.refused_window))
