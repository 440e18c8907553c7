"""What all calls of one worker share: the gate, the registry, the audit, the background tasks."""

from functools import partial

from crewgate import limits
from crewgate._datapath.ended_calls import EndedCallQueue
from crewgate._datapath.in_flight import InFlightCalls
from crewgate._datapath.socket_poller import SocketPoller
from crewgate._native.audit_line import AuditLines
from crewgate._native.metrics import CallBatch
from crewgate.audit.recorder import AuditRecorder
from crewgate.core.audit import record_builder
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import CallInfo
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.mcp.pins.worker_pins import WorkerPins
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial
from crewgate.gateway.call.authorizer import DrawCallback, GateAuthorizer
from crewgate.gateway.call.background_tasks import BackgroundTasks
from crewgate.gateway.call.call_metrics import CallMetrics
from crewgate.gateway.call.open_streams import OpenStreams
from crewgate.gateway.upstream_work.registry import WorkRegistry
from crewgate.metrics.process_metrics import ProcessMetrics


class CallServices:
    """Shared by the calls of one worker, whichever listener they come through."""

    def __init__(
        self,
        authorizer: GateAuthorizer,
        in_flight: InFlightCalls,
        sink: AuditRecorder,
        poller: SocketPoller,
        background_tasks: BackgroundTasks,
        wait_seconds: float = limits.credit_wait_seconds,
        metrics: ProcessMetrics | None = None,
        work: WorkRegistry | None = None,
    ) -> None:
        """`wait_seconds`: how long a call waits for credit before it is answered.

        Without `metrics`, the counts are lost with this object. Without `work`, no task or session
        that a call begins is cancelled in a revocation. Until a worker sets `pins`, no MCP tool is
        pinned.
        """
        self.authorizer = authorizer
        self.in_flight = in_flight
        self.sink = sink
        self.poller = poller
        self.background_tasks = background_tasks
        self.wait_seconds = wait_seconds
        self.work = WorkRegistry(lambda _: None) if work is None else work
        self.detached = FairShareLimiter(limits.detached_calls_max, limits.detached_calls_share)
        self.open_streams = OpenStreams()
        self.pins = WorkerPins()
        self.audit_lines = AuditLines()
        self.settlements = EndedCallQueue(sink, poller)
        self.call_metrics = CallMetrics(metrics or ProcessMetrics.unshared())
        self._refused = CallBatch()

    def record_refusal(self, info: CallInfo, denial: Denial) -> None:
        """Record and count a refusal after a good signature."""
        record = record_builder.denied(info, denial)
        line = encode(record)
        if denial.limit is not None:
            self.call_metrics.count_call_limit(denial.limit.name)
        refused = self._refused
        try:
            self.call_metrics.add_refused(refused, info, record.crew, record.reason, len(line))
        finally:
            self.sink.write_lines([line], refused)
            refused.clear()

    def draw(self, grant: Grant, need: int, done: DrawCallback) -> None:
        """Draw `need` micro-credits for a call under way; `done` gets the result."""
        self.background_tasks.draw(partial(self.authorizer.draw, grant, need), done)
