"""The metrics of one process: a series for each metric and its labels, made when first used."""

import logging
import os
from typing import Self

from crewgate._native.metrics import SHARD_BYTES, MetricsShard, Series
from crewgate.metrics.families import SERIES_DROPPED
from crewgate.metrics.metric_family import MetricFamily

_log = logging.getLogger(__name__)
VARIABLE = "CREWGATE_METRICS"  # DESCRIPTOR:SHARD, for a process that `crewgate serve` starts
_OTHER = "other"


def shared_descriptor() -> int | None:
    """Return the descriptor of the memory of all processes, if `crewgate serve` passed it on."""
    descriptor, colon, _ = os.environ.get(VARIABLE, "").partition(":")
    return int(descriptor) if colon and descriptor.isdecimal() else None


class ProcessMetrics:
    """Counts into a shard that the process alone writes to. Any thread may count.

    A `Series` that this returns is the same for the same labels, so a caller may keep it.
    """

    def __init__(self, shard: MetricsShard) -> None:
        self.shard = shard
        self._series: dict[tuple[str, ...], Series] = {}
        self._dropped = self.series(SERIES_DROPPED)

    @classmethod
    def of_process(cls) -> Self:
        """Use the shard that `crewgate serve` gave this process; else memory that only it reads."""
        text = os.environ.get(VARIABLE, "")
        if text:
            try:
                descriptor, _, number = text.partition(":")
                return cls(MetricsShard(int(descriptor), int(number)))
            except (ValueError, OSError) as error:
                _log.warning("/metrics will not have the counts of this process: %s", error)
        return cls.unshared()

    @classmethod
    def unshared(cls) -> Self:
        """Count in memory that only this process reads."""
        descriptor = os.memfd_create("crewgate-metrics", os.MFD_CLOEXEC)
        try:
            os.truncate(descriptor, SHARD_BYTES)
            return cls(MetricsShard(descriptor, 0))
        finally:
            os.close(descriptor)

    def series(self, family: MetricFamily, *labels: str) -> Series:
        """Return the series of `family` with these label values, in the order of the declaration.

        If the shard is full, it is the series whose labels are all `other`. Raises ValueError if
        the number of labels is another one.
        """
        key = (family.name, *labels)
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = self._enter(family, labels)
        return found

    def hide(self, family: MetricFamily, *labels: str) -> None:
        """Show a gauge no more, until `series` returns it again: what it measured is gone."""
        found = self._series.pop((family.name, *labels), None)
        if found is not None:
            self.shard.hide(found.number)

    def _enter(self, family: MetricFamily, labels: tuple[str, ...]) -> Series:
        number = self._number(family, labels)
        if number is None:
            self._dropped.add()
            number = self._number(family, (_OTHER,) * len(labels), spare=True)
        if number is None:
            raise AssertionError("a shard keeps room back for each metric")
        return Series(self.shard, number)

    def _number(
        self, family: MetricFamily, labels: tuple[str, ...], *, spare: bool = False
    ) -> int | None:
        return self.shard.enter(
            family.name.encode(),
            label_text(family.labels, labels),
            family.kind,
            scale=family.scale,
            merge=family.merge,
            bounds=family.bounds,
            exemplars=family.exemplars,
            spare=spare or family is SERIES_DROPPED,
        )


def label_text(names: tuple[str, ...], values: tuple[str, ...]) -> bytes:
    """Return labels as an exposition has them between the braces; Prometheus' escapes."""
    pairs = zip(names, values, strict=True)
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs).encode()


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
