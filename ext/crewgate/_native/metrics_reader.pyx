"""Reads the metrics of all processes of a machine, and writes them as Prometheus reads them.

Nothing in a shard is trusted: its process may be broken, and must not harm the reader or the counts
of others. An entry counts only if it is as its metric is declared, and is copied before it is
checked.
"""

from crewgate._native.metrics cimport (
    MX_CELLS, MX_COUNTER, MX_ENTRIES, MX_EXEMPLAR_CELLS, MX_GAUGE, MX_HISTOGRAM,
    MX_HISTOGRAM_CELLS, MX_MAGIC, MX_MAX, MX_SHARD_BYTES, mx_cell, mx_decimal, mx_entry, mx_get,
    mx_is_sound, mx_noted, mx_read_exemplar, mx_shard,
)
from crewgate._native.metrics import KINDS, MERGES

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, mmap, munmap

import errno
import os


cdef struct Part:
    # A series of one shard.
    const mx_entry *entry
    const mx_cell *cells


cdef class MergedSeries:
    """One series of the machine: its parts in the shards of the processes."""

    cdef Part *parts
    cdef uint32_t count
    cdef readonly bytes labels

    def __cinit__(self, bytes labels):
        self.parts = NULL
        self.count = 0
        self.labels = labels

    def __dealloc__(self):
        free(self.parts)

    def __lt__(self, MergedSeries other):
        return self.labels < other.labels

    cdef int add(self, const mx_entry *entry, const mx_cell *cells) except -1:
        cdef Part *more = <Part *>realloc(self.parts, (self.count + 1) * sizeof(Part))
        if more == NULL:
            raise MemoryError
        self.parts = more
        more[self.count].entry, more[self.count].cells = entry, cells
        self.count += 1
        return 0


cdef class DeclaredFamily:
    """See the stub."""

    cdef bytes name, plain, open_metrics
    cdef object accepts
    cdef tuple bounds
    cdef uint8_t kind, scale, merge
    cdef bint exemplars
    cdef dict series   # labels -> MergedSeries
    cdef list ordered  # the series by their labels

    def __cinit__(self, bytes name not None, bytes plain not None, bytes open_metrics not None,
                  accepts, *, str kind not None, int scale=0, str merge="sum", tuple bounds=(),
                  bint exemplars=False):
        self.name, self.plain, self.open_metrics = name, plain, open_metrics
        self.accepts, self.bounds, self.exemplars = accepts, bounds, exemplars
        self.kind, self.scale, self.merge = KINDS[kind], scale, MERGES[merge]
        self.series, self.ordered = {}, []

    cdef bint describes(self, const mx_shard *shard, const mx_entry *entry) except -1:
        """Whether an entry is of this family, as it is declared here."""
        cdef const mx_cell *row = shard.cells + entry.cell
        cdef uint32_t count = <uint32_t>len(self.bounds)
        if (entry.kind, entry.scale, entry.merge) != (self.kind, self.scale, self.merge):
            return False
        if self.kind != MX_HISTOGRAM:
            return True
        if (MX_HISTOGRAM_CELLS(count, self.exemplars) > MX_CELLS - entry.cell
                or mx_get(row) != (<int64_t>count | <int64_t>self.exemplars << 16)):
            return False
        for at, bound in enumerate(self.bounds, 1):
            if mx_get(row + <int>at) != bound:
                return False
        return True


cdef class Text:
    """A growing text."""

    cdef char *start
    cdef size_t used, room

    def __dealloc__(self):
        free(self.start)

    cdef char *want(self, size_t more) except NULL:
        """Return where the next `more` bytes go."""
        cdef size_t room = self.room
        cdef char *start
        if self.used + more > room:
            room = max(2 * room, self.used + more, <size_t>65536)
            start = <char *>realloc(self.start, room)
            if start == NULL:
                raise MemoryError
            self.start, self.room = start, room
        return self.start + self.used

    cdef int put(self, bytes text) except -1:
        cdef size_t size = <size_t>PyBytes_GET_SIZE(text)
        memcpy(self.want(size), PyBytes_AS_STRING(text), size)
        self.used += size
        return 0

    cdef int number(self, int64_t value, unsigned scale) except -1:
        cdef char *to = self.want(24)
        self.used += <size_t>(mx_decimal(to, value, scale) - to)
        return 0


cdef class MetricsReader:
    """See the stub."""

    cdef char *base
    cdef size_t size
    cdef uint32_t shards
    cdef list seen       # the number of entries of each shard that have been read
    cdef dict families   # by their names, in the order of the text
    cdef bint is_sorted

    def __cinit__(self, int descriptor, list families not None):
        self.base = NULL
        self.size = <size_t>os.fstat(descriptor).st_size // MX_SHARD_BYTES * MX_SHARD_BYTES
        cdef void *base = mmap(NULL, self.size, PROT_READ, MAP_SHARED, descriptor, 0)
        if base == MAP_FAILED:
            raise OSError(errno.ENOMEM, "the memory of the metrics cannot be mapped")
        self.base = <char *>base
        self.shards = <uint32_t>(self.size // MX_SHARD_BYTES)
        self.seen = [0] * self.shards
        self.families = {(<DeclaredFamily?>each).name: each for each in families}

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.size)

    cdef int refresh(self) except -1:
        """Find the series that are new in the shards."""
        cdef uint32_t index, number, count, first
        cdef mx_shard *shard
        for index in range(self.shards):
            shard = <mx_shard *>(self.base + index * MX_SHARD_BYTES)
            if shard.magic != MX_MAGIC:
                continue
            count, first = min(mx_noted(&shard.entries), MX_ENTRIES), self.seen[index]
            for number in range(first, count):
                self.enter(shard, &shard.directory[number])
            self.seen[index] = count
        return 0

    cdef int enter(self, const mx_shard *shard, const mx_entry *entry) except -1:
        cdef mx_entry copy = entry[0]
        if not mx_is_sound(shard, &copy):
            return 0
        cdef const char *text = shard.text + copy.text
        cdef bytes name = text[:copy.name_size]
        cdef bytes labels = (text + copy.name_size)[:copy.labels_size]
        cdef DeclaredFamily family = self.families.get(name)
        cdef MergedSeries series
        if family is None or not family.describes(shard, &copy) or not family.accepts(labels):
            return 0  # of another version of this program, or broken
        series = family.series.get(labels)
        if series is None:
            series = family.series[labels] = MergedSeries(labels)
            family.ordered.append(series)
            self.is_sorted = False
        return series.add(entry, shard.cells + copy.cell)

    def counters(self):
        """See the stub."""
        cdef DeclaredFamily family
        cdef MergedSeries series
        cdef int64_t value
        cdef uint32_t at
        cdef list found = []
        self.refresh()
        for family in self.families.values():
            if family.kind != MX_COUNTER:
                continue
            for series in family.ordered:
                value = 0
                for at in range(series.count):
                    value += mx_get(series.parts[at].cells)
                found.append((family.name, series.labels, value))
        return found

    def render(self, *, bint open_metrics=False):
        cdef Text text = Text()
        cdef DeclaredFamily family
        cdef MergedSeries series
        cdef size_t before
        self.refresh()
        for family in self.families.values():
            if not family.ordered:
                continue
            if not self.is_sorted:
                family.ordered.sort()
            before = text.used
            text.put(family.open_metrics if open_metrics else family.plain)
            start = text.used
            for series in family.ordered:
                if family.kind == MX_HISTOGRAM:
                    histogram(text, family, series, open_metrics)
                else:
                    plain(text, family, series)
            if text.used == start:
                text.used = before  # gauges of processes that have ended
        self.is_sorted = True
        if open_metrics:
            text.put(b"# EOF\n")
        return PyBytes_FromStringAndSize(text.start, <Py_ssize_t>text.used)


cdef int sample(Text text, bytes name, bytes suffix, bytes labels) except -1:
    """Write what stands before the value of a sample."""
    text.put(name)
    text.put(suffix)
    if labels:
        text.put(b"{")
        text.put(labels)
        text.put(b"}")
    return text.put(b" ")


cdef int plain(Text text, DeclaredFamily family, MergedSeries series) except -1:
    """Write a counter or a gauge."""
    cdef int64_t value = 0, each
    cdef uint32_t at
    cdef bint is_shown = False
    for at in range(series.count):
        if family.kind == MX_GAUGE and not mx_noted(&series.parts[at].entry.shown):
            continue
        each = mx_get(series.parts[at].cells)
        if family.merge == MX_MAX:
            value = each if not is_shown else max(value, each)
        else:
            value += each
        is_shown = True
    if is_shown:
        sample(text, family.name, b"", series.labels)
        text.number(value, family.scale)
        text.put(b"\n")
    return 0


cdef int histogram(Text text, DeclaredFamily family, MergedSeries series,
                   bint open_metrics) except -1:
    """Write the buckets, the sum and the count of a histogram."""
    cdef int64_t value, count = 0, total = 0
    cdef uint32_t bucket, at
    cdef bytes comma = b"," if series.labels else b""
    # The shards were asked for their bounds when the series was found, and are not asked again.
    cdef uint32_t n = <uint32_t>len(family.bounds)
    for bucket in range(n + 1):
        value = 0
        for at in range(series.count):
            value += mx_get(series.parts[at].cells + 1 + n + bucket)
        count += value
        text.put(family.name)
        text.put(b"_bucket{")
        text.put(series.labels)
        text.put(comma)
        text.put(b'le="')
        if bucket == n:
            text.put(b"+Inf")
        else:
            bound(text, family.bounds[bucket], family.scale)
        text.put(b'"} ')
        text.number(count, 0)
        if open_metrics and value and family.exemplars:
            exemplar(text, family, series, bucket)
        text.put(b"\n")
    for at in range(series.count):
        total += mx_get(series.parts[at].cells + 2 + 2 * n)
    sample(text, family.name, b"_sum", series.labels)
    text.number(total, family.scale)
    text.put(b"\n")
    sample(text, family.name, b"_count", series.labels)
    text.number(count, 0)
    return text.put(b"\n")


cdef int bound(Text text, int64_t value, unsigned scale) except -1:
    """Write a bound, as OpenMetrics wants it: a whole number has a fraction as well."""
    cdef int64_t unit = 1
    cdef unsigned _power
    for _power in range(scale):
        unit *= 10
    text.number(value, scale)
    return text.put(b".0") if value % unit == 0 else 0


cdef int exemplar(Text text, DeclaredFamily family, MergedSeries series,
                  uint32_t bucket) except -1:
    """Write the newest exemplar of a bucket, if there is one."""
    cdef int64_t found[5]
    cdef int64_t newest[5]
    cdef uint32_t count = <uint32_t>len(family.bounds)
    cdef uint32_t at, first = 3 + 2 * count + bucket * MX_EXEMPLAR_CELLS
    newest[4] = 0
    for at in range(series.count):
        if (mx_read_exemplar(series.parts[at].cells + first, found)
                and found[4] > newest[4]):
            memcpy(newest, found, sizeof(newest))
    if not newest[4]:
        return 0
    text.put(b' # {trace_id="')
    text.put((<const char *>newest)[:16].hex().encode())
    text.put(b'",span_id="')
    text.put((<const char *>&newest[2])[:8].hex().encode())
    text.put(b'"} ')
    text.number(newest[3], family.scale)
    text.put(b" ")
    return text.number(newest[4] // 1000000, 3)
