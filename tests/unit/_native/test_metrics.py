"""Counts in shared memory, and the text that a reader makes of them."""

import mmap
import os
import random
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from crewgate._native.metrics import (
    BATCH_CALLS_MAX,
    SHARD_BYTES,
    CallBatch,
    CallSeries,
    MetricsShard,
    Series,
)
from crewgate._native.metrics_reader import DeclaredFamily, MetricsReader

BOUNDS = (10, 100, 1000)


@pytest.fixture
def memory() -> Iterator[int]:
    """Memory of two shards."""
    descriptor = os.memfd_create("metrics")
    os.truncate(descriptor, 2 * SHARD_BYTES)
    yield descriptor
    os.close(descriptor)


DECLARED: dict[str, dict[str, object]] = {}  # what `text` has for each name: as `series` last had


def series(shard: MetricsShard, name: str, kind: str = "counter", **more: object) -> Series:
    labels = more.pop("labels", b"")
    DECLARED[name] = {"kind": kind, **more}
    number = shard.enter(name.encode(), labels, kind, **more)  # type: ignore[arg-type]
    assert number is not None
    return Series(shard, number)


def text(memory: int, *names: str, open_metrics: bool = False) -> list[str]:
    families = [
        DeclaredFamily(
            name.encode(), f"# {name}\n".encode(), b"# open\n", lambda labels: b"!" not in labels,
            **DECLARED.get(name, {"kind": "counter"}),  # type: ignore[arg-type]
        )
        for name in names
    ]  # fmt: skip
    return MetricsReader(memory, families).render(open_metrics=open_metrics).decode().splitlines()


def test_counts_of_all_processes_are_added_up(memory: int) -> None:
    """A counter is a sum, a gauge a sum or the largest; the next process goes on counting."""
    one, other = MetricsShard(memory, 0), MetricsShard(memory, 1)
    for shard, count in ((one, 3), (other, 4)):
        series(shard, "calls_total", labels=b'tool="a"').add(count)
        series(shard, "calls_total", labels=b'tool="b"').add()
        series(shard, "open", "gauge").set(count)
        series(shard, "late_seconds", "gauge", scale=3, merge="max").set(count * 250)
    series(MetricsShard(memory, 0), "calls_total", labels=b'tool="a"').add(10)
    assert text(memory, "calls_total", "late_seconds", "open", "never_used") == [
        "# calls_total",
        'calls_total{tool="a"} 17',
        'calls_total{tool="b"} 2',
        "# late_seconds",
        "late_seconds 1",
        "# open",
        "open 7",
    ]


def test_the_gauges_of_a_process_that_ended_are_not_shown(memory: int) -> None:
    """Its counters stay; a gauge that its successor sets is shown again."""
    shard = MetricsShard(memory, 0)
    series(shard, "calls_total").add(3)
    series(shard, "open", "gauge").set(4)
    shard.hide_gauges()
    assert text(memory, "calls_total", "open") == ["# calls_total", "calls_total 3"]
    series(MetricsShard(memory, 0), "open", "gauge").set(5)
    assert text(memory, "open") == ["# open", "open 5"]


def test_a_total_that_begins_at_0_again_goes_on(memory: int) -> None:
    """A process that counts for itself adds to what its predecessor had."""
    first = series(MetricsShard(memory, 0), "sent_total")
    first.follow(10)
    first.follow(12)
    series(MetricsShard(memory, 0), "sent_total").follow(3)
    assert text(memory, "sent_total") == ["# sent_total", "sent_total 15"]


def test_histograms_agree_with_a_slow_model(memory: int) -> None:
    """Buckets are cumulative and have inclusive bounds, the sum is exact; in two processes."""
    dice, values = random.Random(7), []
    for shard in (MetricsShard(memory, 0), MetricsShard(memory, 1)):
        histogram = series(shard, "seconds", "histogram", bounds=BOUNDS, scale=2)
        for value in [*BOUNDS, *(dice.randrange(3000) for _ in range(200))]:
            histogram.observe(value)
            values.append(value)
    counts = [sum(value <= bound for value in values) for bound in BOUNDS]
    assert text(memory, "seconds") == [
        "# seconds",
        f'seconds_bucket{{le="0.1"}} {counts[0]}',
        f'seconds_bucket{{le="1.0"}} {counts[1]}',
        f'seconds_bucket{{le="10.0"}} {counts[2]}',
        f'seconds_bucket{{le="+Inf"}} {len(values)}',
        f"seconds_sum {sum(values) / 100:g}",
        f"seconds_count {len(values)}",
    ]


@pytest.mark.parametrize(
    ("value", "scale", "written"),
    [
        (0, 9, "0"),
        (-1, 0, "-1"),
        (-15, 1, "-1.5"),
        (1, 9, "0.000000001"),
        (1_500_000_000, 9, "1.5"),
        (10_000_000, 6, "10"),
        (2**63 - 1, 0, "9223372036854775807"),
        (-(2**63), 9, "-9223372036.854775808"),
    ],
)
def test_numbers_are_exact(memory: int, value: int, scale: int, written: str) -> None:
    """Each of 64 bits, without needless zeros."""
    series(MetricsShard(memory, 0), "x", "gauge", scale=scale).set(value)
    assert text(memory, "x")[1] == f"x {written}"


def test_calls_are_counted_once_their_lines_are_written(memory: int) -> None:
    """Unknown times and amounts of 0 are left out; the batch is empty again."""
    shard, batch = MetricsShard(memory, 0), CallBatch()
    requests, spent = series(shard, "requests_total"), series(shard, "spent_total")
    seconds = series(shard, "seconds", "histogram", bounds=BOUNDS)
    call = CallSeries((seconds, None, seconds), (requests, spent))
    for cost in (5, 0):
        batch.add(call, 80, 50, 9, -1, cost, 99, 99)
    shard.begin(batch, 0)
    assert (len(batch), requests.value) == (0, 0)
    shard.commit()
    shard.commit()
    shard.replay(1000)
    assert (requests.value, spent.value) == (2, 5)
    assert text(memory, "seconds")[-1] == "seconds_count 2"


def test_a_batch_has_a_bound() -> None:
    """The caller writes its lines before."""
    batch, call = CallBatch(), CallSeries((), ())
    for _ in range(BATCH_CALLS_MAX):
        batch.add(call, 1, 0, 0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="full"):
        batch.add(call, 1, 0, 0, 0, 0, 0, 0)
    batch.clear()
    assert len(batch) == 0


def test_the_newest_call_of_a_bucket_is_its_exemplar(memory: int) -> None:
    """Only in OpenMetrics; of two processes, the later call."""
    for index, (trace, at) in enumerate([(b"a", 3_000_000_000), (b"b", 2_999_000_000)]):
        shard, batch = MetricsShard(memory, index), CallBatch()
        histogram = series(shard, "s", "histogram", bounds=BOUNDS, scale=1, exemplars=True)
        batch.add(CallSeries((histogram,), ()), 1, 42, 0, 0, 0, 0, 0)
        batch.exemplar(trace * 16, trace * 8, at)
        shard.begin(batch, 0)
        shard.commit()
    wanted = f' # {{trace_id="{"61" * 16}",span_id="{"61" * 8}"}} 4.2 3'
    assert text(memory, "s", open_metrics=True)[2] == f's_bucket{{le="10.0"}} 2{wanted}'
    assert text(memory, "s")[2] == 's_bucket{le="10.0"} 2'
    assert text(memory, "s", open_metrics=True)[-1] == "# EOF"


def test_a_full_shard_has_room_for_what_has_none_of_its_own(memory: int) -> None:
    """Labels, cells and entries: the first that is used up, and then what is kept back."""
    shard = MetricsShard(memory, 0)
    made = 0
    while shard.enter(b"wide_seconds", b'n="%d"' % made, "histogram", bounds=BOUNDS) is not None:
        made += 1
    assert made > 5000
    assert shard.enter(b"x_total", b"", "counter") is None
    spare = shard.enter(b"x_total", b"", "counter", spare=True)
    assert spare is not None
    assert shard.enter(b"x_total", b"", "counter") == spare


@pytest.mark.parametrize(
    ("labels", "more"),
    [
        (b"x" * 5000, {}),
        (b"", {"scale": 10}),
        (b"", {"scale": -1}),
        (b"", {"bounds": tuple(range(32))}),
    ],
)
def test_what_no_series_may_be_is_refused(
    memory: int, labels: bytes, more: dict[str, object]
) -> None:
    """A mistake of the caller."""
    with pytest.raises(ValueError, match="a series has"):
        MetricsShard(memory, 0).enter(b"x", labels, "histogram", **more)  # type: ignore[arg-type]


def test_memory_of_others_is_refused(memory: int) -> None:
    """Another layout is not counted into, and not read; a shard beyond the end does not exist."""
    with pytest.raises(ValueError, match="no shard 2"):
        MetricsShard(memory, 2)
    os.pwrite(memory, b"another!", SHARD_BYTES)
    with pytest.raises(ValueError, match="another version"):
        MetricsShard(memory, 1)
    assert text(memory, "x") == []


def test_only_what_is_declared_is_read(memory: int) -> None:
    """Another kind, scale or bound, or labels of another metric, hide no count of the others."""
    first, second = MetricsShard(memory, 0), MetricsShard(memory, 1)
    series(first, "calls_total", "gauge").set(7)
    series(first, "late_seconds", "histogram", bounds=(10, 100, 999)).observe(5)
    series(second, "late_seconds", "histogram", bounds=BOUNDS).observe(5)
    for shard in (first, second):
        series(shard, "calls_total", labels=b"!").add()
    series(second, "calls_total").add(2)
    assert text(memory, "calls_total") == ["# calls_total", "calls_total 2"]
    assert text(memory, "late_seconds")[-1] == "late_seconds_count 1"


def test_a_process_does_not_count_in_a_series_of_another_layout(memory: int) -> None:
    """Such as one of the version before an upgrade: it makes a new one, and its successor uses it.

    A histogram in the cells of a counter would write over its neighbours.
    """
    series(MetricsShard(memory, 0), "x_seconds").add(40)
    for _ in range(2):
        shard = MetricsShard(memory, 0)
        series(shard, "x_seconds", "histogram", bounds=BOUNDS).observe(5)
    assert text(memory, "x_seconds")[-2:] == ["x_seconds_sum 10", "x_seconds_count 2"]


@pytest.mark.parametrize("at", [8, 12, 16])
@pytest.mark.parametrize("value", [0xFFFFFFFF, 0xFFFFFF00, 1 << 21])
def test_a_damaged_shard_is_refused(memory: int, at: int, value: int) -> None:
    """The sizes in use, and the number of entries: no process writes beyond its shard."""
    MetricsShard(memory, 0)
    os.pwrite(memory, value.to_bytes(4, sys.byteorder), at)
    with pytest.raises(ValueError, match="damaged"):
        MetricsShard(memory, 0)


def test_a_broken_shard_harms_no_reader(memory: int) -> None:
    """Whatever a broken process leaves: the reader ends with some text, and does not crash."""
    shard = MetricsShard(memory, 0)
    for number in range(20):
        series(shard, f"c{number}_total").add(number)
        series(shard, f"h{number}_seconds", "histogram", bounds=BOUNDS, exemplars=True).observe(5)
    dice = random.Random(11)
    names = [f"c{n}_total" for n in range(20)] + [f"h{n}_seconds" for n in range(20)]
    with mmap.mmap(memory, 2 * SHARD_BYTES) as raw:
        used = bytes(raw[: SHARD_BYTES // 4])
        for _ in range(300):
            for _ in range(dice.randrange(1, 60)):
                at = dice.choice((dice.randrange(8, 3000), dice.randrange(8, len(used))))
                raw[at] = dice.randrange(256)
            raw[:8] = used[:8]
            text(memory, *names, open_metrics=True)
            with suppress(ValueError):  # damaged
                MetricsShard(memory, 0).replay(dice.randrange(10_000))
            raw[: len(used)] = used
