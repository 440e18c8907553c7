"""Keeps values that depend on a grant alone: most calls have the grant of an earlier call."""

from crewgate import limits

from cpython.ref cimport PyObject


cdef class GrantCache:
    """See the stub."""

    def __cinit__(self, make):
        self.make = make
        self.known = {}
        self.entries_max = limits.grant_cache_entries_max

    def __len__(self):
        return len(self.known)

    def of(self, grant not None):
        return self.value_of(grant)

    cdef object value_of(self, object grant):
        address = <size_t><PyObject *>grant
        found = self.known.get(address)
        if found is not None:
            return (<tuple>found)[1]
        made = self.make(grant)
        if len(self.known) >= self.entries_max:
            del self.known[next(iter(self.known))]
        self.known[address] = (grant, made)
        return made
