"""The C interface of the metrics (`metrics_shard.h`)."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "metrics_shard.h" nogil:
    const uint64_t MX_MAGIC
    const uint32_t MX_ENTRIES, MX_CELLS, MX_JOURNAL, MX_FILE, MX_BOUNDS_MAX
    const size_t MX_SHARD_BYTES
    const int MX_COUNTER, MX_GAUGE, MX_HISTOGRAM, MX_SUM, MX_MAX, MX_TIMES, MX_AMOUNTS
    const uint32_t MX_EXEMPLAR_CELLS
    ctypedef struct mx_cell "mx_cell":
        pass
    ctypedef struct mx_word "_Atomic uint32_t":
        pass
    ctypedef struct mx_entry:
        uint32_t text, cell
        uint16_t name_size, labels_size
        uint8_t kind, merge, scale
        mx_word shown
    ctypedef struct mx_call:
        uint64_t end
        uint32_t histograms[3]
        uint32_t counters[4]
        int64_t times[3]
        int64_t amounts[4]
        int64_t exemplar[4]
    ctypedef struct mx_shard:
        uint64_t magic
        uint32_t text_used, cells_used
        mx_word entries, pending
        char file[1024]
        mx_entry directory[1]
        mx_cell cells[1]
        char text[1]
    int64_t mx_get(const mx_cell *cell)
    void mx_set(mx_cell *cell, int64_t value)
    void mx_add(mx_cell *cell, int64_t by)
    void mx_note(mx_word *word, uint32_t value)
    uint32_t mx_noted(const mx_word *word)
    uint32_t mx_bounds(const mx_cell *row)
    bint mx_has_exemplars(const mx_cell *row)
    bint mx_read_exemplar(const mx_cell *source, int64_t *to)
    void mx_observe(mx_cell *row, int64_t value)
    bint mx_has_room(const mx_shard *shard)
    bint mx_is_sound(const mx_shard *shard, const mx_entry *entry)
    uint32_t MX_HISTOGRAM_CELLS(uint32_t bounds, bint exemplars)
    int64_t mx_enter(mx_shard *shard, const char *text, mx_entry entry, uint32_t cells, bint spare)
    void mx_begin(
        mx_shard *shard, const mx_call *calls, uint32_t count, uint64_t start, uint64_t more)
    void mx_commit(mx_shard *shard)
    void mx_replay(mx_shard *shard, uint64_t size)
    char *mx_decimal(char *to, int64_t value, unsigned scale)


cdef class MetricsShard:
    cdef mx_shard *shard
    cdef dict numbers  # name, NUL, labels -> number of the entry

    cdef mx_cell *row(self, uint32_t number) noexcept
    cdef bint has_layout(self, uint32_t number, uint8_t kind, uint8_t scale, uint8_t merge,
                         tuple bounds, bint exemplars)


cdef class Series:
    cdef MetricsShard shard
    cdef mx_cell *cells
    cdef readonly uint32_t number
    cdef uint32_t cell
    cdef int64_t base


cdef class CallSeries:
    cdef mx_call call


cdef class CallBatch:
    cdef mx_call *calls
    cdef uint32_t count

    cdef int put(self, CallSeries series, Py_ssize_t line_bytes, int64_t duration,
                 int64_t upstream, int64_t verdict, int64_t reserved, int64_t spent,
                 int64_t overrun) except -1
