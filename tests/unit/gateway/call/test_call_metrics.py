"""What a call adds to the metrics of its worker."""

import os

import pytest
from gateway_world import grant_of

from crewgate._native.audit_line import AuditLineTemplate
from crewgate._native.metrics import SHARD_BYTES, CallBatch, MetricsShard
from crewgate.core.audit.records import CallInfo, CallOutcome
from crewgate.core.trace_context import TraceContext
from crewgate.gateway.call.call_metrics import UNKNOWN, CallMetrics, add_exemplar
from crewgate.metrics.exposition import Exposition
from crewgate.metrics.process_metrics import ProcessMetrics

INFO = CallInfo(1, b"", "agents", "192.0.2.0/24", "search.web", "POST")


class Worker:
    """The metrics of a worker, and a scrape of them."""

    def __init__(self) -> None:
        descriptor = os.memfd_create("metrics")
        os.truncate(descriptor, SHARD_BYTES)
        self.exposition = Exposition(descriptor)
        self.metrics = ProcessMetrics(MetricsShard(descriptor, 0))
        os.close(descriptor)
        self.calls, self.batch = CallMetrics(self.metrics), CallBatch()

    def count(self, status: int, trace: str = "") -> None:
        series = self.calls.series_of(INFO, "article", CallOutcome.DONE, "", status)
        self.batch.add(series, 1, 20_000_000, UNKNOWN, 90_000, 30_000, 10_000, 5)
        add_exemplar(self.batch, trace)

    def scrape(self) -> str:
        self.metrics.shard.begin(self.batch, 0)
        self.metrics.shard.commit()
        return self.exposition.read("application/openmetrics-text")[0].decode()


@pytest.mark.parametrize(
    ("status", "label"), [(200, "200"), (418, "418"), (0, ""), (299, "2xx"), (999, "9xx")]
)
def test_a_status_without_a_meaning_shares_the_label_of_its_class(status: int, label: str) -> None:
    """A tool can answer with any of 900 numbers."""
    worker = Worker()
    worker.count(status)
    assert f'outcome="done",reason="",status="{label}"}} 1\n' in worker.scrape()


def test_a_call_adds_its_credits_and_the_times_that_are_known() -> None:
    """Nothing came from the tool, so there is no upstream time."""
    worker = Worker()
    worker.count(0)
    text = worker.scrape()
    for name, amount in (("reserved", "0.03"), ("spent", "0.01"), ("overrun", "0.000005")):
        labels = '{crew="article",tool="search.web"}'
        assert f"crewgate_{name}_credits_total{labels} {amount}\n" in text
    assert 'crewgate_upstream_response_seconds_count{tool="search.web"} 0\n' in text
    assert 'crewgate_verdict_duration_seconds_sum{listener="agents"} 0.00009\n' in text


def test_a_refusal_adds_no_credits() -> None:
    """It has a reason and a verdict, and was never sent to the tool."""
    worker = Worker()
    worker.calls.add_refused(worker.batch, INFO, "article", "tool-not-allowed", 1)
    text = worker.scrape()
    assert 'outcome="refused",reason="tool-not-allowed",status=""} 1\n' in text
    assert 'crewgate_verdict_duration_seconds_count{listener="agents"} 1\n' in text
    assert "_credits_" not in text


@pytest.mark.parametrize(("flags", "is_shown"), [(1, True), (3, True), (0, False), (2, False)])
def test_only_a_recorded_trace_is_an_exemplar(flags: int, *, is_shown: bool) -> None:
    """A trace that its owner does not record cannot be looked up."""
    worker = Worker()
    worker.count(200, TraceContext("ab" * 16, "cd" * 8, "ef" * 8, flags).text)
    wanted = f'# {{trace_id="{"ab" * 16}",span_id="{"ef" * 8}"}} 0.02 '
    assert (wanted in worker.scrape()) == is_shown


def test_a_worker_remembers_only_so_many_kinds_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that it looks them up again; the counts stay."""
    monkeypatch.setattr("crewgate.limits.metrics_call_series_max", 2)
    worker = Worker()
    for status in (200, 201, 202, 200):
        worker.count(status)
    assert 'status="200"} 2\n' in worker.scrape()


def test_a_template_counts_only_what_it_remembers() -> None:
    """Calls with another outcome or status add to other series."""
    worker, grant = Worker(), grant_of()
    template = AuditLineTemplate(INFO, grant)
    ended = 1, 10, 100, 200, 300, 1_000, 30_000, 10_000  # the line's size, times, amounts

    def count(outcome: CallOutcome, status: int) -> bool:
        return template.count(worker.batch, outcome, status, *ended)

    assert not count(CallOutcome.DONE, 200)
    series = worker.calls.series_of(INFO, "article", CallOutcome.DONE, "", 200)
    template.remember(series, CallOutcome.DONE, 200)
    assert count(CallOutcome.DONE, 200)
    assert not count(CallOutcome.DONE, 500)
    assert not count(CallOutcome.CLIENT_GONE, 200)
    text = worker.scrape()
    assert 'outcome="done",reason="",status="200"} 1\n' in text
    place = '{listener="agents",tool="search.web"}'
    assert f"crewgate_request_duration_seconds_sum{place} 0.00000099\n" in text
    assert 'crewgate_upstream_response_seconds_sum{tool="search.web"} 0.0000001\n' in text
    assert 'crewgate_verdict_duration_seconds_sum{listener="agents"} 0.00000009\n' in text
    assert 'crewgate_spent_credits_total{crew="article",tool="search.web"} 0.01\n' in text
