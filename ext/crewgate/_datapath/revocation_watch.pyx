"""Compares the table's revocation generation with the one of the last scan; see the stub."""

from crewgate import limits

from libc.stdint cimport UINT64_MAX, uint64_t

from crewgate._datapath.turn_work cimport TurnCheck
from crewgate._native.table cimport Table, cg_get


cdef class RevocationWatch(TurnCheck):
    """See the stub."""

    cdef Table table
    cdef uint64_t seen              # the generation at the last scan
    cdef uint64_t scan_after_ns     # CLOCK_MONOTONIC
    cdef uint64_t pause_ns
    cdef object is_needed, scan

    def __cinit__(self, is_needed, scan):
        self.is_needed, self.scan = is_needed, scan
        self.seen = UINT64_MAX
        self.pause_ns = <uint64_t>(limits.revocation_look_seconds * 1e9)

    def use(self, Table table not None):
        self.table = table

    def start(self):
        self.is_timed = True

    cdef int run(self, uint64_t now_ns, bint is_quiet) except -1:
        cdef uint64_t generation
        if self.table is None or not self.is_timed:
            return 0
        if is_quiet:
            self.is_timed = bool(self.is_needed())
        if now_ns < self.scan_after_ns:
            return 0
        self.table.check_open()
        generation = cg_get(&self.table.t.header.revocation_generation)
        if generation != self.seen or cg_get(&self.table.t.header.retired):
            self.seen = generation
            self.scan_after_ns = now_ns + self.pause_ns
            self.scan()
        return 0
