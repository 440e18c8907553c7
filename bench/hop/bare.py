"""`python -m bench.hop.bare -c FILE`: `crewgate serve` whose workers lack some part.

Only to know what these cost. The product has no switch for that: here, a worker's process is given
another judge and another sink before it begins. What is left out stands in BENCH_WITHOUT.

Without verdict: the first token is judged, drawn for and settled; from then on everybody is let
through on its grant, whatever he shows. The token is still looked for in the fields, and the call
still registered for its revocation. Without audit: no line is made, and none is written.
Without metrics: no call and no line is counted. What the times of a call cost stays: each call
reads the clock three times more than it would without them.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Self, cast

from crewgate._native.audit_line import AuditLines, AuditLineTemplate
from crewgate._native.permit import Permit
from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter
from crewgate.config import Config
from crewgate.core.audit.records import CallInfo, CallOutcome, Record
from crewgate.core.reasons import Reason
from crewgate.core.rules.rule import StepFinding
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import ConnectionRefusalReason, Denial
from crewgate.gateway.call import authorizer, call_audit_line, call_services
from crewgate.gateway.call.proxied_call import ProxiedCall
from crewgate.gateway.call.response_metering import ResponseMetering
from crewgate.gateway.worker import main, worker
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.supervisor.serve import Supervisor

VERDICT, AUDIT, METRICS = "verdict", "audit", "metrics"
VARIABLE = "BENCH_WITHOUT"


class Waved:
    """Stands for a permit, and holds nothing."""

    revocable: tuple[bytes, ...] = ()
    revoked = False
    is_current = True
    has_reservation = True
    in_observe_mode = False
    observed_reason: Reason | None = None
    call_digest = answer_digest = 0
    finding: StepFinding | None = None

    def __init__(self, permit: Permit) -> None:
        self.grant = permit.grant
        self.tool = permit.tool
        self.price_micro = permit.price_micro
        self.lease_remaining_micro = permit.lease_remaining_micro
        self.branch_unspent_micro = permit.branch_unspent_micro

    def allows(self, name: str) -> bool:
        """All of an MCP endpoint, too."""
        del name
        return True

    def note_observed(self, reason: Reason) -> None:
        """Nothing is refused, so nothing is observed."""
        del reason

    def note_answer(self, answer: int = 0, **found: object) -> None:
        """Nothing is counted."""
        del answer, found

    def settle(self, cost_micro: int | None = None) -> None:
        """Charge nobody."""

    def grow(self, more_micro: int) -> bool:
        """Nothing besides: all calls here have a fixed price."""
        del more_micro
        return False

    def release(self) -> None:
        """Give nothing back."""

    def extend(self, until_boot_ns: int) -> bool:
        """Nothing can run out."""
        del until_boot_ns
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        """Nothing to end."""


class Waving(authorizer.GateAuthorizer):
    """Lets everybody through once one token was good."""

    waved: Waved | None = None

    def decide(  # type: ignore[override]  # what a flight asks of a permit, Waved answers
        self,
        token: bytes,
        tool: int,
        **asked: Any,  # noqa: ANN401 - whatever a judge is asked
    ) -> Waved | Permit | Denial:
        """The one permit; judges as long as there is none."""
        if self.waved is not None:
            return self.waved
        verdict = super().decide(token, tool, **asked)
        if isinstance(verdict, Permit):
            self.waved = Waved(verdict)
            verdict.settle()
            return self.waved
        return verdict


class Silent(AuditRecorder):
    """Is always ready and writes nothing."""

    def ready(self) -> bool:
        """Always."""
        return True

    def write(self, record: Record) -> bool:  # noqa: ARG002
        """Nothing."""
        return True

    def write_many(self, records: Sequence[Record]) -> bool:  # noqa: ARG002
        """Nothing."""
        return True

    def write_lines(self, lines: Sequence[bytes], calls: object = None) -> bool:  # noqa: ARG002
        """Nothing."""
        return True

    def count(self, listener: str, reason: Reason | ConnectionRefusalReason, network: str) -> None:
        """Nothing."""


class NoLines(AuditLines):
    """Has nothing to say of any call."""

    def line(self, request: CallInfo, grant: Grant) -> AuditLineTemplate:  # noqa: ARG002
        """The same for all: who has called is not asked."""
        return NOTHING


class NoLine:
    """An audit's line without words."""

    def end(self, *told: object) -> bytes:
        """Nothing, whatever there would be to tell."""
        del told
        return b""

    def count(self, *told: object) -> bool:
        """Nothing to count."""
        del told
        return True

    def remember(self, *told: object) -> None:
        """Nothing to remember."""


NOTHING = cast("AuditLineTemplate", NoLine())


class UncountedWriter(AuditWriter):
    """Counts no line, and no call with it."""

    @classmethod
    def of(cls, config: Config, process: str, metrics: ProcessMetrics | None = None) -> Self:
        """Make the writer without its metrics."""
        del metrics
        return super().of(config, process)


def record_end(
    services: call_services.CallServices,
    call: ProxiedCall,
    metering: ResponseMetering | None,
    outcome: CallOutcome,
    cost: int,
) -> None:
    """Record and settle a call of a fixed price, as `call_audit_line.record_end` does."""
    if metering is not None:
        raise SystemExit("bench: only calls of a fixed price are sent here")
    permit = call.permit
    recorded = cost if permit.has_reservation or not permit.price_micro else 0
    template = services.audit_lines.line(call.info, permit.grant)
    line = call_audit_line.fixed_price_line(template, call, outcome, recorded)
    services.settlements.add(line, permit, cost)


def put(module: ModuleType, name: str, before: object, after: object) -> None:
    """Replace what a module has imported; ends the run if it has not."""
    if vars(module).get(name) is not before:
        raise SystemExit("bench: a worker is put together in another way; mend bare.py")
    vars(module)[name] = after


def work() -> int:
    """Be a worker that lacks what the environment says."""
    without = os.environ.get(VARIABLE, "").split(",")
    if VERDICT in without:
        put(worker, "GateAuthorizer", authorizer.GateAuthorizer, Waving)
    if AUDIT in without:
        put(main, "AuditRecorder", AuditRecorder, Silent)
        put(call_services, "AuditLines", AuditLines, NoLines)
    if METRICS in without:
        put(main, "AuditWriter", AuditWriter, UncountedWriter)
        put(call_audit_line, "record_end", call_audit_line.record_end, record_end)
    return main.main()


if __name__ == "__main__":
    if "--worker" in sys.argv:
        sys.exit(work())
    sys.exit(Supervisor(Path(sys.argv[-1]), worker="bench.hop.bare").run())
