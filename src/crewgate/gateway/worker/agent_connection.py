"""The worker's connection to the agent: attaches, draws credit, receives revocations and reloads.

It runs in the worker's event loop, over the socket that the group may use, and passes what the
agent pushes to `AgentEvents`. While the agent is unavailable, the worker goes on with the table
until that is stale. After a restart of the agent it asks for the same number again, so that the
calls in flight keep their reservations.
"""

import logging
from pathlib import Path
from typing import Protocol

import trio

from crewgate import limits
from crewgate.core.health import ComponentHealth
from crewgate.core.mcp.pins.worker_pins import WorkerPins
from crewgate.core.rules.rule import StepFinding
from crewgate.core.tokens.grant import Grant
from crewgate.errors import ServiceConnectionError
from crewgate.gateway.call.authorizer import DrawCallback
from crewgate.gateway.worker.overrun_outbox import OverrunOutbox
from crewgate.ipc import attach_messages as messages
from crewgate.ipc import direct_send
from crewgate.ipc.handshake import AttachedConnection, attach

_log = logging.getLogger(__name__)


class AgentEvents(Protocol):
    """What the worker does about events of its connection to the agent."""

    def attached(self, attached: messages.Attached, table: int) -> None:
        """Use the table behind descriptor `table`, under the number in `attached`.

        Closes the descriptor.
        """

    def revoked(self, pushed: messages.RevocationNotice) -> messages.RevocationAck:
        """End what was revoked, and return how much that was."""

    def reload(self, generation: int) -> None:
        """Load the configuration of `generation`."""


class AgentConnection:
    """The connection of worker `index` to the agent whose state is in `folder`.

    It keeps `pins` up to date, and reports what `pins` has for the agent.
    """

    def __init__(
        self, folder: Path, index: int, events: AgentEvents, pins: WorkerPins | None = None
    ) -> None:
        self._folder = folder
        self._index = index
        self._events = events
        self._pins = WorkerPins() if pins is None else pins
        self._pins.on_report = self.send_definitions
        # Whether this agent knows reports of definitions: then it has pushed pins.
        self._takes_reports = False
        self._previous: messages.Attached | None = None
        self._outbox: trio.MemorySendChannel[messages.AttachRequest] | None = None
        self._descriptor = -1  # of the connection that `_outbox` is for
        self._pending_draws: dict[int, tuple[messages.DrawCredit, DrawCallback]] = {}
        # When an agent was lost whose successor may still come (Trio's clock).
        self._away_since: float | None = None
        self._last_id = 0
        self._pending_overruns = OverrunOutbox()

    async def run(self) -> None:
        """Attach, and attach again whenever the connection has ended; until cancelled."""
        # An agent that is started together with this worker is there in a moment.
        self._away_since = trio.current_time()
        while True:
            try:
                session = await trio.to_thread.run_sync(self._attach, abandon_on_cancel=True)
            except ServiceConnectionError as error:
                if not self._is_expected():
                    _log.warning("%s", error)
                    self._give_up()
                await trio.sleep(limits.attach_again_seconds)
                continue
            self._previous = session.attached
            try:
                await self._converse(session)
            except ServiceConnectionError as error:
                _log.warning("%s", error)
            finally:
                self._outbox, self._descriptor, self._takes_reports = None, -1, False
                self._away_since = trio.current_time()

    def ask(self, grant: Grant, need: int, answered: DrawCallback, *, behind: int = 0) -> None:
        """Draw credit; `answered` is called exactly once, with None if there is no answer.

        Other calls that wait for this draw need `behind` micro-credits in all.

        If the agent does not keep up, or has been unavailable for long, that is at once. Else it is
        when the answer arrives: the agent answers every draw in bounded time, or ends. After that,
        the draws that it has not answered are sent to its successor.
        """
        self._last_id += 1
        number = self._last_id
        draw = messages.DrawCredit(id=number, grant=grant, need=need, behind=behind)
        is_waiting = self._outbox is None and self._is_expected()
        may_add = len(self._pending_draws) < limits.ipc_draws_max
        if self._send(draw) or (is_waiting and may_add):
            self._pending_draws[number] = draw, answered
        else:
            answered(None)

    def send_accepting(self, generation: int, *, accepting: bool) -> None:
        """Report whether the listeners are open, and the generation of the policy."""
        self._send(
            messages.WorkerReadinessReport(accepting=accepting, policy_generation=generation)
        )

    def send_health(self, facts: list[ComponentHealth]) -> None:
        """Report the health of this worker; dropped while the agent is unavailable."""
        self._send(messages.WorkerHealthReport(facts=facts))

    def send_overrun(self, request: bytes, grant: Grant, amount: int) -> None:
        """Report that a call cost more than its bound, until the agent has acknowledged that.

        `request` is the call's unique id of 16 bytes, `amount` the excess in micro-credits.
        """
        report = messages.ReportOverrun(id=request, grant=grant, amount=amount)
        if self._pending_overruns.keep(report) and not self._send(report):
            self._pending_overruns.put_off(report)

    def send_end(self, grant: Grant, finding: StepFinding) -> None:
        """Have the agent end a branch by a rule; dropped while the agent is unavailable."""
        self._send(
            messages.EndBranch(
                grant,
                finding.level,
                finding.rule.name,
                finding.count,
                finding.limit,
                finding.rule.kind.value,
            )
        )

    def send_definitions(self) -> None:
        """Send the reports that `pins` has for the agent; keep those that it cannot send now."""
        while self._takes_reports and (report := self._pins.next_report()) is not None:
            message = messages.ReportDefinitions(report.number, report.endpoint, report.seen)
            if not self._send(message):
                self._pins.put_back(report)
                return

    def _attach(self) -> AttachedConnection:
        return attach(
            self._folder,
            worker=self._index,
            answers_cuts=True,
            takes_pins=True,
            previous=self._previous,
        )

    def _send(self, message: messages.AttachRequest) -> bool:
        """Send or queue a message; return False if neither is possible.

        A message may be lost: what must not be lost is in the table.
        """
        if self._outbox is None:
            return False
        # If the writer waits for the queue, it has sent all messages before this one.
        is_first = self._outbox.statistics().tasks_waiting_receive
        if is_first and direct_send.send(self._descriptor, message):
            return True
        try:
            self._outbox.send_nowait(message)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return False
        return True

    def _is_expected(self) -> bool:
        """Return whether an agent was there a moment ago, so that the next one may come soon."""
        since = self._away_since
        return since is not None and trio.current_time() - since < limits.agent_unavailable_seconds

    def _give_up(self) -> None:
        """Answer all pending draws with None, because the agent has not come back in time."""
        draws, self._pending_draws = self._pending_draws, {}
        for _, answered in draws.values():
            answered(None)

    def _ask_again(self) -> None:
        """Send the pending draws to a new agent; a draw may be made twice that way."""
        for number, (draw, answered) in list(self._pending_draws.items()):
            if not self._send(draw):
                del self._pending_draws[number]
                answered(None)

    async def _converse(self, session: AttachedConnection) -> None:
        """Serve one connection until it ends, which raises ServiceConnectionError."""
        sender, receiver = trio.open_memory_channel[messages.AttachRequest](limits.ipc_draws_max)
        self._outbox = sender
        self._descriptor = session.connection.fileno()
        self._pending_overruns.begin_again()
        self._pins.begin_again()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(session.connection))
        failed: list[ServiceConnectionError] = []
        async with stream, trio.open_nursery() as nursery:
            self._events.attached(session.attached, session.table)
            self._ask_again()
            for message in session.early:
                self._receive(message)
            nursery.start_soon(self._write, stream, receiver)
            try:
                await self._read(stream, session)
            except ServiceConnectionError as error:
                # Raised below: the nursery would wrap it in an exception group.
                failed.append(error)
            nursery.cancel_scope.cancel()
        raise failed[0] if failed else ServiceConnectionError("the agent has ended the connection")

    async def _read(self, stream: trio.SocketStream, session: AttachedConnection) -> None:
        while True:
            try:
                data = await stream.receive_some(limits.receive_bytes)
            except trio.BrokenResourceError:
                return
            if not data:
                return
            for body in session.decoder.feed(data):
                self._receive(messages.unpack(messages.group_answers, body))

    async def _write(
        self, stream: trio.SocketStream, outbox: trio.MemoryReceiveChannel[messages.AttachRequest]
    ) -> None:
        """Send what is queued; the reader notices a broken connection."""
        try:
            await self._write_pending_overruns(stream)
            async for message in outbox:
                await stream.send_all(messages.pack(message))
                await self._write_pending_overruns(stream)
        except trio.BrokenResourceError:
            return

    async def _write_pending_overruns(self, stream: trio.SocketStream) -> None:
        """Send the overruns that the queue had no room for, or that another agent was sent."""
        while (report := self._pending_overruns.next()) is not None:
            await stream.send_all(messages.pack(report))

    def _receive(self, message: messages.AttachResponse) -> None:
        if isinstance(message, messages.OverrunNoted):
            self._pending_overruns.noted(message.id)
        elif isinstance(message, messages.RevocationNotice):
            self._send(self._events.revoked(message))
        elif isinstance(message, messages.Reload):
            self._events.reload(message.generation)
        elif isinstance(message, messages.PinsPushed):
            self._pins.apply(message.pins, message.complete, begins=message.begins)
            self._takes_reports = True
            self.send_definitions()
        elif isinstance(message, messages.DefinitionsNoted):
            self._pins.confirm(message.id)
            self.send_definitions()
        elif isinstance(message, (messages.CreditDrawn, messages.RequestFailed)):
            pending = self._pending_draws.pop(message.id, None)
            if pending is not None:
                pending[1](message if isinstance(message, messages.CreditDrawn) else None)
