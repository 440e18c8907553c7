"""The metrics of all processes of the machine, as text for Prometheus.

Two formats: Prometheus' text (https://prometheus.io/docs/instrumenting/exposition_formats/), and
OpenMetrics 1.0, which also has exemplars: the trace of one call of each bucket.
"""

import re
import threading
from collections.abc import Callable

from crewgate._native.metrics_reader import DeclaredFamily, MetricsReader
from crewgate.metrics.families import FAMILIES
from crewgate.metrics.metric_family import MetricFamily

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Exposition:
    """Reads the shards behind a descriptor. Threads may share it."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory; OSError."""
        self._lock = threading.Lock()
        self._reader = MetricsReader(descriptor, [declared(each) for each in FAMILIES])

    def read(self, accept: str = "") -> tuple[bytes, str]:
        """Return the text and its media type: OpenMetrics only if the `Accept` header asks for it.

        A scraper that takes both formats names OpenMetrics with the higher weight.
        """
        wants = "application/openmetrics-text" in accept
        with self._lock:
            text = self._reader.render(open_metrics=wants)
        return text, OPEN_METRICS if wants else TEXT


def declared(family: MetricFamily) -> DeclaredFamily:
    """Return a family as the reader needs it, with the lines before its samples in both formats."""
    name, meaning = family.name, family.help.replace("\\", r"\\").replace("\n", r"\n")
    plain = f"# HELP {name} {meaning}\n# TYPE {name} {family.kind}\n"
    base = name.removesuffix("_total")
    quoted = meaning.replace('"', r"\"")
    unit = f"# UNIT {base} {family.unit}\n" if family.unit else ""
    opened = f"# TYPE {base} {family.kind}\n{unit}# HELP {base} {quoted}\n"
    return DeclaredFamily(
        name.encode(),
        plain.encode(),
        opened.encode(),
        _label_check(family.labels),
        kind=family.kind,
        scale=family.scale,
        merge=family.merge,
        bounds=family.bounds,
        exemplars=family.exemplars,
    )


def _label_check(names: tuple[str, ...]) -> Callable[[bytes], bool]:
    """Return whether a text is these labels: with any other, a scraper refuses the whole scrape."""
    value = r'"(?:[^"\\\n\x00]|\\["\\n])*"'
    pattern = re.compile(",".join(f"{name}={value}" for name in names))

    def is_valid(labels: bytes) -> bool:
        try:
            return pattern.fullmatch(labels.decode()) is not None
        except UnicodeDecodeError:
            return False

    return is_valid
