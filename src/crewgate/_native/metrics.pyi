"""Counts into shared memory: counters, gauges, histograms, and the calls of the audit."""

from typing import Literal

SHARD_BYTES: int
"""The size of one shard, a whole number of pages."""
BATCH_CALLS_MAX: int
"""How many calls a `CallBatch` holds."""

def arm_fault(stores: int) -> bool:
    """End the process by SIGKILL before that many stores (build: CREWGATE_FAULTS); else False."""

class MetricsShard:
    """Part `index` of a memory file, mapped for writing; one process writes to it at a time.

    Raises ValueError if the file has no such part, or one that is damaged or of another version;
    OSError.
    """

    file: bytes
    """The path of the audit file that the calls of `begin` are written to; empty for none."""

    def __init__(self, descriptor: int, index: int) -> None: ...
    def enter(
        self,
        name: bytes,
        labels: bytes,
        kind: Literal["counter", "gauge", "histogram"],
        *,
        scale: int = 0,
        merge: Literal["sum", "max"] = "sum",
        bounds: tuple[int, ...] = (),
        exemplars: bool = False,
        spare: bool = False,
    ) -> int | None:
        """Return the number of a series, which is made if it is new; None if there is no room.

        `labels` is the text between the braces of an exposition. A cell counts units of 10^-scale.
        `spare`: it may use the room that is kept back. Raises ValueError for what is too large.
        """

    def begin(self, batch: CallBatch, start: int, more: int = 0) -> None:
        """Note the calls of a batch, and empty it; write their lines now, then `commit`.

        The lines follow each other in `file` from byte `start` on. Each is `more` bytes longer than
        its call says.
        """

    def commit(self, lines: Series | None = None, written: int = 0) -> None:
        """Add the noted calls to their series, and `written` to the counter `lines`."""

    def replay(self, size: int) -> None:
        """Add the calls that a killed process had noted and written; `file` has `size` bytes."""

    def hide(self, number: int) -> None:
        """Show a gauge no more until a process enters it again."""

    def hide_gauges(self) -> None:
        """Show no gauge until a process enters it again."""

class Series:
    """A counter, a gauge or a histogram: the one with this number in a shard.

    Each call is one addition or store in shared memory. Raises ValueError for an unknown number.
    """

    number: int

    def __init__(self, shard: MetricsShard, number: int) -> None: ...
    def add(self, by: int = 1) -> None:
        """Add to a counter or a gauge."""

    def set(self, value: int) -> None:
        """Set a gauge."""

    def follow(self, total: int) -> None:
        """Set a counter to what it was when this object was made, and `total` more."""

    def observe(self, value: int) -> None:
        """Add a value to a histogram."""

    @property
    def value(self) -> int:
        """The value of a counter or a gauge."""

class CallSeries:
    """The series that a call adds to: at most three histograms and four counters.

    The histograms are those of the duration, the upstream and the verdict. The counters are those
    of the requests, and of the reserved, spent and overrun micro-credits. None, or a series that is
    left out at the end, is one that the call does not add to.
    """

    def __init__(
        self, histograms: tuple[Series | None, ...], counters: tuple[Series, ...]
    ) -> None: ...

class CallBatch:
    """Calls that have ended, whose audit lines are written together; at most BATCH_CALLS_MAX."""

    def __len__(self) -> int: ...
    def clear(self) -> None:
        """Forget the calls."""

    def add(
        self,
        series: CallSeries,
        line_bytes: int,
        duration: int,
        upstream: int,
        verdict: int,
        reserved: int,
        spent: int,
        overrun: int,
    ) -> None:
        """Add a call whose audit line has `line_bytes` bytes.

        Times are in nanoseconds, negative if unknown; amounts are in micro-credits. Raises
        ValueError if the batch is full.
        """

    def exemplar(self, trace: bytes, span: bytes, time_ns: int) -> None:
        """Give the last call a trace id (16 bytes), a span id (8 bytes) and a wall time."""
