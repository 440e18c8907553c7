"""Verified tokens, and a bounded cache of them.

The cache finds an entry by a keyed hash of the token's signature, and then compares the whole token
byte for byte. An entry has only what cannot change while its policy is in force. The gate checks
times, revocations, scope and credit on every hit (`gate.pyx`). Refused tokens are not cached.
"""

import secrets

from crewgate import limits
from crewgate.core.ids import EntityKind
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.revocation_kinds import NAMED_IN_TOKENS
from crewgate.core.tokens.grant import Grant
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from crewgate._native.call_limits cimport LimitSet
from crewgate._native.credit cimport cg_holds
from crewgate._native.policy cimport Ceiling, Crew, Key, Policy, table_key
from crewgate._native.proof cimport KeyBinding, digest_of
from crewgate._native.signature cimport blake2b16, verify_joined
from crewgate._native.table cimport (
    CG_GENERATION, Table, cg_branch, cg_branches, cg_get, cg_index, cg_is_token_revoked, cg_lookup,
    cg_table,
)
from crewgate._native.token cimport Ids, ascii_text, covers_name, decode, jws_parts, split_parts

from crewgate._native.token import MalformedTokenError

cdef int BRANCH = EntityKind.BRANCH
cdef int GRANT = EntityKind.GRANT
# The other names in a token: kind, claim, and whether there is a key for all crews as well. The key
# of the grant comes first.
cdef tuple NAMED = tuple([(int(each.kind), each.claim, each.spans_crews) for each in NAMED_IN_TOKENS
                          if each.kind is not EntityKind.GRANT])
cdef Crew ALL_CREWS = Crew(CrewPolicy(name="", issuer=""))
cdef int64_t SECOND = 1_000_000_000
cdef int64_t LEEWAY = limits.leeway_seconds
cdef Py_ssize_t WAYS = 4
cdef Py_ssize_t ENTRY_BYTES = 4096     # Python objects of an entry without its token, measured
cdef Py_ssize_t BYTES_MAX = limits.token_cache_bytes_max
cdef uint64_t ODD = <uint64_t>0x9e3779b97f4a7c15   # 2^64 / golden ratio, Knuth 6.4
cdef object INVALID = Denial(Reason.INVALID_TOKEN)

# The grant, its branch and all above it, its other names, its crew and its signing key.
if 2 + limits.depth_max + len(NAMED) + sum([spans for _, _, spans in NAMED]) + 2 > KEYS_MAX:
    raise ImportError("VerifiedToken has too few keys for what a token names: raise KEYS_MAX")


@cython.no_gc  # its bytes, claims and keys have no reference to it
cdef class VerifiedToken:
    def __dealloc__(self):
        free(self.allowed)

    @property
    def grant(self):
        """The Grant, made at its first use; most verdicts do not need it."""
        return self.granted()

    cdef object granted(self):
        cdef int first = 2               # after the keys of the grant and the branch
        cdef int at
        if self.made is None:
            path = tuple([sixteen(self.keys + 2 * (first + at)) for at in range(self.depth)])
            self.made = Grant(self.claims, self.crew.name, self.key.kid, self.quota,
                              sixteen(self.branch), path, sixteen(self.path))
        return self.made

    @property
    def revocable(self):
        """The keys whose revocation ends the token."""
        return tuple([sixteen(self.keys + 2 * at) for at in range(self.key_count)])

    cdef bint allows_name(self, str name):
        """Whether the grant and its ceilings allow what has this id at an endpoint."""
        cdef bytes text = name.encode()
        cdef const unsigned char *octets = <const unsigned char *>text
        for ceiling in self.ceilings:
            if not covers_name((<Ceiling>ceiling).patterns, octets, len(text)):
                return False
        return covers_name(tuple(self.claims.allowed_tools), octets, len(text))

    cdef int add(self, const uint64_t *key) except -1:
        self.keys[2 * self.key_count] = key[0]
        self.keys[2 * self.key_count + 1] = key[1]
        self.key_count += 1
        return 0

    cdef bint allows(self, Policy policy, Py_ssize_t tool):
        """Whether grant and ceilings allow the tool; the entry caches the result by tool."""
        if self.allowed == NULL:
            self.allowed = <uint8_t *>calloc(policy.tool_count, 1)
            if self.allowed == NULL:
                raise MemoryError
        if self.allowed[tool] == 0:
            self.allowed[tool] = 2 if self.covers(policy, tool) else 1
        return self.allowed[tool] == 2

    cdef LimitSet limits_of(self, Policy policy, Py_ssize_t tool, str name):
        """Return the limits of a call, if the policy has any; the entry keeps them by tool."""
        if name is not None:
            return policy.limits.find(self.crew.name, self.claims.agent_role, tool, name)
        if self.limits is not None and self.limited_tool == tool:
            return self.limits
        if self.limits_by_tool is None:
            self.limits_by_tool = {}
        found = self.limits_by_tool.get(tool)
        if found is None:
            found = policy.limits.find(self.crew.name, self.claims.agent_role, tool, None)
            self.limits_by_tool[tool] = found
        self.limits, self.limited_tool = found, tool
        return self.limits

    cdef bint covers(self, Policy policy, Py_ssize_t tool):
        for ceiling in self.ceilings:
            if not policy.covers((<Ceiling>ceiling).patterns, tool):
                return False
        return policy.covers(tuple(self.claims.allowed_tools), tool)


cdef int named(VerifiedToken entry, Crew crew, int kind, object text) except -1:
    """Add the key of (kind, crew, text), whose revocation ends the token."""
    cdef uint64_t key[2]
    cdef size_t n = 0
    cdef const unsigned char *characters = ascii_text(text, &n)
    table_key(crew, kind, characters, n, key)
    return entry.add(key)


cdef bytes sixteen(const uint64_t *key):
    return (<const char *>key)[:16]


cdef object verify(Policy policy, bytes token):
    cdef jws_parts parts
    cdef Ids ids
    cdef int good
    if not split_parts(<const unsigned char *>token, len(token), &parts):
        return INVALID
    cdef Key key = policy.keys.get((<const char *>parts.kid)[:parts.kid_size])
    if key is None:
        return INVALID
    cdef const unsigned char *public = <const unsigned char *>key.public
    with nogil:
        good = verify_joined(parts.joined, parts.joined_size, public)
    if not good:
        return INVALID
    try:
        claims = decode(parts.payload, parts.payload_size, &ids)
    except MalformedTokenError:
        return INVALID
    cdef VerifiedToken entry = describe(token, claims, key, &ids)
    entry.rules = policy.rules.watching(entry.crew.name, claims.agent_role)
    reason = ceilings(policy, key, claims, entry)
    return entry if reason is None else Denial(reason, entry.grant)


cdef VerifiedToken describe(bytes token, object claims, Key key, Ids *ids):
    """Make the entry of verified claims, with the keys of all their names in the crew."""
    cdef VerifiedToken entry = VerifiedToken.__new__(VerifiedToken)
    cdef Crew crew = key.crew
    cdef uint64_t path[16]
    cdef size_t at
    entry.token = token
    entry.claims = claims
    entry.key = key
    entry.crew = crew
    entry.depth = <int>ids.depth
    limit(entry, crew)
    entry.issued_at = claims.iat
    cdef int64_t starts = <int64_t>entry.issued_at
    cdef int64_t ends = claims.exp
    nbf = claims.nbf
    if nbf is not None:
        starts = max(starts, <int64_t>nbf)
    entry.not_before = (starts - LEEWAY) * SECOND
    entry.not_after = (ends + LEEWAY) * SECOND
    bind(entry, claims.cnf)
    named(entry, crew, GRANT, claims.jti)
    memcpy(entry.jti, entry.keys, 16)
    table_key(crew, BRANCH, ids.branch, 16, entry.branch)
    entry.add(entry.branch)
    for at in range(ids.depth):
        table_key(crew, BRANCH, ids.path[at], 16, path + 2 * at)
        entry.add(path + 2 * at)
    entry.path[0] = entry.path[1] = 0
    if ids.depth:
        blake2b16(<const unsigned char *>path, 16 * ids.depth, <unsigned char *>entry.path)
    for kind, claim, spans_crews in NAMED:
        named(entry, crew, kind, getattr(claims, claim))
        if spans_crews:
            named(entry, ALL_CREWS, kind, getattr(claims, claim))
    entry.add(crew.key)
    entry.add(key.key)
    return entry


cdef int limit(VerifiedToken entry, Crew crew) except -1:
    """Keep the ceilings that apply: of the crew, of the token's role and of its orchestrator."""
    claims = entry.claims
    found = [crew.ceiling, crew.roles.get(claims.agent_role),
             crew.orchestrators.get(claims.client_id)]
    entry.ceilings = tuple([each for each in found if each is not None])
    entry.quota = claims.credit_quota
    for each in entry.ceilings:
        entry.quota = min(entry.quota, (<Ceiling>each).quota_max)
        entry.requires_binding = entry.requires_binding or (<Ceiling>each).requires_binding
    return 0


cdef int bind(VerifiedToken entry, object confirmation) except -1:
    """Keep what the presenter of a bound token must show (RFC 7800, section 3)."""
    if confirmation is None:
        return 0
    entry.is_bound = True
    if confirmation.jkt is not None:
        entry.binding = KeyBinding(confirmation.jkt, entry.token)
    if confirmation.x5t is not None:
        entry.certificate = digest_of(confirmation.x5t)
    return 0


cdef object ceilings(Policy policy, Key key, object claims, VerifiedToken entry):
    """Return the Reason to refuse claims that this key may never sign, else None."""
    cdef Crew crew = key.crew
    if claims.iss != crew.issuer or claims.crew != crew.name or (
            key.orchestrator is not None and claims.client_id != key.orchestrator):
        return Reason.WRONG_ISSUER
    audience = claims.aud
    if audience != policy.audience and (
            isinstance(audience, str) or policy.audience not in audience):
        return Reason.WRONG_AUDIENCE
    cdef int64_t lifetime = entry.not_after // SECOND - LEEWAY - <int64_t>entry.issued_at
    if crew.roles and claims.agent_role not in crew.roles:
        return Reason.ROLE_NOT_ALLOWED
    for ceiling in entry.ceilings:
        if lifetime <= 0 or lifetime > <int64_t>(<Ceiling>ceiling).lifetime_max:
            return Reason.TOKEN_LIFETIME
    for ceiling in entry.ceilings:
        if entry.depth > <int64_t>(<Ceiling>ceiling).depth_max:
            return Reason.TOKEN_CEILING
    return None


cdef object untimely(VerifiedToken entry, int64_t now):
    if now >= entry.not_after:
        return Denial(Reason.TOKEN_EXPIRED, entry.grant)
    if now < entry.not_before:
        return Denial(Reason.TOKEN_NOT_YET_VALID, entry.grant)
    return None


cdef class TokenCache:
    """A cache with four entries per set, which evicts to stay within a set and within its bytes."""

    def __cinit__(self):
        cdef bytes random = secrets.token_bytes(16)
        memcpy(self.seed, <const char *>random, 16)
        self.entries = [None] * limits.token_cache_entries_max
        self.mask = limits.token_cache_entries_max // WAYS - 1

    cdef Py_ssize_t home(self, bytes token):
        """Return the first place of the token's set, by a keyed hash of its last 80 characters,
        which are in the signature. With the key, nobody can choose tokens that evict others."""
        cdef uint64_t hash = self.seed[0]
        cdef uint64_t word
        cdef int at
        cdef Py_ssize_t length = len(token)
        cdef const unsigned char *end = <const unsigned char *>token + length
        if length < 88:
            return -1
        for at in range(10):
            memcpy(&word, end - 80 + 8 * at, 8)
            hash = (hash ^ word) * ODD + self.seed[1]
            hash ^= hash >> 29
        return <Py_ssize_t>((hash >> 7) & <uint64_t>self.mask) * WAYS

    cdef VerifiedToken find(self, bytes token):
        cdef Py_ssize_t home = self.home(token)
        cdef Py_ssize_t at
        cdef VerifiedToken entry
        if home < 0:
            return None
        for at in range(home, home + WAYS):
            found = self.entries[at]
            if found is None:
                continue
            entry = <VerifiedToken>found
            if len(entry.token) == len(token) and not memcmp(
                    <const char *>entry.token, <const char *>token, len(token)):
                return entry
        return None

    cdef int add(self, VerifiedToken entry) except -1:
        cdef Py_ssize_t home = self.home(entry.token)
        cdef Py_ssize_t at, victim = home
        for at in range(home, home + WAYS):
            if self.entries[at] is None:
                victim = at
                break
            if ((<VerifiedToken>self.entries[at]).not_after
                    < (<VerifiedToken>self.entries[victim]).not_after):
                victim = at
        self.drop(victim)
        while self.bytes_held + ENTRY_BYTES + 2 * len(entry.token) > BYTES_MAX:
            self.hand = (self.hand + 1) % <Py_ssize_t>len(self.entries)
            self.drop(self.hand)
        self.entries[victim] = entry
        self.size += 1
        self.bytes_held += ENTRY_BYTES + 2 * len(entry.token)
        return 0

    cdef int drop(self, Py_ssize_t at) except -1:
        entry = self.entries[at]
        if entry is not None:
            self.entries[at] = None
            self.size -= 1
            self.bytes_held -= ENTRY_BYTES + 2 * len((<VerifiedToken>entry).token)
        return 0

    cdef int clear(self) except -1:
        self.entries = [None] * <Py_ssize_t>len(self.entries)
        self.size = self.bytes_held = 0
        return 0


cdef cg_branch *find_branch(Table table, VerifiedToken entry):
    """Return the record of the branch, or NULL. The entry caches where it was found last."""
    cdef cg_table *t = &table.t
    cdef cg_index index = cg_branches(t)
    cdef int64_t number
    if entry.generation == 0 or entry.record >= index.records or not cg_holds(
            &index, entry.record, entry.branch[0], entry.branch[1]):
        number = cg_lookup(t, &index, entry.branch[0], entry.branch[1])
        if number < 0:
            return NULL
        entry.record = <uint64_t>number
    # Read the life before the key is compared again. If the record is reclaimed meanwhile, the
    # generation is one that no compare-and-swap accepts.
    entry.generation = CG_GENERATION(cg_get(&t.branch[entry.record].life))
    if not cg_holds(&index, entry.record, entry.branch[0], entry.branch[1]):
        entry.generation = 0
        return NULL
    return &t.branch[entry.record]


cdef bint is_revoked(Table table, VerifiedToken entry):
    """Whether the grant or anything above it is revoked, or its branch is closed."""
    if cg_is_token_revoked(&table.t, entry.keys, entry.key_count, entry.issued_at,
                           &entry.clear_search):
        return True
    cdef cg_branch *branch = find_branch(table, entry)
    return branch != NULL and cg_get(&branch.closed) != 0
