"""The C interface of a compiled policy."""

from libc.stdint cimport uint8_t, uint64_t

from crewgate._native.call_limits cimport PolicyLimits
from crewgate._native.rules cimport CompiledRules


cdef class Ceiling:
    """The limits of a crew, of one of its roles, or of one of its orchestrators."""
    cdef uint64_t quota_max, lifetime_max, depth_max
    cdef bint requires_binding
    cdef tuple patterns


cdef class Crew:
    cdef readonly str name
    cdef readonly str issuer
    cdef readonly bint observe
    cdef Ceiling ceiling
    cdef dict roles              # agent_role → Ceiling; empty if the crew lists no roles
    cdef dict orchestrators      # client_id → Ceiling
    cdef uint64_t key[2]
    cdef bytes prefix            # what BLAKE2b hashes before an id, without the kind


cdef class Key:
    cdef readonly str kid
    cdef bytes name              # the kid, by which a policy finds it
    cdef readonly Crew crew
    cdef readonly bytes public
    cdef readonly object orchestrator
    cdef uint64_t key[2]


cdef class Policy:
    cdef readonly str audience
    cdef readonly uint64_t generation
    cdef dict keys               # kid as bytes → Key
    cdef readonly tuple tools    # names
    cdef uint64_t *price
    cdef uint8_t *observe
    cdef uint8_t *requires_binding
    cdef uint8_t *stale_open     # served without the newest revocations
    cdef uint8_t *is_endpoint    # calls name what they use there
    cdef tuple owner             # crew name, or None if shared
    cdef CompiledRules rules
    cdef Py_ssize_t tool_count
    cdef PolicyLimits limits     # None if calls are not limited

    cdef bytes watched_by(self, rule)
    cdef bint goes_on_stale(self, Py_ssize_t tool)
    cdef bint trusts(self, Key key)
    cdef bint covers(self, tuple patterns, Py_ssize_t tool)


cdef int table_key(Crew crew, int kind, const unsigned char *identifier, size_t n,
                   uint64_t *out) except -1
