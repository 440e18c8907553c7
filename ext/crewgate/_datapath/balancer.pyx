"""Chooses the host for the next call and counts the calls of each; see the stub.

It chooses a host that failed a moment ago only if there is no other. It never chooses a host whose
circuit is open. Hosts with equally many calls take turns.
"""

# Added to the load of a host that just failed; more than any number of calls.
cdef Py_ssize_t SUSPECT_LOAD = 2**32


cdef class Admission:
    """See the stub."""

    def __cinit__(self, *_, **__):
        self.admits = True


cdef class HostLoad:
    """See the stub."""

    def __class_getitem__(cls, _):
        return cls

    def __init__(self, Admission breaker not None):
        self.breaker = breaker


cdef class HostChooser:
    """See the stub."""

    def __class_getitem__(cls, _):
        return cls

    def __cinit__(self, *_, **__):
        self.hosts = []

    def __len__(self):
        return len(self.hosts)

    def __iter__(self):
        return iter(self.hosts)

    def set_hosts(self, hosts):
        self.hosts = list(hosts)
        self.next_index = self.next_index % len(self.hosts) if self.hosts else 0

    cdef Py_ssize_t choose(self, double now, object avoid) except -2:
        """Return the index of the host for the next call, or -1; change nothing."""
        cdef Py_ssize_t step, index, best_index = -1, count = len(self.hosts)
        cdef Py_ssize_t load, least_load = 2 * SUSPECT_LOAD
        cdef HostLoad host
        for step in range(count):
            index = (self.next_index + step) % count
            host = self.hosts[index]
            if not host.breaker.admits or (avoid and host in avoid):
                continue
            load = host.outstanding
            if now < host.breaker.doubt_until:
                load += SUSPECT_LOAD
            if load < least_load:
                best_index, least_load = index, load
                if not load:
                    break
        return best_index

    cdef HostLoad use(self, Py_ssize_t index):
        """Count a call of the host at `index`, which `choose` has returned."""
        cdef HostLoad host = self.hosts[index]
        self.next_index = (index + 1) % len(self.hosts)
        host.outstanding += 1
        return host

    cpdef take(self, double now, avoid=()):
        cdef Py_ssize_t index = self.choose(now, avoid)
        return None if index < 0 else self.use(index)

    cpdef give_back(self, HostLoad host):
        if not host.outstanding:
            raise RuntimeError(f"{host!r} has no call under way")
        host.outstanding -= 1

    cpdef answered(self, HostLoad host):
        if host.breaker.doubt_until:  # otherwise there is no failure to forget
            host.breaker.answered()
