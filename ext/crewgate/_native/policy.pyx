"""A policy compiled for the gate: keys by kid, crews with their keys, prices as C arrays.

Each generation of the configuration gets a new one.
"""

from crewgate import limits
from crewgate.core import ids
from crewgate.core.policy import policy as model

from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from crewgate._native.signature cimport blake2b16
from crewgate._native.rules cimport CompiledRules
from crewgate._native.token cimport ascii_text, covers_name, pattern_reaches

cdef extern from "key_cache.h" nogil:
    ctypedef struct key_cache:
        pass
    key_cache *key_cache_place(const unsigned char *, size_t) noexcept
    bint key_cache_find(const key_cache *, const unsigned char *, size_t, uint64_t *) noexcept
    void key_cache_keep(key_cache *, const unsigned char *, size_t, const uint64_t *) noexcept

cdef int GRANT = ids.EntityKind.GRANT


cdef int table_key(Crew crew, int kind, const unsigned char *identifier, size_t n,
                   uint64_t *out) except -1:
    """Compute the key of `core.ids.table_key` without making Python objects."""
    cdef unsigned char text[512]
    cdef size_t length = len(crew.prefix)
    if n + length + 1 > sizeof(text):
        raise ValueError("an id that long has no key")
    text[0] = <unsigned char>kind
    memcpy(text + 1, <const char *>crew.prefix, length)
    memcpy(text + 1 + length, identifier, n)
    n += 1 + length
    # The id of a grant is used only once, so it would only displace other keys.
    cdef key_cache *place = key_cache_place(text, n) if kind != GRANT else NULL
    if place != NULL and key_cache_find(place, text, n, out):
        return 0
    blake2b16(text, n, <unsigned char *>out)
    if place != NULL:
        key_cache_keep(place, text, n, out)
    return 0


cdef class Ceiling:
    def __cinit__(self, ceiling):
        self.quota_max = ceiling.quota_max
        self.lifetime_max = ceiling.lifetime_seconds_max
        self.depth_max = ceiling.depth_max
        self.requires_binding = ceiling.requires_binding
        self.patterns = tuple(ceiling.tools)


cdef class Crew:
    def __cinit__(self, crew):
        name = crew.name.encode()
        self.name = crew.name
        self.issuer = crew.issuer
        self.observe = crew.observe
        self.ceiling = Ceiling(crew)
        self.roles = {role: Ceiling(each) for role, each in crew.roles.items()}
        self.orchestrators = {client: Ceiling(each) for client, each in crew.orchestrators.items()}
        self.prefix = bytes((len(name),)) + name
        table_key(self, ids.EntityKind.CREW, b"", 0, self.key)


cdef class Key:
    def __cinit__(self, key, Crew crew not None):
        kid = key.kid.encode()
        if len(key.public) != 32:
            raise ValueError(f"key {key.kid!r}: a public key has 32 bytes, not {len(key.public)}")
        self.kid = key.kid
        self.name = kid
        self.crew = crew
        self.public = key.public
        self.orchestrator = key.orchestrator
        table_key(crew, ids.EntityKind.KEY, kid, len(kid), self.key)


cdef class Policy:
    def __cinit__(self, policy):
        crews = {crew.name: Crew(crew) for crew in policy.crews}
        self.audience = policy.audience
        self.generation = policy.generation
        self.keys = {key.kid.encode(): Key(key, crews[key.crew]) for key in policy.keys}
        if len(self.keys) != len(policy.keys):
            raise ValueError("a kid is used twice: keys are found by kid alone")
        self.tool_count = len(policy.tools)
        self.tools = tuple([tool.name for tool in policy.tools])
        self.owner = tuple([None if tool.owner == model.SHARED else tool.owner
                            for tool in policy.tools])
        self.price = <uint64_t *>calloc(self.tool_count + 1, sizeof(uint64_t))
        self.observe = <uint8_t *>calloc(self.tool_count + 1, 1)
        self.requires_binding = <uint8_t *>calloc(self.tool_count + 1, 1)
        self.stale_open = <uint8_t *>calloc(self.tool_count + 1, 1)
        self.is_endpoint = <uint8_t *>calloc(self.tool_count + 1, 1)
        if (self.price == NULL or self.observe == NULL or self.requires_binding == NULL
                or self.stale_open == NULL or self.is_endpoint == NULL):
            raise MemoryError
        for at, tool in enumerate(policy.tools):
            if not 0 <= tool.price <= limits.price_micro_max:
                raise ValueError(f"tool {tool.name!r}: a price is 0 to {limits.price_micro_max} "
                                 f"micro-credits, not {tool.price}")
            self.price[<Py_ssize_t>at] = tool.price
            self.observe[<Py_ssize_t>at] = tool.observe
            self.requires_binding[<Py_ssize_t>at] = tool.requires_binding
            self.stale_open[<Py_ssize_t>at] = tool.stale_open
            self.is_endpoint[<Py_ssize_t>at] = tool.is_endpoint
        self.rules = CompiledRules(
            policy.loops, [self.watched_by(rule) for rule in policy.loops.rules])

    def __dealloc__(self):
        free(self.price)
        free(self.observe)
        free(self.requires_binding)
        free(self.stale_open)
        free(self.is_endpoint)

    cdef bytes watched_by(self, rule):
        """Return for each tool whether a rule on branches watches its calls."""
        patterns = tuple(rule.tools)
        return bytes([not patterns or self.covers(patterns, at) for at in range(self.tool_count)])

    cdef bint goes_on_stale(self, Py_ssize_t tool):
        """Whether the tool serves calls while this machine may lack the newest revocations."""
        return 0 <= tool < self.tool_count and self.stale_open[tool]

    cdef bint trusts(self, Key key):
        """Whether this policy has the key of an older one too, for the same signer."""
        cdef Key own = self.keys.get(key.name)
        return own is key or (
            own is not None and own.public == key.public and own.crew.name == key.crew.name
            and (own.orchestrator is None or own.orchestrator == key.orchestrator))

    cdef bint covers(self, tuple patterns, Py_ssize_t tool):
        """Whether a pattern of a grant or crew covers the tool, or reaches the endpoint."""
        cdef size_t n = 0
        cdef size_t m = 0
        cdef const unsigned char *name = ascii_text(self.tools[tool], &m)
        cdef const unsigned char *text
        if name == NULL:
            return False
        if not self.is_endpoint[tool]:
            return covers_name(patterns, name, m)
        for pattern in patterns:
            text = ascii_text(pattern, &n)
            if text != NULL and pattern_reaches(text, n, name, m):
                return True
        return False
