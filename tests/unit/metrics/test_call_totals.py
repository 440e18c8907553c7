"""What calls have come to, by crew and tool, over all processes of a machine."""

import os

from crewgate._native.metrics import MetricsShard
from crewgate.metrics import families
from crewgate.metrics.call_totals import CallTotal, CallTotalsReader, labels_of
from crewgate.metrics.memory import MetricsMemory
from crewgate.metrics.process_metrics import ProcessMetrics, label_text


def test_calls_refusals_and_credits_are_added_over_all_processes() -> None:
    """Refused calls are calls too; what has other labels is added up."""
    memory = MetricsMemory(4)
    try:
        reader = CallTotalsReader(memory.descriptor)
        assert reader.read() == []
        for worker in ("worker-0", "worker-1"):
            shard = memory.assign(worker)
            assert shard is not None
            series = ProcessMetrics(MetricsShard(memory.descriptor, shard)).series
            for outcome, status in (("done", "200"), ("done", "404"), ("refused", "")):
                labels = ("agents", "search.web", "article", outcome, "", status)
                series(families.REQUESTS, *labels).add(2)
            series(families.CREDITS_SPENT, "article", "search.web").add(5_000)
            series(families.CREDITS_RESERVED, "article", "search.web").add(9_000)
        series(families.REQUESTS, "agents", "", "bd", "refused", "unknown-tool", "").add()
        assert reader.read() == [
            CallTotal("article", "search.web", 12, 4, 10_000),
            CallTotal("bd", "", 1, 1, 0),
        ]
    finally:
        os.close(memory.descriptor)


def test_without_shared_memory_there_are_no_totals() -> None:
    """Such as in an agent that `crewgate serve` has not started."""
    assert CallTotalsReader(None).read() == []


def test_labels_are_read_as_they_are_written() -> None:
    """With quotes, backslashes, commas and line feeds."""
    values = 'a"b\\c', "x,y=z", "1\n2\\n"
    text = label_text(("crew", "tool", "outcome"), values)
    assert labels_of(text) == dict(zip(("crew", "tool", "outcome"), values, strict=True))
