"""Reads the metrics of all processes of a machine, and writes them as Prometheus reads them."""

from collections.abc import Callable
from typing import Literal

class DeclaredFamily:
    """A metric, and what stands before its samples in Prometheus' text and in OpenMetrics.

    `accepts` returns whether the text between the braces of a sample has the labels of the metric.
    The others are as in `MetricsShard.enter`: an entry that differs is left out.
    """

    def __init__(
        self,
        name: bytes,
        plain: bytes,
        open_metrics: bytes,
        accepts: Callable[[bytes], bool],
        *,
        kind: Literal["counter", "gauge", "histogram"],
        scale: int = 0,
        merge: Literal["sum", "max"] = "sum",
        bounds: tuple[int, ...] = (),
        exemplars: bool = False,
    ) -> None: ...

class MetricsReader:
    """The series of all shards behind a descriptor, added up.

    `families` has each metric, in the order of the text. Other metrics are left out. Raises
    OSError.
    """

    def __init__(self, descriptor: int, families: list[DeclaredFamily]) -> None: ...
    def counters(self) -> list[tuple[bytes, bytes, int]]:
        """Return the metric, the labels and the value of each series of a counter.

        One thread at a time may call this or `render`.
        """

    def render(self, *, open_metrics: bool = False) -> bytes:
        """Return the text of all series. One thread at a time may call this."""
