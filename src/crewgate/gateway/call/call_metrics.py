"""Counts the calls of a worker: how many, how long they took, and what they cost.

A call is counted together with its audit line (audit/writer.py), so that the metrics and the audit
agree, also after a worker was killed.
"""

import time
from http import HTTPStatus

from crewgate import limits
from crewgate._native.metrics import CallBatch, CallSeries
from crewgate.core.audit.records import CallInfo, CallOutcome
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics

UNKNOWN = -1  # a time
# In `TraceContext.text`: the ids, and the flags of a trace that is recorded.
_TRACE_END, _SPAN_AT, _SPAN_END = 32, 50, 66
_SAMPLED = ("1", "3")
# A tool may answer with any number; those without a meaning share the label of their class.
_STATUSES = {each.value: str(each.value) for each in HTTPStatus}


class CallMetrics:
    """The series of the calls of one worker."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self._metrics = metrics
        self._known: dict[tuple[str, str, str, str, str, int], CallSeries] = {}

    def series_of(
        self, info: CallInfo, crew: str, outcome: CallOutcome, reason: str, status: int
    ) -> CallSeries:
        """Return what a call adds to, by the members of its audit record."""
        # A member of a StrEnum is a str; its `value` would be a property, four times as slow.
        key = info.listener, info.metric_tool or info.tool, crew, outcome, reason, status
        return self._known.get(key) or self._make(key)

    def add_refused(
        self, batch: CallBatch, info: CallInfo, crew: str, reason: str, line_bytes: int
    ) -> None:
        """Add a call that was refused after a good signature."""
        series = self.series_of(info, crew, CallOutcome.REFUSED, reason, 0)
        verdict = time.monotonic_ns() - info.arrived_ns
        batch.add(series, line_bytes, UNKNOWN, UNKNOWN, verdict, 0, 0, 0)

    def count_call_limit(self, limit: str) -> None:
        """Count a refusal by a limit on calls."""
        self._metrics.series(families.CALL_LIMIT_REFUSALS, limit).add()

    def count_unrecorded(self, listener: str, reason: str) -> None:
        """Count a refusal that the audit has no record of."""
        self._metrics.series(families.UNRECORDED, listener, reason).add()

    def _make(self, key: tuple[str, str, str, str, str, int]) -> CallSeries:
        listener, tool, crew, outcome, reason, number = key
        status = "" if not number else _STATUSES.get(number, f"{number // 100}xx")
        series = self._metrics.series
        requests = series(families.REQUESTS, listener, tool, crew, outcome, reason, status)
        verdict = series(families.VERDICT_DURATION, listener)
        if reason:
            made = CallSeries((None, None, verdict), (requests,))
        else:
            made = CallSeries(
                (
                    series(families.REQUEST_DURATION, listener, tool),
                    series(families.UPSTREAM_DURATION, tool),
                    verdict,
                ),
                (
                    requests,
                    series(families.CREDITS_RESERVED, crew, tool),
                    series(families.CREDITS_SPENT, crew, tool),
                    series(families.CREDITS_OVERRUN, crew, tool),
                ),
            )
        if len(self._known) >= limits.metrics_call_series_max:
            self._known.clear()
        self._known[key] = made
        return made


def add_exemplar(batch: CallBatch, trace: str) -> None:
    """Give the last call of a batch its trace (`TraceContext.text`), if that is recorded."""
    if trace.endswith(_SAMPLED):
        ids = bytes.fromhex(trace[:_TRACE_END] + trace[_SPAN_AT:_SPAN_END])
        batch.exemplar(ids[:16], ids[16:], time.time_ns())
