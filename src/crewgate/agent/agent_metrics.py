"""The metrics of the agent: the ledger, leases, the table, the cluster and the machine's health.

What the agent records in its audit is counted there (audit/audit_metrics.py).
"""

from collections.abc import Sequence

from crewgate import limits
from crewgate.agent.state import AgentState
from crewgate.core.budget.ledger_protocol import (
    DrawGranted,
    DrawLease,
    DrawQueued,
    Operation,
    OperationResult,
    QuotaExhausted,
    ReturnCredit,
)
from crewgate.core.health import HealthState
from crewgate.errors import InvalidLedgerOperationError
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.runtime.ticks import sleep_until_tick

_RESULTS: dict[type, str] = {
    DrawGranted: "granted",
    DrawQueued: "recalled-from-others",
    QuotaExhausted: "exhausted",
}


class LedgerMetrics:
    """Counts what the ledger does for one agent."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self._metrics = metrics

    def transaction(
        self,
        operations: Sequence[Operation],
        answers: Sequence[OperationResult | InvalidLedgerOperationError],
        seconds: float,
    ) -> None:
        """Count one transaction, with the draws and returns in it."""
        series = self._metrics.series
        series(families.LEDGER_TRANSACTIONS).observe(round(seconds * 1e9))
        for operation, answer in zip(operations, answers, strict=True):
            if isinstance(operation, DrawLease):
                series(families.LEASE_DRAWS, _RESULTS.get(type(answer), "refused")).add()
            elif isinstance(operation, ReturnCredit):
                series(families.LEASE_RETURNS).add()


def note(agent: AgentState, metrics: ProcessMetrics) -> None:
    """Set the gauges."""
    series = metrics.series
    summary = agent.health.summary
    series(families.READY).set(summary.ready)
    for state in HealthState:
        if state is not HealthState.OK:
            count = sum(each.state is state for each in summary.conditions)
            series(families.CONDITIONS, state.value).set(count)
    series(families.LEDGER_QUEUE).set(len(agent.ledger_queue))
    series(families.LEDGER_UNAVAILABLE).set(bool(agent.ledger_queue.unavailable_reason))
    series(families.LEASE_RECALLS).follow(agent.recalls)
    table = agent.table.geometry
    for kind, used, capacity in (
        ("branches", agent.lease_client.records, table.branches),
        ("revocations", len(agent.revocations), table.revocations),
        ("attachments", len(agent.attached), table.attachments),
    ):
        series(families.TABLE_RECORDS, kind).set(used)
        series(families.TABLE_CAPACITY, kind).set(capacity)
    series(families.OVERDRAFT).set(agent.lease_client.overdraft.debt)
    if agent.fanout.others is not None:
        agent.fanout.others.note_metrics(metrics)


def begin(metrics: ProcessMetrics) -> None:
    """Show rare events with the count 0: from a series that begins at 1, an alert sees no event."""
    for family in (families.REVOCATIONS_UNCONFIRMED, families.REVOKE_TO_CUT, families.CALLS_CUT):
        metrics.series(family)
    for cause in ("owner-died", "deadline"):
        metrics.series(families.RESERVATIONS_BURNED, cause)


async def metrics_loop(agent: AgentState, metrics: ProcessMetrics) -> None:
    """Keep the gauges up to date, until cancelled."""
    begin(metrics)
    while True:
        note(agent, metrics)
        await sleep_until_tick(limits.metrics_interval_seconds)
