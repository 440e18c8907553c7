"""The metrics of a soak: the counts of a scrape, held against the records of the audit."""

from collections import Counter
from urllib.request import urlopen

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from soak_errors import Faults

# Each metric, its labels, and by how much a record of that kind adds to it.
_METRICS = {
    "crewgate_requests_total": ("tool", "crew", "outcome", "reason", "status"),
    "crewgate_spent_credits_total": ("crew", "tool"),
    "crewgate_burned_credits_total": ("crew", "tool"),
}


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """What is counted of a record."""

    kind: str
    tool: str = ""
    crew: str = ""
    outcome: str = ""
    reason: str = ""
    status: int = 0
    cost_micro: int = 0


class MetricsBook:
    """The sums over all records so far; `port` is that of the admin listener."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sums: dict[str, Counter[tuple[str, ...]]] = {name: Counter() for name in _METRICS}
        self._decode = msgspec.json.Decoder(Recorded).decode

    def take(self, line: bytes) -> None:
        """Add a line of the audit."""
        record = self._decode(line)
        if record.kind == "call":
            labels = record.tool, record.crew, record.outcome, record.reason
            status = str(record.status) if record.status else ""
            self._sums["crewgate_requests_total"][*labels, status] += 1
            if record.cost_micro:
                self._sums["crewgate_spent_credits_total"][record.crew, record.tool] += (
                    record.cost_micro
                )
        elif record.kind == "burned":
            account = record.crew, record.tool
            self._sums["crewgate_burned_credits_total"][account] += record.cost_micro

    def check(self, faults: Faults) -> None:
        """Scrape, and hold every count against the sums."""
        scraped = self._scrape()
        for name, sums in self._sums.items():
            for labels in sums.keys() | scraped[name].keys():
                if sums[labels] != scraped[name][labels]:
                    faults.add(
                        "a metric and the records differ",
                        f"{name} {labels}: {scraped[name][labels]}, recorded {sums[labels]}",
                    )

    def _scrape(self) -> dict[str, Counter[tuple[str, ...]]]:
        found: dict[str, Counter[tuple[str, ...]]] = {name: Counter() for name in _METRICS}
        with urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in _METRICS and sample.value:
                    labels = tuple(sample.labels[each] for each in _METRICS[sample.name])
                    scale = 10**6 if "credits" in sample.name else 1
                    found[sample.name][labels] += round(sample.value * scale)
        return found
