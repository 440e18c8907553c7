"""What the metrics cost: to count a call, and to answer a scrape; beside `prometheus_client`.

Both sides keep the same series. Crewgate counts in memory that processes share, which the Python
client does in one process only, so it has the easier work.
"""

import tempfile
import time
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

from bench.sampling import Case, Group, measure
from crewgate._native.metrics import SHARD_BYTES, CallBatch, MetricsShard
from crewgate.core.audit.records import CallInfo, CallOutcome
from crewgate.gateway.call.call_metrics import UNKNOWN, CallMetrics
from crewgate.metrics import families
from crewgate.metrics.exposition import Exposition
from crewgate.metrics.metric_family import MetricFamily
from crewgate.metrics.process_metrics import ProcessMetrics

COUNTED = "count a call, 7 series"
SCRAPED = "a scrape of 10,000 series"
CALLS = 256  # a batch; a worker under load writes the lines of some calls at once
AT_ONCE = 8
LISTENERS, TOOLS, CREWS, STATUSES = 8, 25, 20, 14
PROCESSES = 4
SCRAPES = 2


def _series(registry: CollectorRegistry) -> tuple[list[Counter], list[Histogram]]:
    def made(family: MetricFamily) -> tuple[str, str, tuple[str, ...]]:
        return family.name.removesuffix("_total"), family.help, family.labels

    counters = [
        Counter(*made(family), registry=registry)
        for family in (
            families.REQUESTS,
            families.CREDITS_RESERVED,
            families.CREDITS_SPENT,
            families.CREDITS_OVERRUN,
        )
    ]
    histograms = [
        Histogram(*made(family), registry=registry, buckets=[each / 1e9 for each in family.bounds])
        for family in (
            families.REQUEST_DURATION,
            families.UPSTREAM_DURATION,
            families.VERDICT_DURATION,
        )
    ]
    return counters, histograms


def counting(rounds: int) -> Group:
    """A call of a known kind, as a worker counts it."""
    metrics = ProcessMetrics.unshared()
    calls, batch, shard = CallMetrics(metrics), CallBatch(), metrics.shard
    info = CallInfo(0, b"", "agents", "", "search.web", "POST", "", "", time.monotonic_ns())
    done = CallOutcome.DONE

    def ours() -> int:
        for _ in range(CALLS // AT_ONCE):
            for _ in range(AT_ONCE):
                series = calls.series_of(info, "article", done, "", 200)
                batch.add(series, 400, 9_000_000, UNKNOWN, 90_000, 10_000, 10_000, 0)
            shard.begin(batch, 0)
            shard.commit()
        return CALLS

    counters, histograms = _series(CollectorRegistry())
    requests, *credits_ = counters
    account = "article", "search.web"

    def theirs() -> int:
        for _ in range(CALLS):
            requests.labels("agents", "search.web", "article", "done", "", "200").inc()
            for each in credits_:
                each.labels(*account).inc(0.01)
            histograms[0].labels("agents", "search.web").observe(0.009)
            histograms[2].labels("agents").observe(0.00009)
        return CALLS

    name = "prometheus_client, the call"
    return measure("A call in the metrics", [Case(COUNTED, ours), Case(name, theirs)], rounds, name)


def scraping(rounds: int) -> Group:
    """The answer to a scrape, while nothing new comes."""
    with tempfile.TemporaryFile() as file:
        file.truncate(PROCESSES * SHARD_BYTES)
        shards = [MetricsShard(file.fileno(), index) for index in range(PROCESSES)]
        exposition = Exposition(file.fileno())
    processes = [ProcessMetrics(each) for each in shards]
    registry = CollectorRegistry()
    (requests, *_), (durations, *_) = _series(registry)
    tools, crews, listeners = (list(map(str, range(each))) for each in (TOOLS, CREWS, LISTENERS))
    statuses = map(str, range(200, 200 + STATUSES))
    for tool, crew, status in product(tools, crews, statuses):
        labels = "agents", tool, crew, "done", "", status
        for each in processes:
            each.series(families.REQUESTS, *labels).add(7)
        requests.labels(*labels).inc(28)
    for listener, tool in product(listeners, tools):
        for each in processes:
            each.series(families.REQUEST_DURATION, listener, tool).observe(3_000_000)
        durations.labels(listener, tool).observe(0.003)
    samples = sum(not line.startswith(b"#") for line in exposition.read()[0].splitlines())
    if samples < 10_000:
        raise AssertionError(f"{samples} series are too few")

    def ours() -> int:
        for _ in range(SCRAPES):
            exposition.read()
        return SCRAPES

    def theirs() -> int:
        generate_latest(registry)
        return 1

    name = "prometheus_client, the scrape"
    return measure(
        "A scrape", [Case(SCRAPED, ours), Case(name, theirs)], max(2, rounds // 10), name
    )
