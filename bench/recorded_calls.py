"""A decision, its charge and its audit line in memory: the share of a straight call that decides.

The native code of a worker does the same for a call without Python in between; here, Python calls
the three parts, so a call takes a little longer. It writes no file.
"""

import statistics
import time
from typing import Any

from bench.world import SEARCH, SMALL, World, expect, open_line, private_table
from crewgate._native.audit_line import AuditLineTemplate
from crewgate.core.audit.records import CallInfo, CallOutcome
from crewgate.core.verdict import Denial

CALLS = 500  # a batch of some 0.4 ms
BATCHES = 40
WARMING_BATCHES = 2


class RecordedCalls:
    """Calls of one branch whose token the gate knows."""

    def __init__(self) -> None:
        self._world = World()
        line = self._world.line()
        self._table = private_table(SMALL, self._world.policy)
        open_line(self._table, line)
        self._gate = self._world.gate(self._table, holds=True)
        self._token = self._world.mint(line)
        expect(self._gate.decide(self._token, SEARCH))
        verdict = self._gate.decide(self._token, SEARCH)
        if isinstance(verdict, Denial):
            raise SystemExit(f"bench: about to measure a permit, got {verdict.reason}")
        info = CallInfo(time.time_ns(), bytes(16), "agents", "127.0.0.0/24", "search.web", "GET")
        self._template = AuditLineTemplate(info, verdict.grant)
        verdict.settle()

    def microseconds(self) -> float:
        """Return the median time of one call over some batches."""
        batches = [self._batch() for _ in range(WARMING_BATCHES + BATCHES)]
        return statistics.median(batches[WARMING_BATCHES:])

    def _batch(self) -> float:
        decide: Any = self._gate.decide  # a permit, as was made sure
        token, end, identifier, moment = self._token, self._template.end, bytes(16), time.time_ns()
        start = time.perf_counter_ns()
        for _ in range(CALLS):
            permit = decide(token, SEARCH)
            end(
                *(moment, identifier, CallOutcome.DONE, permit.price_micro),
                *(permit.lease_remaining_micro, 900, 200, 0, 200),
            )
            permit.settle()
        return (time.perf_counter_ns() - start) / CALLS / 1e3
