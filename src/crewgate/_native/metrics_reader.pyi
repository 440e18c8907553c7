"""Reads the metrics of all processes of a machine, and writes them as Prometheus reads them."""

class MetricsReader:
    """The series of all shards behind a descriptor, added up.

    `families` has, for each metric in the order of the text: its name, and what stands before its
    samples in Prometheus' text and in OpenMetrics. Other metrics are left out. Raises OSError.
    """

    def __init__(self, descriptor: int, families: list[tuple[bytes, bytes, bytes]]) -> None: ...
    def render(self, *, open_metrics: bool = False) -> bytes:
        """Return the text of all series. One thread at a time may call this."""
