"""The metrics of a machine: their declarations, their memory, and the text of a scrape."""

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import parser as plain_parser
from prometheus_client.openmetrics import parser as open_parser

from crewgate._native.metrics import SHARD_BYTES, CallBatch, CallSeries, MetricsShard
from crewgate.metrics import families, process_metrics
from crewgate.metrics.exposition import OPEN_METRICS, TEXT, Exposition
from crewgate.metrics.families import FAMILIES
from crewgate.metrics.memory import MetricsMemory
from crewgate.metrics.metric_family import MetricFamily
from crewgate.metrics.process_metrics import VARIABLE, ProcessMetrics, shared_descriptor
from crewgate.metrics.process_observer import note_usage

# What a client chooses, or what is new with each call, would make series without end.
UNBOUNDED = {"branch", "token", "grant", "peer", "address", "path", "request", "process_id"}


@pytest.fixture
def memory() -> Iterator[MetricsMemory]:
    """Memory of four shards; the supervisor has one."""
    made = MetricsMemory(4)
    yield made
    os.close(made.descriptor)


def assigned(memory: MetricsMemory, name: str) -> tuple[ProcessMetrics, int]:
    number = memory.assign(name)
    assert number is not None
    return ProcessMetrics(MetricsShard(memory.descriptor, number)), number


def scrape(memory: MetricsMemory) -> str:
    return Exposition(memory.descriptor).read()[0].decode()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_follow_the_conventions(family: MetricFamily) -> None:
    """Prefix, base unit and suffix as Prometheus wants them; a help text; only bounded labels."""
    assert re.fullmatch("crewgate_[a-z0-9_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.help.endswith(".")
    assert not UNBOUNDED & set(family.labels)
    assert bool(family.bounds) == (family.kind == "histogram")
    assert list(family.bounds) == sorted(set(family.bounds))
    if family.scale:
        assert family.unit


def test_no_name_is_declared_twice() -> None:
    """Each is one metric."""
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def fill(metrics: ProcessMetrics) -> None:
    """Give each metric a series with labels that need escapes."""
    for family in FAMILIES:
        made = metrics.series(family, *('a "b"\\c\nd' for _ in family.labels))
        if family.kind == "histogram":
            made.observe(family.bounds[1])
        else:
            made.add(2)


def test_the_parsers_of_prometheus_read_every_metric(memory: MetricsMemory) -> None:
    """Both formats, with help, type, unit, labels, values and an exemplar."""
    metrics, _ = assigned(memory, "worker 0")
    fill(metrics)
    duration = metrics.series(families.REQUEST_DURATION, "agents", "search.web")
    batch = CallBatch()
    batch.add(CallSeries((duration,), ()), 1, 20_000_000, -1, -1, 0, 0, 0)
    batch.exemplar(bytes(range(16)), bytes(range(8)), 1_800_000_000_123_000_000)
    metrics.shard.begin(batch, 0)
    metrics.shard.commit()
    exposition = Exposition(memory.descriptor)
    plain, media = exposition.read("text/plain")
    assert media == TEXT
    opened, open_media = exposition.read("application/openmetrics-text;version=1.0.0,*/*;q=0.1")
    assert open_media == OPEN_METRICS
    found = {
        "plain": list(plain_parser.text_string_to_metric_families(plain.decode())),
        "open": list(open_parser.text_string_to_metric_families(opened.decode())),
    }
    for each in found.values():
        names = {metric.name for metric in each}
        assert names == {family.name.removesuffix("_total") for family in FAMILIES}
    by_name = {metric.name: metric for metric in found["open"]}
    for family in FAMILIES:
        metric = by_name[family.name.removesuffix("_total")]
        assert (metric.type, metric.unit) == (family.kind, family.unit)
        assert metric.documentation == family.help
        values = {tuple(sample.labels.values()) for sample in metric.samples}
        assert any('a "b"\\c\nd' in each for each in values) == bool(family.labels)
    exemplars = [
        sample.exemplar
        for sample in by_name["crewgate_request_duration_seconds"].samples
        if sample.exemplar is not None
    ]
    assert [each.labels["trace_id"] for each in exemplars] == [bytes(range(16)).hex()]
    assert (exemplars[0].value, float(exemplars[0].timestamp)) == (0.02, 1_800_000_000.123)


def test_a_process_counts_where_its_predecessor_ended(memory: MetricsMemory) -> None:
    """Its counters go on; its gauges are gone until it sets them; its shard is not another's."""
    metrics, first = assigned(memory, "worker 0")
    _, other = assigned(memory, "worker 1")
    metrics.series(families.CONNECTIONS_ACCEPTED, "agents").add(3)
    metrics.series(families.CONNECTIONS, "agents").set(3)
    memory.release(first, "worker 0")
    assert "crewgate_connections{" not in scrape(memory)
    again, number = assigned(memory, "worker 0")
    assert number == first != other
    again.series(families.CONNECTIONS_ACCEPTED, "agents").add(2)
    assert 'crewgate_connections_accepted_total{listener="agents"} 5\n' in scrape(memory)


def test_calls_that_a_killed_process_has_written_are_counted(
    memory: MetricsMemory, tmp_path: Path
) -> None:
    """Those whose lines are in its audit file, when its shard comes back."""
    metrics, number = assigned(memory, "worker 0")
    (tmp_path / "audit").write_bytes(b"a\nb\n")
    metrics.shard.file = os.fsencode(tmp_path / "audit")
    requests = metrics.series(families.REQUESTS, *"abcdef")
    batch = CallBatch()
    for _ in range(3):
        batch.add(CallSeries((), (requests,)), 2, 0, 0, 0, 0, 0, 0)
    metrics.shard.begin(batch, 0)
    memory.release(number, "worker 0")
    assert requests.value == 2


def test_there_are_only_so_many_shards(memory: MetricsMemory) -> None:
    """A process without one counts for itself; in the end, any free one is given to it."""
    numbers = [memory.assign(f"worker {index}") for index in range(4)]
    assert numbers == [1, 2, 3, None]
    assert memory.variables(None) == {}
    memory.release(2, "worker 1")
    assert memory.assign("worker 9") == 2
    memory.started("worker 1", was_lost=True)
    assert 'crewgate_process_restarts_total{process="worker-1"} 1\n' in scrape(memory)


def test_the_memory_cannot_shrink_under_a_process(memory: MetricsMemory) -> None:
    """Else a broken process could end all others with SIGBUS."""
    with pytest.raises(PermissionError):
        os.truncate(memory.descriptor, SHARD_BYTES)


def test_a_full_shard_counts_under_other(memory: MetricsMemory) -> None:
    """Every metric still has a series, so that the totals stay right."""
    metrics, _ = assigned(memory, "worker 0")
    made = 0
    while not metrics.series(families.SERIES_DROPPED).value:
        made += 1
        metrics.series(families.REQUESTS, str(made), *"bcdef").add()
    for family in FAMILIES:
        labels = ("full",) * len(family.labels)
        metrics.series(family, *labels).add()
    assert made > 5000
    text = scrape(memory)
    others = ",".join(f'{name}="other"' for name in families.REQUESTS.labels)
    assert f"crewgate_requests_total{{{others}}} 2\n" in text
    total = sum(
        float(sample.value)
        for metric in plain_parser.text_string_to_metric_families(text)
        if metric.name == "crewgate_requests"
        for sample in metric.samples
    )
    assert total == made + 1


def test_a_process_finds_its_shard(
    memory: MetricsMemory, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    """In the environment; with a wrong one, or none, it counts for itself and says so."""
    for text, is_shared in (
        (memory.variables(1)[VARIABLE], True),
        (f"{memory.descriptor}:99", False),
        ("x:y", False),
        ("", False),
    ):
        monkeypatch.setenv(VARIABLE, text)
        before = scrape(memory)
        ProcessMetrics.of_process().series(families.CALLS_IN_FLIGHT).add()
        assert (scrape(memory) != before) == is_shared
    assert shared_descriptor() is None
    assert [line for line in log_lines if "will not have the counts" in line] == log_lines[-2:]


def test_labels_are_given_in_full() -> None:
    """One too few is a mistake of the caller."""
    with pytest.raises(ValueError, match="shorter"):
        ProcessMetrics.unshared().series(families.REQUESTS, "a")


def test_what_a_process_uses_is_noted(memory: MetricsMemory) -> None:
    """Memory, CPU and descriptors of this process."""
    metrics, _ = assigned(memory, "worker 0")
    note_usage(metrics, "worker-0")
    found = dict(line.rsplit(" ", 1) for line in scrape(memory).splitlines() if line[0] != "#")
    for family in (families.MEMORY, families.CPU, families.OPEN_FILES):
        assert float(found[f'{family.name}{{process="worker-0"}}']) > 0


def test_a_process_without_descriptors_goes_on(memory: MetricsMemory) -> None:
    """It cannot read /proc then, and shows how many it may have; the rest keeps its value."""
    metrics, _ = assigned(memory, "worker 0")
    note_usage(metrics, "worker-0")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = metrics.series(families.OPEN_FILES, "worker-0").value
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        note_usage(metrics, "worker-0")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert metrics.series(families.OPEN_FILES, "worker-0").value == used > 0
    assert metrics.series(families.MAX_FILES, "worker-0").value == lowest_free


@pytest.mark.parametrize(
    "labels",
    [
        b"",
        b'effect="refused"',
        b'listener="a",effect="b",crew="c"',
        b'listener="a"\ncrewgate_ready 0\n#",effect="b"',
        b'listener="\xff",effect="b"',
        b'listener="a\0",effect="b"',
        b'listener="a\\",effect="b"',
    ],
)
def test_labels_of_a_broken_process_spoil_no_scrape(memory: MetricsMemory, labels: bytes) -> None:
    """A scraper refuses a whole text that has them."""
    metrics, _ = assigned(memory, "worker 0")
    metrics.series(families.BAD_TOKENS, "agents", "refused").add(3)
    assert metrics.shard.enter(families.BAD_TOKENS.name.encode(), labels, "counter") is not None
    assert [line for line in scrape(memory).splitlines() if line[0] != "#"] == [
        'crewgate_bad_tokens_total{listener="agents",effect="refused"} 3',
        "crewgate_metrics_series_dropped_total 0",
    ]


def test_a_damaged_shard_is_given_to_no_other_process(
    memory: MetricsMemory, log_lines: list[str]
) -> None:
    """And harms neither the supervisor nor the reader."""
    _, number = assigned(memory, "worker 0")
    os.pwrite(memory.descriptor, b"\xff" * 12, number * SHARD_BYTES + 8)
    memory.release(number, "worker 0")
    (line,) = log_lines
    assert "damaged" in line
    assert memory.assign("worker 0") not in {None, number}
    assert "worker" not in scrape(memory)


def test_label_text_is_that_of_an_exposition() -> None:
    """In the declared order."""
    assert process_metrics.label_text(("a", "b"), ("1", "2")) == b'a="1",b="2"'
