"""Counts the calls of an upstream, and hands its connections from call to call; see the stub."""

from crewgate._datapath.balancer cimport HostChooser, HostLoad
from crewgate._datapath.host_connections cimport HostConnections
from crewgate._datapath.pooled_connection cimport PooledConnection
from crewgate._datapath.retry_budget cimport RetryBudget


cdef class PoolCallbacks:
    """See the stub."""

    @property
    def now(self):
        return monotonic()

    cpdef left(self, connection, bint answered):
        raise NotImplementedError

    cpdef freed(self, connection):
        raise NotImplementedError

    def rests(self, connection):
        raise NotImplementedError

    def ended(self, connection):
        raise NotImplementedError

    def broke(self, connection, caller, error, delivery):
        raise NotImplementedError


cdef class ConnectionPool(PoolCallbacks):
    """See the stub."""

    def __init__(
        self,
        HostChooser hosts not None,
        RetryBudget retry_budget not None,
        dict by_host not None,
        dict by_connection not None,
        *,
        double first_byte_seconds,
        double idle_seconds,
        double keep_seconds,
        bint retries,
        str reuse not None,
    ):
        self.hosts = hosts
        self.retry_budget = retry_budget
        self.first_byte_seconds = first_byte_seconds
        self.idle_seconds = idle_seconds
        self.keep_seconds = keep_seconds
        self.retries = retries
        self.reuse = reuse
        self.by_host = by_host
        self.by_connection = by_connection

    cpdef reuse_key(self, permit):
        if self.reuse == "crew":
            return permit.grant.caller
        return permit.grant.branch_key if self.reuse == "branch" else ""

    cpdef left(self, connection, bint answered):
        cdef HostLoad host = connection.host
        self.hosts.give_back(host)
        if answered:
            self.hosts.answered(host)

    cpdef freed(self, connection):
        cdef HostConnections pool = self.by_connection[connection]
        pool.free.add(connection)
        if pool.waiting.needed:
            self.serve_waiting(pool)
        if self.is_closed or pool.host.gone or self.others_wait(pool):
            connection.close()

    cdef bint others_wait(self, HostConnections pool) except -1:
        """Return whether the connections of `pool` keep calls for other hosts waiting."""
        if len(self.by_host) > 1:
            for other in self.by_host.values():
                if other is not pool and (<HostConnections>other).waiting.needed:
                    return self.is_in_the_way(pool)
        return False

    cpdef take_idle(self, reuse_key, bint idempotent):
        """Take a stream for a straight call, as `UpstreamPool.start` does for an ordinary one."""
        cdef double now = monotonic()
        cdef Py_ssize_t index = self.hosts.choose(now, None)
        cdef PooledConnection connection
        if index < 0:
            return None
        cdef HostConnections pool = self.by_host[self.hosts.hosts[index]]
        while True:
            connection = pool.free.take(reuse_key)
            if connection is None:
                return None
            if connection.may_carry(idempotent):
                break
            connection.close()
        connection.reuse_key = reuse_key
        if connection.free_count() > 1:
            pool.free.add(connection)
        self.hosts.use(index)
        self.retry_budget.called(now)
        return connection.straight_stream()
