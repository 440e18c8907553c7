"""The metrics of one channel of the export."""

from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics


class ExportMetrics:
    """`sent` and `refused` count records; `lost` and `backlog` are in bytes of the audit."""

    def __init__(self, metrics: ProcessMetrics, channel: str) -> None:
        self.sent = metrics.series(families.EXPORTED, channel)
        self.refused = metrics.series(families.EXPORT_REFUSED, channel)
        self.lost = metrics.series(families.EXPORT_LOST, channel)
        self.backlog = metrics.series(families.EXPORT_BACKLOG, channel)
