"""Counts into shared memory: counters, gauges, histograms, and the calls of the audit.

metrics_shard.h has the layout and its rules; metrics_reader.pyx reads the shards of all processes.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap

import errno
import os

SHARD_BYTES = <size_t>MX_SHARD_BYTES
BATCH_CALLS_MAX = <uint32_t>MX_JOURNAL
KINDS = {"counter": MX_COUNTER, "gauge": MX_GAUGE, "histogram": MX_HISTOGRAM}
MERGES = {"sum": MX_SUM, "max": MX_MAX}


cdef extern from "fault_injection.h" nogil:
    bint cg_arm_fault(int64_t stores)


def arm_fault(int64_t stores):
    """See the stub."""
    return cg_arm_fault(stores)


cdef class MetricsShard:
    """See the stub."""

    def __cinit__(self, int descriptor, uint32_t index):
        cdef size_t start = index * MX_SHARD_BYTES
        if os.fstat(descriptor).st_size < <object>(start + MX_SHARD_BYTES):
            raise ValueError(f"the memory of the metrics has no shard {index}")
        cdef void *base = mmap(NULL, MX_SHARD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                               descriptor, <long>start)
        if base == MAP_FAILED:
            raise OSError(errno.ENOMEM, "the memory of the metrics cannot be mapped")
        self.shard = <mx_shard *>base
        if self.shard.magic == 0:
            self.shard.magic = MX_MAGIC
        elif self.shard.magic != MX_MAGIC:
            raise ValueError("the memory of the metrics is of another version")
        if not mx_has_room(self.shard):
            raise ValueError("a broken process has damaged the memory of the metrics")
        self.numbers = {}
        cdef uint32_t number
        cdef mx_entry *entry
        for number in range(min(mx_noted(&self.shard.entries), MX_ENTRIES)):
            entry = &self.shard.directory[number]
            if mx_is_sound(self.shard, entry):
                text = self.shard.text + entry.text
                name = text[:entry.name_size]
                labels = (text + entry.name_size)[:entry.labels_size]
                self.numbers[name + b"\0" + labels] = number

    def __dealloc__(self):
        if self.shard != NULL:
            munmap(self.shard, MX_SHARD_BYTES)

    cdef mx_cell *row(self, uint32_t number) noexcept:
        return &self.shard.cells[self.shard.directory[number].cell]

    cdef bint has_layout(self, uint32_t number, uint8_t kind, uint8_t scale, uint8_t merge,
                         tuple bounds, bint exemplars):
        """Whether an entry is as declared; a predecessor may be of another version, or broken."""
        cdef const mx_entry *entry = &self.shard.directory[number]
        cdef const mx_cell *row = self.row(number)
        if (entry.kind, entry.scale, entry.merge) != (kind, scale, merge):
            return False
        if kind != MX_HISTOGRAM:
            return True
        if mx_get(row) != (<int64_t>len(bounds) | <int64_t>exemplars << 16):
            return False
        for at, bound in enumerate(bounds, 1):
            if mx_get(row + <int>at) != bound:
                return False
        return True

    def enter(self, bytes name not None, bytes labels not None, str kind not None, *,
              int scale=0, str merge="sum", tuple bounds=(), bint exemplars=False,
              bint spare=False):
        cdef bytes key = name + b"\0" + labels
        cdef object known = self.numbers.get(key)
        cdef uint32_t count = <uint32_t>len(bounds)
        cdef uint32_t cells = 1
        cdef mx_entry entry
        cdef mx_cell *row
        cdef int64_t number
        if known is not None and self.has_layout(
                <uint32_t>known, KINDS[kind], scale, MERGES[merge], bounds, exemplars):
            mx_note(&self.shard.directory[<uint32_t>known].shown, 1)
            return known
        if count > MX_BOUNDS_MAX or len(name) > 255 or len(labels) > 4096 or not 0 <= scale <= 9:
            raise ValueError("a series has too many bounds, too long a name, or another scale")
        memset(&entry, 0, sizeof(entry))
        entry.name_size, entry.labels_size = <uint16_t>len(name), <uint16_t>len(labels)
        entry.kind, entry.merge = <uint8_t>KINDS[kind], <uint8_t>MERGES[merge]
        entry.scale = <uint8_t>scale
        if entry.kind == MX_HISTOGRAM:
            cells = MX_HISTOGRAM_CELLS(count, exemplars)
        cdef bytes text = name + labels
        number = mx_enter(self.shard, text, entry, cells, spare)
        if number < 0:
            return None
        if entry.kind == MX_HISTOGRAM:
            row = self.row(<uint32_t>number)
            mx_set(row, <int64_t>count | <int64_t>exemplars << 16)
            for at, bound in enumerate(bounds, 1):
                mx_set(row + <int>at, bound)
        mx_note(&self.shard.directory[number].shown, 1)
        mx_note(&self.shard.entries, <uint32_t>number + 1)
        self.numbers[key] = number
        return number

    @property
    def file(self):
        return self.shard.file[:MX_FILE - 1].split(b"\0", 1)[0]

    @file.setter
    def file(self, bytes path not None):
        mx_note(&self.shard.pending, 0)
        memset(self.shard.file, 0, MX_FILE)
        if len(path) < <Py_ssize_t>MX_FILE:
            memcpy(self.shard.file, <const char *>path, len(path))

    def begin(self, CallBatch batch not None, uint64_t start, uint64_t more=0):
        mx_begin(self.shard, batch.calls, batch.count, start, more)
        batch.count = 0

    def commit(self, Series lines=None, int64_t written=0):
        mx_commit(self.shard)
        if lines is not None:
            mx_add(lines.cells, written)

    def replay(self, uint64_t size):
        mx_replay(self.shard, size)

    def hide(self, uint32_t number):
        if number >= mx_noted(&self.shard.entries):
            raise ValueError("there is no such series")
        mx_note(&self.shard.directory[number].shown, 0)

    def hide_gauges(self):
        cdef uint32_t number
        for number in range(min(mx_noted(&self.shard.entries), MX_ENTRIES)):
            if self.shard.directory[number].kind == MX_GAUGE:
                mx_note(&self.shard.directory[number].shown, 0)


cdef class Series:
    """See the stub."""

    def __cinit__(self, MetricsShard shard not None, uint32_t number):
        if number >= mx_noted(&shard.shard.entries):
            raise ValueError("there is no such series")
        self.shard, self.number = shard, number
        self.cell = shard.shard.directory[number].cell
        self.cells = shard.row(number)
        self.base = mx_get(self.cells)

    def add(self, int64_t by=1):
        mx_add(self.cells, by)

    def set(self, int64_t value):
        mx_set(self.cells, value)

    def follow(self, int64_t total):
        mx_set(self.cells, self.base + total)

    def observe(self, int64_t value):
        mx_observe(self.cells, value)

    @property
    def value(self):
        return mx_get(self.cells)


cdef class CallSeries:
    """See the stub."""

    def __cinit__(self, tuple histograms not None, tuple counters not None):
        if len(histograms) > MX_TIMES or len(counters) > MX_AMOUNTS:
            raise ValueError("a call has at most three histograms and four counters")
        memset(&self.call, 0, sizeof(mx_call))
        for at, each in enumerate(histograms):
            if each is not None:
                self.call.histograms[<int>at] = (<Series?>each).cell
        for at, each in enumerate(counters):
            self.call.counters[<int>at] = (<Series?>each).cell


cdef class CallBatch:
    """See the stub."""

    def __cinit__(self):
        self.calls = <mx_call *>calloc(MX_JOURNAL, sizeof(mx_call))
        if self.calls == NULL:
            raise MemoryError
        self.count = 0

    def __dealloc__(self):
        free(self.calls)

    def __len__(self):
        return self.count

    def clear(self):
        self.count = 0

    def add(self, CallSeries series not None, Py_ssize_t line_bytes, int64_t duration,
            int64_t upstream, int64_t verdict, int64_t reserved, int64_t spent, int64_t overrun):
        self.put(series, line_bytes, duration, upstream, verdict, reserved, spent, overrun)

    cdef int put(self, CallSeries series, Py_ssize_t line_bytes, int64_t duration,
                 int64_t upstream, int64_t verdict, int64_t reserved, int64_t spent,
                 int64_t overrun) except -1:
        cdef mx_call *call
        if self.count >= MX_JOURNAL:
            raise ValueError("the batch is full")
        call = &self.calls[self.count]
        self.count += 1
        call[0] = series.call
        call.end = <uint64_t>line_bytes
        call.times[0], call.times[1], call.times[2] = duration, upstream, verdict
        call.amounts[0] = 1
        call.amounts[1], call.amounts[2], call.amounts[3] = reserved, spent, overrun
        return 0

    def exemplar(self, bytes trace not None, bytes span not None, int64_t time_ns):
        cdef mx_call *call
        if not self.count or len(trace) != 16 or len(span) != 8:
            raise ValueError("an exemplar has a call, a trace id of 16 bytes and a span id of 8")
        call = &self.calls[self.count - 1]
        memcpy(&call.exemplar[0], <const char *>trace, 16)
        memcpy(&call.exemplar[2], <const char *>span, 8)
        call.exemplar[3] = time_ns
