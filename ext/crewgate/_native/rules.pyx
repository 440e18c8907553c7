"""Judges calls by the rules on branches, and counts calls for them; see `branch_activity.h`."""

from msgspec import structs

from crewgate.core.rules.rule import STEPS, RuleKind, RuleMode, RuleStep, StepFinding

from libc.stdint cimport uint64_t
from libc.string cimport memset

from crewgate._native.table cimport CG_GENERATION, cg_get, cg_parent, cg_table, cg_word
from crewgate._native.token cimport covers_name

cdef extern from "branch_activity.h" nogil:
    ctypedef struct cg_activity:
        cg_word noted[3]

    const int CG_RULE_KINDS, CG_SAME_FAILURE, CG_REFUSED_CALLS, CG_LIVE_BRANCHES
    cg_activity *cg_activity_of(const cg_table *t, uint64_t record, uint64_t generation,
                                uint64_t ms)
    int cg_note_answer(cg_activity *, const cg_answered *, uint64_t pause_ms, uint64_t equal_rules,
                       uint64_t refusal_rules, int is_repeat)
    void cg_clear_bits(cg_word *, uint64_t bits)
    void cg_note_rule_refusal(cg_activity *, uint64_t call, uint64_t ms)
    uint64_t cg_note_refusal(cg_activity *, uint64_t ms, uint64_t pause_ms)
    void cg_read_activity(cg_activity *, uint64_t call, uint64_t ms, uint64_t pause_ms,
                          uint64_t *out)
    bint cg_set_bit(cg_word *, unsigned bit)

cdef enum:
    RULE_BITS = 64  # of a word that has a bit for each rule

cdef list KINDS = list(RuleKind)
cdef uint64_t NONE = <uint64_t>-1
cdef uint64_t MS = 1_000_000
cdef int WARNING = 0, REFUSAL = 1, END = 2
cdef object ENFORCE = RuleMode.ENFORCE
cdef object WARN = RuleStep.WARN

if len(KINDS) != CG_RULE_KINDS or KINDS[CG_REFUSED_CALLS] is not RuleKind.REFUSED_CALLS:
    raise ImportError("branch_activity.h counts other kinds than RuleKind has")


cdef class CompiledRule:
    """A rule with its tools by number. `watched` says for each tool whether the rule watches it."""

    def __cinit__(self, rule, unsigned bit, bytes watched not None):
        self.rule = rule
        self.kind = KINDS.index(rule.kind)
        self.bit = bit
        self.is_enforced = rule.mode is ENFORCE
        self.tools = watched
        self.least = min([limit for limit in rule.limits if limit is not None], default=NONE)
        for at, limit in enumerate(rule.limits):
            self.limits[<Py_ssize_t>at] = NONE if limit is None else limit

    cdef bint watches(self, Py_ssize_t tool, str name) except -1:
        cdef bytes text
        if name is None or not self.rule.tools:
            return (<const unsigned char *>self.tools)[tool]
        text = name.encode()
        return covers_name(self.rule.tools, <const unsigned char *>text, len(text))

    cdef int step_at(self, uint64_t count, int most) noexcept:
        """Return the number of the strongest step that a count asks for, up to `most`; or -1."""
        cdef int step
        if count < self.least:  # the usual case
            return -1
        for step in range(most, -1, -1):
            if count >= self.limits[step]:
                return step
        return -1


cdef class CompiledRules:
    """The rules of a policy. `watched` has the bytes of `CompiledRule` for each rule."""

    def __cinit__(self, loops, list watched not None):
        self.rules = tuple([CompiledRule(rule, bit, watched[bit])
                            for bit, rule in enumerate(loops.rules)])
        self.pause_ms = 1000 * loops.pause_seconds
        self.by_role = {}
        for rule in self.rules:
            if (<CompiledRule>rule).rule.kind.compares_calls:
                self.equal_rules |= 1ull << (<CompiledRule>rule).bit
            if (<CompiledRule>rule).kind == <unsigned>CG_REFUSED_CALLS:
                self.refusal_rules |= 1ull << (<CompiledRule>rule).bit

    cdef tuple watching(self, str crew, str role):
        """Return the rules that watch the calls of a role of a crew."""
        if not self.rules:
            return ()
        return tuple([each for each in self.rules if (<CompiledRule>each).rule.watches(crew, role)])


cdef inline uint64_t level_count(const cg_table *t, uint64_t record) noexcept:
    """Return how many branches a call counts at: its own, and those above without the crew."""
    cdef uint64_t parents = min(cg_get(&t.branch[record].parent_count), <uint64_t>9)
    return max(parents, <uint64_t>1)


cdef inline cg_activity *activity_at(const cg_table *t, uint64_t record, uint64_t generation,
                                     uint64_t level, uint64_t ms, uint64_t *found) noexcept:
    """Return the activity of the branch `level` levels above a record, and its record."""
    cdef uint64_t number = record
    if level:
        number = cg_parent(t, &t.branch[record], level_count(t, record) - level)
        generation = CG_GENERATION(cg_get(&t.branch[number].life))
    found[0] = number
    return cg_activity_of(t, number, generation, ms)


cdef int rank_of(CompiledRule rule, int step) noexcept:
    """Return how strong a step is: a refusal in observe mode is weaker than one in force."""
    return step if step == 0 else step + 2 * rule.is_enforced


cdef inline void forget_above(cg_activity *activity, unsigned bit, int step) noexcept:
    """Forget the recorded steps of a rule above `step`, the one that its count reaches now."""
    cdef int other
    for other in range(step + 1, END + 1):
        if cg_get(&activity.noted[other]) >> bit & 1:
            cg_clear_bits(&activity.noted[other], 1ull << bit)


cdef bint is_refusal(object finding) except -1:
    return finding.is_enforced and finding.step is not WARN


cdef list to_tell(list noted, bint observe):
    """If the caller or the tool is in observe mode, a rule only says once what it would do."""
    if not observe:
        return noted
    return [(as_observed(finding) if is_refusal(finding) else finding, is_new)
            for finding, is_new in noted if is_new]


cdef object as_observed(object finding):
    return structs.replace(finding, rule=structs.replace(finding.rule, mode=RuleMode.OBSERVE))


cdef object noted_step(CompiledRule rule, int step, uint64_t count, uint64_t level,
                       cg_activity *activity, list noted):
    """Return the StepFinding, which `noted` gets too if it must be recorded or done now."""
    finding = StepFinding(rule.rule, STEPS[step], count, rule.limits[step], level)
    cdef bint is_new = cg_set_bit(&activity.noted[step], rule.bit)
    if is_new or (step == END and rule.is_enforced):
        noted.append((finding, is_new))
    return finding


cdef object judged(const cg_table *t, CompiledRules rules, tuple watching, uint64_t record,
                   uint64_t generation, Py_ssize_t tool, str name, uint64_t call, uint64_t boot,
                   list noted):
    cdef uint64_t counts[16]
    cdef uint64_t level, number = 0, ms = boot // MS
    cdef signed char taken[RULE_BITS]  # the strongest step of each rule at a lower level
    cdef CompiledRule rule
    cdef cg_activity *activity
    cdef int step, strongest = -1
    cdef bint is_repeat = False  # the branch itself has made the call before
    found = None
    memset(taken, -1, sizeof(taken))
    for level in range(level_count(t, record)):
        activity = activity_at(t, record, generation, level, ms, &number)
        cg_read_activity(activity, call, ms, rules.pause_ms, counts)
        counts[CG_LIVE_BRANCHES] = cg_get(&t.branch[number].below)
        if level == 0:
            is_repeat = counts[CG_SAME_FAILURE] > 0
        for each in watching:
            rule = <CompiledRule>each
            step = rule.step_at(counts[rule.kind], END)
            if level and rule.kind < <unsigned>CG_REFUSED_CALLS:  # it ends who makes the calls
                step = rule.step_at(counts[rule.kind], REFUSAL) if is_repeat else -1
            if rule.kind > <unsigned>CG_REFUSED_CALLS:
                forget_above(activity, rule.bit, step)
            if step <= taken[rule.bit] or not rule.watches(tool, name):
                continue
            taken[rule.bit] = <signed char>step
            finding = noted_step(rule, step, counts[rule.kind], level, activity, noted)
            if rank_of(rule, step) > strongest:
                strongest, found = rank_of(rule, step), finding
    return found


cdef int note_answer(const cg_table *t, CompiledRules rules, uint64_t record, uint64_t generation,
                     const cg_answered *found) except -1:
    cdef uint64_t level, number = 0
    cdef int is_repeat = True, was_made
    for level in range(level_count(t, record)):
        was_made = cg_note_answer(
            activity_at(t, record, generation, level, found.ended_ms, &number), found,
            rules.pause_ms, rules.equal_rules, rules.refusal_rules, is_repeat)
        if level == 0:
            is_repeat = was_made
    return 0


cdef int note_rule_refusal(const cg_table *t, uint64_t record, uint64_t generation, uint64_t call,
                           uint64_t boot, uint64_t last) except -1:
    """Count a call that a rule refused at the level `last`: there and below, not above."""
    cdef uint64_t level, number = 0, ms = boot // MS
    for level in range(min(last + 1, level_count(t, record))):
        cg_note_rule_refusal(activity_at(t, record, generation, level, ms, &number), call, ms)
    return 0


cdef object note_refusal(const cg_table *t, CompiledRules rules, tuple watching, uint64_t record,
                         uint64_t generation, Py_ssize_t tool, uint64_t boot, list noted):
    cdef uint64_t level, count, number = 0, ms = boot // MS
    cdef CompiledRule rule
    cdef cg_activity *activity
    cdef int step
    found = None
    for level in range(level_count(t, record)):
        activity = activity_at(t, record, generation, level, ms, &number)
        count = cg_note_refusal(activity, ms, rules.pause_ms)
        for each in watching:
            rule = <CompiledRule>each
            # It only warns of a branch whose children are refused.
            step = (rule.step_at(count, WARNING if level else END)
                    if rule.kind == <unsigned>CG_REFUSED_CALLS else -1)
            if step >= 0:
                found = found or noted_step(rule, step, count, level, activity, noted)
        if found is not None:
            break  # a level above counts the calls for which no rule took a step below
    return found
