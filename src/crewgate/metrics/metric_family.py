"""The declaration of one metric."""

from typing import Literal

import msgspec


class MetricFamily(msgspec.Struct, frozen=True, kw_only=True):
    """One metric: the series that share a name and differ in the values of `labels`.

    `subject` is its heading in the reference. A cell counts units of 10^-`scale`.
    `merge`: how a scrape joins the gauges of several processes. Where only one process has the
    gauge, it is the largest, since a process and its successor may run at the same time.
    `bounds` are the upper bounds of a histogram's buckets, in the same units as its cells.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    subject: str
    labels: tuple[str, ...] = ()
    scale: int = 0
    merge: Literal["sum", "max"] = "sum"
    bounds: tuple[int, ...] = ()
    exemplars: bool = False

    @property
    def unit(self) -> str:
        """The unit as OpenMetrics names it; empty for a number of things."""
        base = self.name.removesuffix("_total").rpartition("_")[2]
        return base if base in {"seconds", "bytes", "credits"} else ""
