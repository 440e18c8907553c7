"""What all calls of one worker share: the gate, the registry, the audit, the background tasks."""

from functools import partial

from crewgate import limits
from crewgate._native.audit_line import AuditLines
from crewgate.core.tokens.grant import Grant
from crewgate.gateway.call.in_flight import InFlightCalls
from crewgate.gateway.call.interfaces import (
    Authorizer,
    BackgroundTaskRunner,
    DecisionSink,
    DrawCallback,
    LoopHooks,
)
from crewgate.gateway.call.settlement_queue import SettlementQueue


class CallServices:
    """Shared by the calls of one worker, whichever listener they come through."""

    def __init__(
        self,
        authorizer: Authorizer,
        in_flight: InFlightCalls,
        sink: DecisionSink,
        loop_hooks: LoopHooks,
        background_tasks: BackgroundTaskRunner,
        wait_seconds: float = limits.credit_wait_seconds,
    ) -> None:
        """`wait_seconds`: how long a call waits for credit before it is answered."""
        self.authorizer = authorizer
        self.in_flight = in_flight
        self.sink = sink
        self.loop_hooks = loop_hooks
        self.background_tasks = background_tasks
        self.wait_seconds = wait_seconds
        self.audit_lines = AuditLines()
        self.settlements = SettlementQueue(sink, loop_hooks)

    def draw(self, grant: Grant, need: int, done: DrawCallback) -> None:
        """Draw `need` micro-credits for a call under way; `done` gets the result."""
        self.background_tasks.draw(partial(self.authorizer.draw, grant, need), done)
